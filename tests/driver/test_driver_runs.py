"""Driving runs for real: threads, a journal, other processes, and crashes at every point."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from akashic.cancellation import Cancellation
from akashic.driver.locks import FileRunLocks, RunBusy
from akashic.driver.observer import SilentObserver
from akashic.driver.ports import JOB_TIMEOUT, JobReporter
from akashic.driver.runs import RunDriver
from akashic.engine.codec import decode, encode, run_stream
from akashic.engine.concurrency import Group, GroupChanged, Member, group_stream
from akashic.engine.events import (
    CancelRequested,
    GateReviewed,
    JobFinished,
    JobStarted,
    RunCreated,
    RunEvent,
    RunResumed,
)
from akashic.engine.requests import JobRequest, JobResult
from akashic.engine.runstate import RunState
from akashic.engine.state import NoRun, fold
from akashic.errors import AkashicError
from akashic.journal.protocol import Journal, JournalUnavailable, NewRecord
from akashic.journal.sqlite import SqliteJournal
from akashic.testing.clock import ManualClock
from akashic.testing.jobs import RuledGates, Rules, Script, ScriptedJobs
from akashic.testing.journal import MemoryJournal

PATH = ".github/workflows/ci.yml"
PIPELINE = """
on: push
concurrency: pipeline
jobs:
  build:
    runs-on: x
    steps: [{run: echo}]
  test:
    needs: build
    runs-on: x
    strategy: {matrix: {v: [1, 2, 3]}}
    steps: [{run: echo}]
  deploy:
    needs: test
    environment: production
    concurrency: deploy
    runs-on: x
    steps: [{run: echo}]
  clean:
    needs: [test, deploy]
    if: always()
    runs-on: x
    steps: [{run: echo}]
"""
SIMPLE = "on: push\njobs:\n  a:\n    runs-on: x\n    steps: [{run: echo}]\n"
TIMED = (
    "on: push\njobs:\n  slow:\n    runs-on: x\n    timeout-minutes: 0.001\n    steps: [{run: echo}]\n"
    "  other:\n    runs-on: x\n    steps: [{run: echo}]\n"
)
GATED = SIMPLE.replace("runs-on: x", "runs-on: x\n    environment: production")
GROUPED = SIMPLE.replace("jobs:", "concurrency: prod\njobs:")


def create(journal: Journal, workflow: str, run_id: str = "RUN", *, called: str = "") -> None:
    """A run's first record; `called` is the reusable workflow that jobs may call."""
    event = RunCreated(
        run_id=run_id,
        number=1,
        repository="octo/cat",
        repository_root="/repo",
        commit="c0ffee",
        workflow_path=PATH,
        workflow_sha256="w",
        sources={PATH: workflow} | ({"./.github/workflows/called.yml": called} if called else {}),
        event_name="push",
        actor="octocat",
        github={},
    )
    journal.append(run_stream(run_id), [encode(event)], at=1.0, expected_version=0)


def driver(journal: Journal, jobs: ScriptedJobs, folder: Path, **changes: Any) -> RunDriver:
    parts: dict[str, Any] = {
        "journal": journal,
        "job_port": jobs,
        "gate_port": RuledGates(),
        "clock": ManualClock(step_s=0.001),
        "locks": FileRunLocks(folder / "locks"),
    }
    return RunDriver(**{**parts, **changes})


def history(journal: Journal, run_id: str = "RUN") -> list[tuple[RunEvent, float]]:
    return [(decode(record), record.at) for record in journal.read(run_stream(run_id))]


def when(
    journal: Journal, condition: Callable[[list[RunEvent]], bool], then: Callable[[], None]
) -> threading.Thread:
    """A thread that does something once the run's events are so."""

    def watch() -> None:
        position = 0
        while not condition([event for event, _ in history(journal)]):
            journal.wait(after_position=position, timeout_s=1.0)
            position = journal.head()
        then()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def has(kind: str) -> Callable[[list[RunEvent]], bool]:
    return lambda events: any(type(event).__name__ == kind for event in events)


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    made = MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "journal.db")
    yield made
    made.close()


def test_a_pipeline_runs_to_its_end(journal: Journal, tmp_path: Path) -> None:
    create(journal, PIPELINE)
    jobs = ScriptedJobs({"build": Script(steps=3)})
    state = driver(journal, jobs, tmp_path).drive("RUN", Cancellation())
    assert state.conclusion == "success" and len(jobs.started) == 6
    assert fold(history(journal)) == state
    assert len(state.instances["build"].steps) == 3
    assert journal.verify() == []


def test_what_cannot_run_is_a_failed_job_with_its_reason(tmp_path: Path) -> None:
    def broken(request: object) -> None:
        raise ZeroDivisionError("by us")

    for script, reason in (
        (Script(error="no such image"), "no such image"),
        (Script(before=broken), "by us"),
    ):
        journal = MemoryJournal()
        create(journal, SIMPLE)
        state = driver(journal, ScriptedJobs({"a": script}), tmp_path).drive("RUN", Cancellation())
        assert state.conclusion == "failure" and reason in state.instances["a"].reason


def test_never_more_jobs_at_once_than_the_machine_allows(tmp_path: Path) -> None:
    journal = MemoryJournal()
    create(
        journal, SIMPLE.replace("runs-on: x", "runs-on: x\n    strategy: {matrix: {v: [1, 2, 3, 4, 5, 6]}}")
    )
    jobs = ScriptedJobs()
    driver(journal, jobs, tmp_path, jobs_max=2).drive("RUN", Cancellation())
    assert len(jobs.started) == 6 and jobs.most_at_once <= 2


def test_cancelling_asks_the_jobs_to_end_and_cleans_up(journal: Journal, tmp_path: Path) -> None:
    create(journal, PIPELINE)
    cancellation = Cancellation()
    jobs = ScriptedJobs({"build": Script(until_cancelled=True)})
    thread = when(journal, has("JobStarted"), lambda: cancellation.cancel(source="me", reason="Ctrl-C"))
    state = driver(journal, jobs, tmp_path).drive("RUN", cancellation)
    thread.join()
    assert state.conclusion == "cancelled" and state.cancel_reason == "Ctrl-C"
    assert [request.key for request in jobs.started] == ["build", "clean"]


def test_an_attempt_whose_time_is_up_is_asked_to_end_and_no_other(journal: Journal, tmp_path: Path) -> None:
    create(journal, TIMED)
    sources: dict[str, str] = {}

    class Watched(ScriptedJobs):
        def run(self, request: JobRequest, reporter: JobReporter, cancellation: Cancellation) -> JobResult:
            if request.key == "other":
                has_ended.wait(20)
            result = super().run(request, reporter, cancellation)
            sources[request.key] = cancellation.source
            if request.key == "slow":
                has_ended.set()
            return result

    has_ended = threading.Event()
    jobs = Watched({"slow": Script(until_cancelled=True)})
    state = driver(journal, jobs, tmp_path).drive("RUN", Cancellation())
    assert sources == {"slow": JOB_TIMEOUT, "other": ""}
    [slow] = [
        event for event, _ in history(journal) if isinstance(event, JobFinished) and event.key == "slow"
    ]
    assert slow.result.reason == "The job has exceeded the maximum execution time of 0.001 minutes"
    assert state.instances["other"].conclusion == "success"


def test_another_process_may_cancel_through_the_journal(journal: Journal, tmp_path: Path) -> None:
    create(journal, SIMPLE)
    request = encode(CancelRequested(by="ann", reason="wrong branch"))

    def cancel() -> None:
        journal.append("run/RUN", [request], at=2.0, expected_version=None)

    thread = when(journal, has("JobStarted"), cancel)
    jobs = ScriptedJobs({"a": Script(until_cancelled=True)})
    assert driver(journal, jobs, tmp_path).drive("RUN", Cancellation()).conclusion == "cancelled"
    thread.join()


def test_an_approval_from_another_process_opens_the_gate(journal: Journal, tmp_path: Path) -> None:
    create(journal, GATED)
    gates = RuledGates({"production": Rules(approvals_needed=1)})

    def approve() -> None:
        gate = fold(history(journal)).instances["a"].gate
        assert gate is not None
        review = GateReviewed(key="a", by="ann", approved=True, binding=gate.binding)
        journal.append("run/RUN", [encode(review)], at=2.0, expected_version=None)

    thread = when(journal, has("GateOpened"), approve)
    state = driver(journal, ScriptedJobs(), tmp_path, gate_port=gates).drive("RUN", Cancellation())
    thread.join()
    assert state.conclusion == "success"
    gate = state.instances["a"].gate
    assert gate is not None and gate.approved_by == ("ann",)


class _Crash(BaseException):
    """The process ends here."""


class CrashingJournal(MemoryJournal):
    """Dies before or after its n-th append; everything after that fails too, as for a dead process."""

    def __init__(self, records: list[Any], at: int, *, after: bool) -> None:
        super().__init__()
        for record in records:
            super().append(
                record.stream, [NewRecord(record.type, record.data)], at=record.at, expected_version=None
            )
        self._left, self._after, self.dead = at, after, False

    def append(self, *args: Any, **options: Any) -> Any:
        if self.dead:
            raise JournalUnavailable("the process is dead")
        self._left -= 1
        if self._left < 0:
            self.dead = True
            if self._after:
                super().append(*args, **options)
            raise JournalUnavailable("the process is dead")
        return super().append(*args, **options)


def resumed_until_the_end(at: int, *, after: bool, folder: Path) -> tuple[list[Any], list[Any], bool]:
    """Drive the pipeline with a crash at its n-th append, then again: started, history, crashed."""
    first = MemoryJournal()
    create(first, PIPELINE)
    crashing = CrashingJournal(first.records, at, after=after)
    jobs = ScriptedJobs({"test(1)": Script(conclusion="failure")})
    gates = RuledGates({"production": Rules(approvals_needed=0)})
    try:
        driver(crashing, jobs, folder, gate_port=gates).drive("RUN", Cancellation())
    except AkashicError:
        assert crashing.dead
    survivor = CrashingJournal(crashing.records, 10**9, after=False)
    again = ScriptedJobs({"test(1)": Script(conclusion="failure")})
    state = driver(survivor, again, folder, gate_port=gates).drive("RUN", Cancellation())
    assert state.finished and fold(history(survivor)) == state
    assert state.conclusion == "failure"
    assert survivor.verify() == []
    for name in ("pipeline", "deploy"):
        records = survivor.read(group_stream(name))
        assert not records or b'"holder":null' in records[-1].data, "no group is left held"
    return [*jobs.started, *again.started], history(survivor), crashing.dead


@pytest.mark.parametrize("after", [False, True])
def test_a_crash_at_every_point_ends_cleanly_and_starts_no_attempt_twice(after: bool, tmp_path: Path) -> None:
    at, crashed = 0, True
    while crashed:
        started, events, crashed = resumed_until_the_end(at, after=after, folder=tmp_path)
        attempts = [(request.key, request.attempt) for request in started]
        assert len(attempts) == len(set(attempts)), f"crash at {at}: started twice: {attempts}"
        intents = [(event.key, event.attempt) for event, _ in events if isinstance(event, JobStarted)]
        assert len(intents) == len(set(intents))
        assert set(attempts) <= set(intents), "nothing runs without its intent in the journal"
        at += 1
    assert at > 15


def test_an_attempt_whose_outcome_is_known_is_not_run_again(journal: Journal, tmp_path: Path) -> None:
    create(journal, SIMPLE)
    crash_after_start(journal, tmp_path)
    jobs = ScriptedJobs(recovered={"RUN/a/1": JobResult(conclusion="success", outputs={"x": "1"})})
    state = driver(journal, jobs, tmp_path).drive("RUN", Cancellation())
    assert jobs.started == [] and state.conclusion == "success" and state.instances["a"].attempt == 1


def test_an_attempt_whose_outcome_is_unknown_is_a_new_attempt(journal: Journal, tmp_path: Path) -> None:
    create(journal, SIMPLE)
    crash_after_start(journal, tmp_path)
    jobs = ScriptedJobs()
    state = driver(journal, jobs, tmp_path).drive("RUN", Cancellation())
    assert [request.attempt for request in jobs.started] == [2] and state.conclusion == "success"
    assert any(isinstance(event, RunResumed) for event, _ in history(journal))


def crash_after_start(journal: Journal, folder: Path) -> None:
    """Leave the journal as a driver that was killed while job `a` ran."""
    copy = MemoryJournal()
    create(copy, SIMPLE)
    driver(copy, ScriptedJobs(), folder).drive("RUN", Cancellation())
    events = [event for event, _ in history(copy)]
    until = next(index for index, event in enumerate(events) if isinstance(event, JobStarted)) + 1
    new = [encode(event) for event in events[1:until]]
    journal.append("run/RUN", new, at=2.0, expected_version=1)


def test_a_journal_that_cannot_be_written_ends_the_jobs_and_says_why(tmp_path: Path) -> None:
    journal = MemoryJournal()
    create(journal, SIMPLE)
    journal.fail_after = 4
    jobs = ScriptedJobs({"a": Script(steps=50, until_cancelled=True)})
    with pytest.raises(JournalUnavailable, match="no space left"):
        driver(journal, jobs, tmp_path).drive("RUN", Cancellation())
    assert jobs._at_once == 0


def test_a_broken_observer_is_dropped_and_the_run_goes_on(tmp_path: Path) -> None:
    class Broken(SilentObserver):
        def event(self, state: RunState, event: RunEvent, at: float) -> None:
            raise ValueError("cannot draw")

    journal = MemoryJournal()
    create(journal, SIMPLE)
    driving = driver(journal, ScriptedJobs(), tmp_path, observers=[Broken()])
    assert driving.drive("RUN", Cancellation()).conclusion == "success"
    assert [str(error) for error in driving.observer_errors] == ["cannot draw"]


def test_observers_see_what_happens_live(tmp_path: Path) -> None:
    seen: list[object] = []

    class Watching(SilentObserver):
        def step_started(self, key: str, number: int, name: str) -> None:
            seen.append((key, number, name))

        def lines(self, key: str, number: int, block: str) -> None:
            seen.append((key, block))

    journal = MemoryJournal()
    create(journal, SIMPLE)
    jobs = ScriptedJobs({"a": Script(steps=1)})
    driver(journal, jobs, tmp_path, observers=[Watching()]).drive("RUN", Cancellation())
    assert seen == [("a", 1, "step 1"), ("a", "line of step 1\n")]


def test_two_drivers_never_drive_one_run(tmp_path: Path) -> None:
    journal = MemoryJournal()
    create(journal, SIMPLE)
    lock = FileRunLocks(tmp_path / "locks").acquire("RUN")
    with pytest.raises(RunBusy, match="driven by another process"):
        driver(journal, ScriptedJobs(), tmp_path).drive("RUN", Cancellation())
    lock.release()
    assert driver(journal, ScriptedJobs(), tmp_path).drive("RUN", Cancellation()).finished


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    locks = FileRunLocks(tmp_path / "locks")
    code = (
        "import sys, time\nfrom akashic.driver.locks import FileRunLocks\n"
        "lock = FileRunLocks(sys.argv[1]).acquire('RUN')\nprint('held', flush=True)\ntime.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(locks.folder)], stdout=subprocess.PIPE)
    assert child.stdout is not None and child.stdout.readline() == b"held\n"
    assert locks.is_driven("RUN")
    child.kill()
    child.communicate()
    assert not locks.is_driven("RUN")
    locks.acquire("RUN").release()


def test_no_such_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(NoRun, match="there is no run RUN"):
        driver(MemoryJournal(), ScriptedJobs(), tmp_path).drive("RUN", Cancellation())


# -- groups over several runs


def held_by(journal: Journal, run_id: str, name: str = "prod") -> None:
    event = GroupChanged(
        change="joined", member=Member(run_id=run_id), group=Group(holder=Member(run_id=run_id))
    )
    record = NewRecord("GroupChanged", msgspec.json.encode(event))
    journal.append(group_stream(name), [record], at=1.0, expected_version=0)


def test_a_group_is_held_by_one_run_at_a_time(journal: Journal, tmp_path: Path) -> None:
    jobs = ScriptedJobs()
    driving = driver(journal, jobs, tmp_path)
    for number in range(3):
        create(
            journal,
            GROUPED.replace("concurrency: prod", "concurrency: {group: prod, queue: max}"),
            f"R{number}",
        )
    threads = [
        threading.Thread(target=driving.drive, args=(f"R{number}", Cancellation())) for number in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(jobs.started) == 3 and jobs.most_at_once == 1
    assert all(fold(history(journal, f"R{number}")).conclusion == "success" for number in range(3))


def test_the_group_of_a_dead_driver_is_taken_over(journal: Journal, tmp_path: Path) -> None:
    create(journal, GROUPED)
    held_by(journal, "DEAD")
    assert driver(journal, ScriptedJobs(), tmp_path).drive("RUN", Cancellation()).conclusion == "success"


def test_the_group_of_a_living_driver_is_waited_for(journal: Journal, tmp_path: Path) -> None:
    create(journal, GROUPED)
    held_by(journal, "ALIVE")
    lock = FileRunLocks(tmp_path / "locks").acquire("ALIVE")
    thread = when(journal, has("ConcurrencyWaiting"), lock.release)
    jobs = ScriptedJobs()
    assert driver(journal, jobs, tmp_path).drive("RUN", Cancellation()).conclusion == "success"
    thread.join()


def test_a_newer_run_replaces_the_one_that_waits(journal: Journal, tmp_path: Path) -> None:
    held_by(journal, "ALIVE")
    lock = FileRunLocks(tmp_path / "locks").acquire("ALIVE")
    create(journal, GROUPED)
    create(journal, GROUPED, "NEWER")
    driving = driver(journal, ScriptedJobs(), tmp_path)
    second = threading.Thread(target=driving.drive, args=("NEWER", Cancellation()))
    first = when(journal, has("ConcurrencyWaiting"), second.start)
    assert driving.drive("RUN", Cancellation()).conclusion == "cancelled"
    first.join()
    lock.release()
    second.join(60)
    assert fold(history(journal, "NEWER")).conclusion == "success"
