"""`--break` and `--break-on-failure` on a real terminal: a shell in the step's place, and how to leave it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from tests.cli.cli_process import Cli, living, steps
from tests.waiting import eventually

TIMEOUT_S = 60.0
PROMPT = "akashic:build"


class Terminal:
    """`akashic` on a terminal of its own, and somebody who types."""

    def __init__(self, cli: Cli, *argv: str) -> None:
        self._ours, theirs = pty.openpty()
        self.text = ""
        self._seen = 0
        adopt = (
            "import os,sys;os.close(os.open(os.ttyname(0),os.O_RDWR));os.execv(sys.executable,sys.argv[1:])"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", adopt, sys.executable, "-m", "akashic", *argv],
            cwd=cli.path,
            env={**cli.env, "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def wait_for(self, wanted: str) -> str:
        """What is shown up to a pattern that was not waited for yet."""
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            found = re.compile(wanted).search(self.text, self._seen)
            if found is not None:
                before = self.text[self._seen : found.end()]
                self._seen = found.end()
                return before
            assert time.monotonic() < deadline, f"no {wanted!r} in:\n{self.text}"
            assert self._read(), f"ended without {wanted!r}:\n{self.text}"

    def type(self, line: str) -> None:
        os.write(self._ours, line.encode() + b"\r")

    def press(self, key: bytes) -> None:
        os.write(self._ours, key)

    def end(self) -> int:
        while self._read():
            pass
        return self.process.wait(TIMEOUT_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)

    def _read(self) -> bool:
        ready, _, _ = select.select([self._ours], [], [], TIMEOUT_S)
        assert ready, f"nothing comes any more:\n{self.text}"
        try:
            data = os.read(self._ours, 65536)
        except OSError:
            return False
        self.text += data.decode("utf-8", "replace")
        return bool(data)


Open = Callable[..., Terminal]


@pytest.fixture
def terminal(cli: Cli) -> Iterator[Open]:
    opened: list[Terminal] = []

    def open_one(*argv: str) -> Terminal:
        opened.append(Terminal(cli, *argv))
        return opened[-1]

    yield open_one
    for one in opened:
        one.close()


def test_the_shell_has_the_steps_environment_folder_and_isolation(cli: Cli, terminal: Open) -> None:
    script = steps("echo private > /tmp/of-the-job; mkdir sub; echo A=exported >> $GITHUB_ENV", "exit 3")
    cli.workflow(script + "        working-directory: sub\n        env: {OWN: of the step}\n")
    cli.commit()
    shown = terminal("run", "--break-on-failure")
    shown.wait_for("failed at step 3")
    shown.wait_for(PROMPT)
    shown.type('echo "[$A] [$OWN] [$GITHUB_JOB] [${PWD##*/}] [$(cat /tmp/of-the-job)] [$(tty)]"')
    shown.wait_for(r"\[exported\] \[of the step\] \[build\] \[sub\] \[private\] \[/dev/pts/\d+\]")
    shown.type("exit")
    shown.wait_for("bort\\?")
    shown.type("c")
    assert shown.end() == 1
    assert "run 1 failed" in shown.text


def test_a_repaired_step_is_tried_again_and_the_run_succeeds(cli: Cli, terminal: Open) -> None:
    cli.workflow(steps("test -e repaired && echo it works", "echo the next"))
    cli.commit()
    shown = terminal("run", "--break-on-failure")
    shown.wait_for(PROMPT)
    shown.type("touch repaired; exit")
    shown.wait_for("bort\\?")
    shown.type("what")
    shown.wait_for("bort\\?")
    shown.type("r")
    shown.wait_for("it works")
    assert shown.end() == 0


def test_ctrl_c_in_the_shell_ends_its_command_and_not_the_run(cli: Cli, terminal: Open) -> None:
    cli.workflow(steps("echo runs after all"))
    cli.commit()
    shown = terminal("run", "--break", "build/2")
    shown.wait_for("stands before step 2")
    shown.wait_for(PROMPT)
    length = f"1000.{os.getpid()}"
    shown.type(f"sleep {length}")
    # Once it is the command it has the terminal; before that Ctrl-C would find nobody.
    assert eventually(lambda: living(f"sleep\0{length}"))
    shown.press(b"\x03")
    shown.wait_for(PROMPT)
    shown.type("exit")
    shown.wait_for("bort\\?")
    shown.type("r")
    assert shown.end() == 0
    assert "cancelling" not in shown.text and "runs after all" in shown.text


@pytest.mark.parametrize("how", ["answer", "Ctrl-C", "Ctrl-D"])
def test_a_job_is_aborted_at_the_question(cli: Cli, terminal: Open, how: str) -> None:
    cli.workflow(steps("exit 1", "echo never") + "      - {if: always(), run: echo tidied}\n")
    cli.commit()
    shown = terminal("run", "--break-on-failure")
    shown.wait_for(PROMPT)
    shown.press(b"\x04")
    shown.wait_for("bort\\?")
    if how == "answer":
        shown.type("a")
    else:
        shown.press(b"\x03" if how == "Ctrl-C" else b"\x04")
    code = shown.end()
    assert code == (130 if how == "Ctrl-C" else 1), shown.text
    assert "| tidied" in shown.text and "| never" not in shown.text


def test_other_jobs_are_silent_while_a_shell_is_open(cli: Cli, terminal: Open) -> None:
    script = "for i in $(seq 200); do test -e $AKASHIC_ROOT/talk && break; sleep 0.05; done; echo chatter"
    cli.workflow(
        steps("exit 1") + f"  other:\n    runs-on: ubuntu-latest\n    steps: [{{run: '{script}'}}]\n"
    )
    cli.commit()
    shown = terminal("run", "--break-on-failure")
    shown.wait_for(PROMPT)
    cli.write("talk", "")
    shown.type("sleep 1; echo $((40 + 2)) said; exit")
    assert "| chatter" not in shown.wait_for("42 said")
    shown.wait_for("bort\\?")
    shown.type("c")
    shown.wait_for(r"\| chatter")
    assert shown.end() == 1


def test_a_terminal_that_goes_away_leaves_no_shell(cli: Cli, terminal: Open) -> None:
    cli.workflow(steps("exit 1"))
    cli.commit()
    marker = f"sleep 4{os.getpid()}"
    shown = terminal("run", "--break-on-failure")
    shown.wait_for(PROMPT)
    shown.type(f"echo begun; {marker}")
    shown.wait_for(r"l\r?\n?begun")
    shown.process.kill()
    shown.process.wait(TIMEOUT_S)
    deadline = time.monotonic() + TIMEOUT_S
    while living(marker):
        assert time.monotonic() < deadline, "what the shell ran lives on"
        time.sleep(0.05)
