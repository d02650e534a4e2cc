"""What is left for the end is done, in order, whatever fails."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import akashic.cli
from akashic.app.application import Application
from akashic.cli import afterwards as module
from akashic.cli.afterwards import afterwards, do_rest
from akashic.cli.warm.client import ENDED
from akashic.cli.warm.worker import Request, _work
from akashic.journal.protocol import NewRecord
from akashic.journal.sqlite import LOG_BYTES_MAX
from tests.cli.cli_process import Cli, steps
from tests.waiting import eventually


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "_tasks", [])
    yield


def failing() -> None:
    raise ValueError("it cannot be done")


def test_the_newest_is_done_first_and_each_once() -> None:
    done: list[int] = []
    for number in range(3):
        afterwards(lambda number=number: done.append(number))
    do_rest()
    do_rest()
    assert done == [2, 1, 0]


def test_one_that_fails_keeps_no_other_from_its_turn() -> None:
    done: list[str] = []
    afterwards(lambda: done.append("first"))
    afterwards(failing)
    afterwards(lambda: done.append("last"))
    do_rest()
    assert done == ["last", "first"]


def test_a_task_may_leave_another(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    afterwards(lambda: afterwards(lambda: done.append("left")))
    do_rest()
    assert done == ["left"]


def test_an_application_does_all_that_was_left_and_then_the_journal(cli: Cli) -> None:
    cli.workflow(steps("true"))
    cli.commit()
    application = Application.open(cli.path, cli.env)
    journal, done = application.journal, list[str]()
    log = journal.path.with_name(journal.path.name + "-wal")
    journal.append("run/a", [NewRecord("A", bytes(LOG_BYTES_MAX))], at=1.0, expected_version=None)
    application.later(lambda: done.append(f"first {log.stat().st_size > LOG_BYTES_MAX}"))
    application.later(failing)
    application.later(lambda: done.append("last"))
    with pytest.raises(ValueError, match="it cannot be done"):
        application.tidy()
    assert done == ["last", "first True"]
    assert log.stat().st_size == 0
    application.tidy()
    assert done == ["last", "first True"]
    journal.close()


def test_an_application_that_never_read_its_journal_does_not_open_it_to_tidy(cli: Cli) -> None:
    cli.workflow(steps("true"))
    cli.commit()
    application = Application.open(cli.path, cli.env)
    application.tidy()
    assert not (cli.path / ".akashic" / "journal.db").exists()


def test_who_watches_keeps_no_folder_of_a_run_that_has_ended(cli: Cli) -> None:
    cli.workflow(steps("echo ran"))
    cli.commit()
    process = cli.start("run", "--watch")
    assert process.stdout is not None
    for line in process.stdout:
        if "run 1 succeeded" in line:
            break
    work = cli.path / ".akashic" / "work"
    assert eventually(lambda: not list(work.iterdir()))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130


def test_a_worker_does_the_rest_when_its_client_knows_how_it_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, done = os.pipe(), tmp_path / "done"
    channel, to_client = socket.socketpair()
    line, to_server = socket.socketpair()
    channel.settimeout(20)
    pid = os.fork()
    if pid == 0:
        try:
            monkeypatch.setattr(akashic.cli, "work", lambda argv: 7)
            afterwards(lambda: done.write_bytes(os.read(told[0], 1)))
            afterwards(failing)
            _work(Request("", ["akashic", "run"], {}, 0o022, []), to_client, to_server)
        finally:
            os._exit(99)
    # Whoever is still at work here has to wait for what only comes after the answer.
    answer = channel.recv(10)
    os.write(told[1], b"x")
    _, status = os.waitpid(pid, 0)
    assert answer == ENDED + b"\7"
    assert os.waitstatus_to_exitcode(status) == 7
    assert done.read_bytes() == b"x"
    for end in (channel, to_client, line, to_server):
        end.close()
    for descriptor in told:
        os.close(descriptor)
