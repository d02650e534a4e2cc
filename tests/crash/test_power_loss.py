"""The power goes at any append: the disk has what was synced, and maybe some of what came after it.

A write-ahead log grows at its end until a checkpoint, so what the disk would have had is a beginning of it.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from akashic.cancellation import Cancellation
from akashic.driver.locks import FileRunLocks
from akashic.driver.runs import RunDriver
from akashic.engine.codec import decode, run_stream
from akashic.engine.events import JobStarted, RunCreated
from akashic.engine.state import NoRun, fold
from akashic.journal.protocol import NewRecord, Record
from akashic.journal.sqlite import SqliteJournal
from akashic.testing.clock import ManualClock
from akashic.testing.jobs import RuledGates, Rules, Script, ScriptedJobs
from tests.driver.test_driver_runs import PIPELINE, create, history

COUNTER = "counter/runs"


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Just after an append: how long the log was, how much of it was synced, what the head file said, and
    how many attempts had been started."""

    log_bytes: int
    synced_bytes: int
    head: bytes
    started: int


@dataclass
class Watched:
    """A journal, and what a disk would have of it after each append."""

    journal: SqliteJournal
    jobs: ScriptedJobs
    moments: list[Moment] = field(default_factory=list)
    synced_bytes: int = 0

    def append(self, *arguments: Any, **options: Any) -> list[Record]:
        done = self.journal.append(*arguments, **options)
        path = self.journal.path
        log_bytes = path.with_name(path.name + "-wal").stat().st_size
        if options.get("durable", True):
            self.synced_bytes = log_bytes
        head = path.with_name(path.name + ".head").read_bytes()
        self.moments.append(
            Moment(
                log_bytes=log_bytes,
                synced_bytes=self.synced_bytes,
                head=head,
                started=len(self.jobs.started),
            )
        )
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)


def driver(journal: Any, jobs: ScriptedJobs, folder: Path) -> RunDriver:
    return RunDriver(
        journal=journal,
        job_port=jobs,
        gate_port=RuledGates({"production": Rules(approvals_needed=0)}),
        clock=ManualClock(step_s=0.001),
        locks=FileRunLocks(folder / "locks"),
        jobs_max=1,
    )


def begin(journal: Any, run_id: str) -> int:
    """As `akashic run` does; the run's number."""
    counted = journal.append(
        COUNTER, [NewRecord("Counted", b"{}")], at=1.0, expected_version=None, durable=False
    )
    create(Lazy(journal), PIPELINE, run_id)
    return counted[0].version


class Lazy:
    """Appends without waiting for the disk."""

    def __init__(self, journal: Any) -> None:
        self._journal = journal

    def append(self, *arguments: Any, **options: Any) -> Any:
        return self._journal.append(*arguments, **options, durable=False)


@pytest.fixture
def moments(tmp_path: Path) -> tuple[Path, list[Moment], ScriptedJobs]:
    """A run to its end, and the one after it half way; the folder has the disk as it is in the end."""
    state = tmp_path / "state"
    journal = SqliteJournal(state / "journal.db")
    jobs = ScriptedJobs({"test(1)": Script(conclusion="failure", steps=2)})
    watched = Watched(journal, jobs)
    begin(watched, "FIRST")
    driver(watched, jobs, tmp_path).drive("FIRST", Cancellation())
    begin(watched, "SECOND")
    kept = tmp_path / "kept"
    shutil.copytree(state, kept)
    journal.close()
    return kept, watched.moments, jobs


def after_the_loss(kept: Path, moment: Moment, log_bytes: int, folder: Path) -> Path:
    shutil.copytree(kept, folder)
    (folder / "journal.db-shm").unlink()
    (folder / "journal.db.head").write_bytes(moment.head)
    with open(folder / "journal.db-wal", "r+b") as log:
        log.truncate(log_bytes)
    return folder / "journal.db"


def test_what_was_synced_is_there_and_what_was_not_is_as_if_it_had_never_been(
    moments: tuple[Path, list[Moment], ScriptedJobs], tmp_path: Path
) -> None:
    kept, taken, jobs = moments
    assert sum(moment.log_bytes > moment.synced_bytes for moment in taken) > 5, "nothing could be lost"
    for number, moment in enumerate(taken):
        middle = (moment.synced_bytes + moment.log_bytes) // 2
        for log_bytes in sorted({moment.synced_bytes, middle, moment.log_bytes}):
            folder = tmp_path / f"{number}-{log_bytes}"
            path = after_the_loss(kept, moment, log_bytes, folder)
            started = jobs.started[: moment.started]
            look_after_the_loss(path, started)
            shutil.rmtree(folder)


def look_after_the_loss(path: Path, started: list[Any]) -> None:
    journal = SqliteJournal(path)
    assert journal.lost_tail() is None and journal.verify() == []
    runs = journal.streams("run/")
    numbers = journal.version(COUNTER)
    assert len(runs) <= numbers, "a run has a number that the next one would get again"
    for stream in runs:
        first = decode(journal.read(stream)[0])
        assert isinstance(first, RunCreated), "a run begins with its creation"
    intents = [event for event, _ in history(journal, "FIRST") if isinstance(event, JobStarted)]
    assert [(one.key, one.attempt) for one in started] == [(one.key, one.attempt) for one in intents][
        : len(started)
    ], "an attempt was started that the journal does not know"
    again = ScriptedJobs({"test(1)": Script(conclusion="failure", steps=2)})
    for run_id in ("FIRST", "SECOND"):
        if run_stream(run_id) in runs:
            assert driver(journal, again, path.parent).drive(run_id, Cancellation()).finished
        else:
            with pytest.raises(NoRun):
                driver(journal, again, path.parent).drive(run_id, Cancellation())
    attempts = [(one.run_id, one.key, one.attempt) for one in (*started, *again.started)]
    assert len(attempts) == len(set(attempts)), "an attempt was started twice"
    assert begin(journal, "NEXT") == numbers + 1
    assert driver(journal, again, path.parent).drive("NEXT", Cancellation()).conclusion == "failure"
    assert fold(history(journal, "NEXT")).finished and journal.verify() == []
    journal.close()
    reopened = SqliteJournal(path)
    assert reopened.lost_tail() is None and reopened.verify() == []
    assert not list(reopened.read_all(after_position=reopened.head()))
    reopened.close()


def test_a_log_that_is_cut_below_what_was_synced_is_told(
    moments: tuple[Path, list[Moment], ScriptedJobs], tmp_path: Path
) -> None:
    """The other way round: this is no loss of power, but of records, and nobody must take it for one."""
    kept, taken, _ = moments
    last = taken[-1]
    shorter = max(moment.synced_bytes for moment in taken if moment.synced_bytes < last.synced_bytes)
    journal = SqliteJournal(after_the_loss(kept, last, shorter, tmp_path / "cut"))
    assert journal.lost_tail() is not None
    journal.close()
