"""A command that a warm server does is the same command: what it prints, how it ends, what may stop it."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from akashic.cli.warm import client, place
from akashic.cli.warm.standing import Standing
from tests.cli.cli_process import SOURCES, Cli, living, steps, warm_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the warm server is for Linux")


@pytest.fixture
def warm(cli: Cli) -> Iterator[Cli]:
    """A checkout whose commands leave a server and use it."""
    with warm_server(cli):
        yield cli


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def ready(cli: Cli) -> int:
    """Wait for the server that the last command left; its process."""
    until(lambda: cli.json("warm"))
    return int(cli.json("warm")[0]["pid"])


def served(cli: Cli, server: int, *argv: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command and see that the server's child did it: without a server none is left behind now."""
    done = cli(*argv, **options)
    assert [one["pid"] for one in cli.json("warm")] == [server]
    return done


def sockets(pid: int) -> set[str]:
    found = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(str(entry.readlink()))
    return {name for name in found if name.startswith("socket:")}


def without_numbers(text: str) -> str:
    return re.sub(r"\d+", "N", text)


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_the_second_command_says_what_the_first_said(warm: Cli) -> None:
    warm.write(".github/workflows/ci.yml", steps("echo hello; exit 3"))
    warm.commit("begin")
    cold = warm("run")
    server = ready(warm)
    again = served(warm, server, "run")
    assert again.returncode == cold.returncode == 1
    assert "| hello" in again.stdout
    assert without_numbers(again.stdout) == without_numbers(cold.stdout)


def test_the_work_has_the_client_s_folder_variables_files_and_umask(warm: Cli, tmp_path: Path) -> None:
    warm.write(".github/workflows/ci.yml", steps('echo "<$COLOUR>"; umask'))
    warm.commit("begin")
    warm("run")
    server = ready(warm)
    done = served(warm, server, "-C", str(warm.path), "run", "--env", "COLOUR", cwd=tmp_path,
                  env={"COLOUR": "teal"}, umask=0o027)  # fmt: skip
    assert "| <teal>" in done.stdout
    assert "| 0027" in done.stdout
    done = served(warm, server, "expr", "eval", "--context", "/dev/stdin", "github.actor",
                  given=json.dumps({"github": {"actor": "ada"}}))  # fmt: skip
    assert json.loads(done.stdout) == "ada"


def test_wrong_usage_is_told_as_ever(warm: Cli) -> None:
    warm.write(".github/workflows/ci.yml", steps("true"))
    warm.commit("begin")
    warm("run")
    server = ready(warm)
    done = served(warm, server, "run", "--no-such-option")
    assert done.returncode == 2
    assert "--no-such-option" in done.stderr


def test_an_interrupt_of_the_client_cancels_the_run(warm: Cli) -> None:
    warm.write(".github/workflows/ci.yml", steps("echo begun; sleep 1234.5"))
    warm.commit("begin")
    warm("runs")
    ready(warm)
    process = warm.start("run", "--concurrent-jobs", "1")
    until(lambda: living("1234.5"))
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 130, stderr
    assert "cancelled" in stdout
    assert not living("1234.5")


def test_a_killed_client_takes_the_work_with_it(warm: Cli) -> None:
    warm.write(".github/workflows/ci.yml", steps("sleep 2345.6"))
    warm.commit("begin")
    warm("runs")
    server = ready(warm)
    process = warm.start("run")
    until(lambda: living("2345.6"))
    process.kill()
    process.communicate()
    until(lambda: not living("2345.6"))
    assert ready(warm) == server


def test_a_killed_worker_is_told(warm: Cli) -> None:
    warm.write(".github/workflows/ci.yml", steps("sleep 3456.7"))
    warm.commit("begin")
    warm("runs")
    server = ready(warm)
    process = warm.start("run")
    until(lambda: living("3456.7"))
    for pid in children(server):
        os.kill(pid, signal.SIGKILL)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGKILL
    assert "was killed by signal 9" in stderr


def test_the_client_s_limits_hold_for_the_work(warm: Cli) -> None:
    warm.write(".github/workflows/ci.yml", steps("ulimit -n"))
    warm.commit("begin")
    warm("run")
    server = ready(warm)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (789, 789))

    assert "| 789" in served(warm, server, "run", preexec_fn=limit).stdout


def test_who_may_less_does_it_alone(warm: Cli) -> None:
    """A process without the right to gain rights must not have its work done by one that can."""
    warm.write(".github/workflows/ci.yml", steps("grep NoNewPrivs /proc/self/status"))
    warm.commit("begin")
    warm("run")
    ready(warm)
    no_new_privileges = (
        "import ctypes, os, sys; ctypes.CDLL(None).prctl(38, 1, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])"
    )
    done = subprocess.run(
        [sys.executable, "-c", no_new_privileges, sys.executable, "-m", "akashic", "run"],
        cwd=warm.path, env=warm.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "NoNewPrivs:\t1" in done.stdout, done.stderr


def test_a_worker_holds_nothing_of_another_command(warm: Cli) -> None:
    warm.write(".github/workflows/ci.yml", steps("sleep 4567.8"))
    warm.commit("begin")
    warm("runs")
    server = ready(warm)
    process = warm.start("run")
    until(lambda: living("4567.8"))
    (busy,) = children(server)
    until(lambda: len(children(server)) == 2)
    (waiting,) = set(children(server)) - {busy}
    assert sockets(busy)
    assert not sockets(busy) & sockets(waiting)
    process.kill()
    process.communicate()


def test_the_folders_of_jobs_are_gone_soon_after_the_client(warm: Cli) -> None:
    warm.write(".github/workflows/ci.yml", steps("mkdir -p a/b/c; touch a/b/c/d"))
    warm.commit("begin")
    warm("runs")
    server = ready(warm)
    served(warm, server, "run")
    until(lambda: not list((warm.path / ".akashic" / "work").iterdir()))


def test_two_at_once_are_both_served(warm: Cli) -> None:
    warm.write(".github/workflows/ci.yml", steps("sleep 0.3; echo done"))
    warm.commit("begin")
    warm("run")
    server = ready(warm)
    both = [warm.start("run") for _ in range(3)]
    for process in both:
        stdout, stderr = process.communicate(timeout=60)
        assert "| done" in stdout, stderr
    assert ready(warm) == server


@pytest.mark.parametrize("variable", [{"AKASHIC_WARM": "off"}, {"CI": "true"}, {"AKASHIC_RUN_ID": "1"}])
def test_no_server_is_left_where_none_is_wanted(warm: Cli, variable: dict[str, str]) -> None:
    warm.write(".github/workflows/ci.yml", steps("true"))
    warm.commit("begin")
    warm("runs", env=variable)
    assert not list(Path(warm.env["XDG_RUNTIME_DIR"]).iterdir())


def test_another_language_is_another_server(warm: Cli) -> None:
    environ = dict(warm.env)
    assert place.socket_path(environ) == place.socket_path({**environ, "COLOUR": "teal"})
    assert place.socket_path(environ) != place.socket_path({**environ, "LC_ALL": "C"})
    assert place.socket_path(environ) != place.socket_path({**environ, "PYTHONHASHSEED": "1"})


def test_a_folder_that_others_can_enter_is_not_trusted(warm: Cli) -> None:
    warm.write(".github/workflows/ci.yml", steps("true"))
    warm.commit("begin")
    (Path(warm.env["XDG_RUNTIME_DIR"]) / "akashic-warm").mkdir(mode=0o755)
    assert warm("run").returncode == 0
    until(lambda: not living(f"XDG_RUNTIME_DIR={warm.env['XDG_RUNTIME_DIR']}\0", where="environ"))
    assert warm.json("warm") == []


def test_changed_code_ends_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = tmp_path / "akashic_extra.py"
    module.write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("akashic_extra")
    standing = Standing("me")
    assert standing.is_fresh()
    os.utime(module, (1, 1))
    assert not standing.is_fresh()


def test_a_server_that_is_still_importing_is_stopped(warm: Cli) -> None:
    warm.commit("begin")
    Path(place.folder(warm.env)).mkdir(mode=0o700)
    argv = (sys.executable, "-P", "-m", "akashic.cli.warm.server")
    server = subprocess.Popen(argv, env=warm.env, stdin=subprocess.PIPE)
    # It stands there when it has begun, and then waits to be told what to import.
    until(lambda: Path(f"/proc/{server.pid}/cwd").readlink() == Path("/"))
    warm("warm", "stop")
    assert server.stdin is not None
    server.stdin.close()
    assert server.wait(20) == 0
    assert warm.json("warm") == []


def test_an_idle_server_ends(warm: Cli) -> None:
    place_ = Path(warm.env["XDG_RUNTIME_DIR"])
    environ = {"XDG_RUNTIME_DIR": str(place_), "PYTHONPATH": str(SOURCES), "PATH": os.environ["PATH"]}
    program = "from akashic.cli.warm import place, server\nplace.IDLE_TIMEOUT_S = 0.3\nserver.main([], 0)\n"
    done = subprocess.run([sys.executable, "-c", program], env=environ, timeout=30, check=False)
    assert done.returncode == 0
    assert list((place_ / "akashic-warm").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["run"], True),
        (["-C", "shop", "run", "--job", "a"], True),
        (["run", "--break-on-failure"], False),
        (["run", "--watch"], False),
        (["approve", "production"], False),
        (["secret", "set", "run"], False),
        ([], False),
    ],
)
def test_what_may_be_handed_over(words: list[str], wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CI", "AKASHIC_RUN_ID", "AKASHIC_WARM", "COVERAGE_PROCESS_START"):
        monkeypatch.delenv(name, raising=False)
    assert client.wanted(words) is wanted
