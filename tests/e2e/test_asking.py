"""A run that stands at a gate asks the person at its terminal, until somebody has answered."""

from __future__ import annotations

import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.small_shop import SmallShop
from tests.waiting import eventually


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SmallShop]:
    made = SmallShop(tmp_path)
    made.release("Works")
    yield made
    made.close()


class Terminal:
    """A command on a terminal: what it wrote, and a way to type."""

    def __init__(self, shop: SmallShop, *argv: str) -> None:
        self.main, side = pty.openpty()
        self.process = shop.start(*argv, stdin=side, stdout=side, stderr=subprocess.STDOUT)
        os.close(side)
        os.set_blocking(self.main, False)
        self._text = b""

    def text(self) -> str:
        try:
            while part := os.read(self.main, 65536):
                self._text += part
        except OSError:
            pass  # nothing more now, or nobody writes there any more
        return self._text.decode("utf-8", "replace")

    def shows(self, text: str) -> bool:
        return bool(eventually(lambda: text in self.text(), timeout_s=60))

    def type(self, text: str) -> None:
        os.write(self.main, text.encode())

    def end(self) -> int:
        assert eventually(lambda: self.text() is not None and self.process.poll() is not None, timeout_s=60)
        os.close(self.main)
        return self.process.returncode


@pytest.mark.parametrize("command", ["run", "up"])
def test_it_asks_at_the_terminal(shop: SmallShop, command: str) -> None:
    terminal = Terminal(shop, command)
    assert terminal.shows("approve production: commit "), terminal.text()
    terminal.type("y\n")
    assert terminal.end() == 0, terminal.text()
    assert shop.served_commit("production")


def test_the_question_ends_when_somebody_answers_elsewhere(shop: SmallShop) -> None:
    terminal = Terminal(shop, "run")
    assert terminal.shows("approve production: commit ")
    waits = shop("status").stdout
    assert "production waits for approval (run 1): akashic approve 1" in waits
    assert shop("approve", "production", "--yes").returncode == 0
    assert terminal.end() == 0, terminal.text()
    assert "waits for approval" not in shop("status").stdout


def test_a_no_leaves_it_waiting_and_a_rejection_ends_it(shop: SmallShop) -> None:
    terminal = Terminal(shop, "run")
    assert terminal.shows("approve production: commit ")
    terminal.type("n\n")
    assert terminal.shows("not approved; later: akashic approve 1"), terminal.text()
    assert shop("reject", "production", "--yes", "--comment", "not today").returncode == 0
    assert terminal.end() == 1, terminal.text()
    assert "not today" in terminal.text()
    assert shop.served_commit("production") == ""


def test_who_resumes_a_run_is_asked_what_nobody_answered_before(shop: SmallShop) -> None:
    killed = Terminal(shop, "run")
    assert killed.shows("approve production: commit ")
    killed.process.kill()
    killed.end()
    terminal = Terminal(shop, "resume", "1")
    assert terminal.shows("approve production: commit "), terminal.text()
    terminal.type("y\n")
    assert terminal.end() == 0, terminal.text()
    assert shop.served_commit("production")


def test_without_a_terminal_it_says_how_to_answer(shop: SmallShop) -> None:
    process = shop.start("run")
    assert eventually(lambda: "waits for approval" in shop("status").stdout, timeout_s=60)
    assert shop("approve", "--yes").returncode == 0
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, "waiting for: akashic approve 1" in stderr) == (0, True), stderr
