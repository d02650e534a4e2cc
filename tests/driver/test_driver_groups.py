"""Concurrency groups, and what others do between a look and a record, or while a driver is dead."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from akashic.cancellation import Cancellation
from akashic.driver.groups import Groups
from akashic.driver.locks import FileRunLocks, RunLock
from akashic.engine.codec import encode, run_stream
from akashic.engine.concurrency import Member, group_stream
from akashic.engine.events import CancelRequested
from akashic.engine.state import fold
from akashic.errors import AkashicError
from akashic.journal.protocol import Journal
from akashic.testing.clock import ManualClock
from akashic.testing.jobs import ScriptedJobs
from akashic.testing.journal import MemoryJournal
from tests.driver.test_driver_runs import CrashingJournal, create, driver, held_by, history

ONE_AFTER_THE_OTHER = """
on: push
jobs:
  one:
    concurrency: prod
    runs-on: x
    steps: [{run: echo}]
  two:
    needs: one
    if: always()
    concurrency: prod
    runs-on: x
    steps: [{run: echo}]
"""
CALLING = """
on: push
jobs:
  roll-out:
    concurrency: prod
    uses: ./.github/workflows/called.yml
"""
CALLED = """
on: workflow_call
jobs:
  first: {runs-on: x, steps: [{run: echo}]}
  second: {needs: first, runs-on: x, steps: [{run: echo}]}
"""


class OvertakenJournal(MemoryJournal):
    """Does something once, just after somebody has got a place in a group."""

    def __init__(self, then: Callable[[Journal], None]) -> None:
        super().__init__()
        self._then: Callable[[Journal], None] | None = then

    def append(self, stream: str, records: Any, **options: Any) -> Any:
        done = super().append(stream, records, **options)
        if stream.startswith("group/") and self._then is not None:
            then, self._then = self._then, None
            then(self)
        return done


def cancel_one(journal: Journal) -> None:
    request = CancelRequested(key="one", by="ann", reason="not that one")
    journal.append(run_stream("RUN"), [encode(request)], at=2.0, expected_version=None)


def ended(journal: Journal, folder: Path, jobs: ScriptedJobs) -> None:
    """Drive the run; one that waits for ever is a failure, not a test that hangs."""
    cancellation = Cancellation()
    thread = threading.Thread(
        target=driver(journal, jobs, folder).drive, args=("RUN", cancellation), daemon=True
    )
    thread.start()
    thread.join(20)
    waits = thread.is_alive()
    cancellation.cancel(source="test", reason="it waits for ever", force=True)
    thread.join(20)
    assert not waits, "it waits for ever"


def test_a_place_that_is_given_while_the_job_is_cancelled_is_given_back(tmp_path: Path) -> None:
    journal = OvertakenJournal(cancel_one)
    create(journal, ONE_AFTER_THE_OTHER)
    jobs = ScriptedJobs()
    ended(journal, tmp_path, jobs)
    assert [request.key for request in jobs.started] == ["two"]
    assert b'"holder":null' in journal.read(group_stream("prod"))[-1].data


def test_a_place_that_was_given_to_a_dying_driver_is_given_back(tmp_path: Path) -> None:
    first = MemoryJournal()
    create(first, ONE_AFTER_THE_OTHER)
    at = 0
    while True:
        crashing = CrashingJournal(first.records, at, after=True)
        with contextlib.suppress(AkashicError):
            driver(crashing, ScriptedJobs(), tmp_path).drive("RUN", Cancellation())
        if crashing.records[-1].type == "GroupChanged":
            break
        at += 1
        assert crashing.dead
    journal = CrashingJournal(crashing.records, 10**9, after=False)
    cancel_one(journal)
    jobs = ScriptedJobs()
    ended(journal, tmp_path, jobs)
    assert [request.key for request in jobs.started] == ["two"]
    assert b'"holder":null' in journal.read(group_stream("prod"))[-1].data


def test_a_call_whose_group_was_taken_while_its_driver_was_dead_waits_for_it(tmp_path: Path) -> None:
    first = MemoryJournal()
    create(first, CALLING, called=CALLED)
    at = 0
    while True:
        crashing = CrashingJournal(first.records, at, after=True)
        with contextlib.suppress(AkashicError):
            driver(crashing, ScriptedJobs(), tmp_path).drive("RUN", Cancellation())
        if [record.type for record in crashing.records].count("JobFinished") == 1:
            break
        at += 1
    journal = CrashingJournal(crashing.records, 10**9, after=False)
    taken = FileRunLocks(tmp_path / "locks")
    groups = Groups(journal, taken, ManualClock(step_s=0.001))
    other = Member(run_id="OTHER")
    alive = taken.acquire("OTHER")
    assert groups.place("prod", other, cancel_in_progress=False, queue_max=1, rejoin=True) == "held"
    jobs = ScriptedJobs()
    thread = threading.Thread(target=driver(journal, jobs, tmp_path).drive, args=("RUN", Cancellation()))
    thread.start()
    while not any(type(event).__name__ == "ConcurrencyWaiting" for event, _ in history(journal)):
        assert not jobs.started, "it runs beside the one that holds the group"
        journal.wait(after_position=journal.head(), timeout_s=0.1)
    assert not jobs.started
    groups.leave("prod", other)
    alive.release()
    thread.join(60)
    assert fold(history(journal)).conclusion == "success"
    assert [request.key for request in jobs.started] == ["roll-out/second"]


def test_a_run_that_is_taken_on_while_somebody_looks_keeps_its_group(tmp_path: Path) -> None:
    """Its driver had died, and it is resumed between the look of another run and that one's record."""

    class TakenOnMeanwhile(FileRunLocks):
        resumed: RunLock | None = None

        def is_driven(self, run_id: str) -> bool:
            found = super().is_driven(run_id)
            if not found:
                self.resumed = FileRunLocks(self.folder).acquire(run_id)
            return found

    journal = MemoryJournal()
    held_by(journal, "RESUMED")
    locks = TakenOnMeanwhile(tmp_path / "locks")
    groups = Groups(journal, locks, ManualClock(step_s=0.001))
    place = groups.place("prod", Member(run_id="RUN"), cancel_in_progress=False, queue_max=1, rejoin=True)
    assert place == "waiting" or next(groups.members("prod")) == Member(run_id="RESUMED")
    assert locks.resumed is not None
    locks.resumed.release()


def test_who_looks_whether_a_run_is_driven_is_not_taken_for_its_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    locks = FileRunLocks(tmp_path)
    looking = os.open(tmp_path / "RUN.lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)

    def looked(_pause_s: float) -> None:
        fcntl.flock(looking, fcntl.LOCK_UN)

    monkeypatch.setattr("akashic.driver.locks.time.sleep", looked)
    locks.acquire("RUN").release()
    os.close(looking)


def test_an_outcome_that_cannot_be_told_at_all_ends_the_driver(tmp_path: Path) -> None:
    class Broken(MemoryJournal):
        def append(self, stream: str, records: Any, **options: Any) -> Any:
            if any(record.type == "JobFinished" for record in records):
                raise ZeroDivisionError("by us")
            return super().append(stream, records, **options)

    journal = Broken()
    create(journal, ONE_AFTER_THE_OTHER)
    raised: list[BaseException] = []

    def drive() -> None:
        try:
            driver(journal, ScriptedJobs(), tmp_path).drive("RUN", Cancellation())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=drive, daemon=True)
    thread.start()
    thread.join(20)
    assert [str(error) for error in raised] == ["by us"]
