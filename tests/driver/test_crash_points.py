"""A driver that dies at each of its appends, what others do while it is dead, and the one that takes over.

The workflow has what a run can have: its own concurrency group, a matrix, a call with a group, a gate that a
person opens, a clean-up job. Jobs run one at a time, so that the n-th append is the same one each time.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from akashic.cancellation import Cancellation
from akashic.driver.groups import Groups
from akashic.driver.locks import FileRunLocks
from akashic.driver.observer import SilentObserver
from akashic.engine.codec import encode, run_stream
from akashic.engine.concurrency import Member, group_stream
from akashic.engine.events import (
    CancelRequested,
    GateOpened,
    GateReopened,
    GateReviewed,
    JobStarted,
    RunEvent,
    RunResumed,
)
from akashic.engine.requests import JobRequest, Resumption
from akashic.engine.rerun import all_jobs, failed_jobs
from akashic.engine.runstate import RunState
from akashic.engine.state import fold
from akashic.errors import AkashicError
from akashic.journal.protocol import Journal
from akashic.testing.clock import ManualClock
from akashic.testing.jobs import RuledGates, Rules, Script, ScriptedJobs
from akashic.testing.journal import MemoryJournal
from tests.driver.test_driver_runs import CrashingJournal, create, driver, history
from tests.waiting import PATIENCE_S

WORKFLOW = """
on: push
concurrency: pipeline
jobs:
  test:
    runs-on: x
    strategy: {fail-fast: false, matrix: {v: [1, 2]}}
    steps: [{run: echo}]
  roll-out:
    needs: test
    if: always()
    concurrency: deploy
    uses: ./.github/workflows/called.yml
  clean:
    needs: roll-out
    if: always()
    concurrency: deploy
    runs-on: x
    steps: [{run: echo}]
"""
CALLED = """
on: workflow_call
jobs:
  gated: {environment: production, runs-on: x, steps: [{run: echo}]}
  after: {needs: gated, runs-on: x, steps: [{run: echo}]}
"""
GROUPS = ("pipeline", "deploy")
SCRIPTS = {"test(1)": Script(conclusion="failure", steps=1)}


class Approving(SilentObserver):
    """Approves what waits, as soon as it waits."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal

    def event(self, state: RunState, event: RunEvent, at: float) -> None:
        if isinstance(event, GateOpened | GateReopened):
            review(self._journal, event.key, event.binding)


def review(journal: MemoryJournal, key: str, binding: Any) -> None:
    """By another process: the death of the driver does not keep it from writing."""
    said = GateReviewed(key=key, by="ann", approved=True, binding=binding)
    MemoryJournal.append(journal, run_stream("RUN"), [encode(said)], at=2.0, expected_version=None)


def say(journal: Journal, event: RunEvent) -> None:
    journal.append(run_stream("RUN"), [encode(event)], at=2.0, expected_version=None)


def nothing(journal: Journal, folder: Path) -> None:
    """Nobody noticed."""


def cancelled(journal: Journal, folder: Path) -> None:
    say(journal, CancelRequested(by="ann", reason="enough"))


def cancelled_by_force(journal: Journal, folder: Path) -> None:
    say(journal, CancelRequested(by="ann", reason="enough"))
    say(journal, CancelRequested(by="ann", reason="now", force=True))


def one_job_cancelled(journal: Journal, folder: Path) -> None:
    say(journal, CancelRequested(key="roll-out", by="ann", reason="not that"))


def groups_used_by_another(journal: Journal, folder: Path) -> None:
    locks = FileRunLocks(folder / "locks")
    groups, other = Groups(journal, locks, ManualClock()), Member(run_id="OTHER")
    lock = locks.acquire("OTHER")
    for name in GROUPS:
        assert groups.place(name, other, cancel_in_progress=False, queue_max=1, rejoin=True) == "held"
    for name in GROUPS:
        groups.leave(name, other)
    lock.release()


def run_again(journal: Journal, folder: Path) -> None:
    """Somebody asks for everything again: heard only where the run had ended."""
    say(journal, RunResumed(by="ann", jobs=all_jobs(fold(history(journal)))))


def taken_up(journal: Journal, folder: Path) -> None:
    """Somebody takes the failed job up where it failed: heard only where the run had ended."""
    state = fold(history(journal))
    places = {"test(0)": Resumption(attempt=1, first_step=0)}
    say(journal, RunResumed(by="ann", jobs=failed_jobs(state), resumptions=places))


MEANWHILE = [
    nothing,
    cancelled,
    cancelled_by_force,
    one_job_cancelled,
    groups_used_by_another,
    run_again,
    taken_up,
]


class Held(ScriptedJobs):
    """Jobs that look, when they start, whether the run holds the groups that they need."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(SCRIPTS)
        self._journal_now = journal
        self.without: list[str] = []

    def run(self, request: JobRequest, *rest: Any) -> Any:
        needed = {"pipeline": ""}
        if request.key.startswith("roll-out/"):
            needed["deploy"] = "roll-out"
        if request.key == "clean":
            needed["deploy"] = "clean"
        for group, key in needed.items():
            records = self._journal_now.read(group_stream(group))
            holder = f'"holder":{{"run_id":"RUN","key":"{key}"}}'
            if not records or holder.encode() not in records[-1].data:
                self.without.append(f"{request.key} without {group}: {records[-1:]}")
        return super().run(request, *rest)


def first_journal() -> MemoryJournal:
    journal = MemoryJournal()
    create(journal, WORKFLOW, called=CALLED)
    return journal


def driven(journal: MemoryJournal, folder: Path) -> Held:
    jobs = Held(journal)
    gates = RuledGates({"production": Rules(approvals_needed=1)})
    state = fold(history(journal))
    for key, instance in state.instances.items():
        if instance.gate is not None and not instance.gate.passed:
            review(journal, key, instance.gate.binding)
    driving = driver(journal, jobs, folder, gate_port=gates, observers=[Approving(journal)], jobs_max=1)
    cancellation = Cancellation()
    # One that waits for ever is a failure, not a test that hangs.
    guard = threading.Timer(
        PATIENCE_S, lambda: cancellation.cancel(source="test", reason="it waits for ever", force=True)
    )
    guard.start()
    try:
        with contextlib.suppress(AkashicError):
            driving.drive("RUN", cancellation)
    finally:
        guard.cancel()
    assert not cancellation.is_set(), cancellation.reason
    return jobs


@pytest.mark.parametrize("meanwhile", MEANWHILE)
@pytest.mark.parametrize("after", [False, True])
def test_whoever_takes_over_ends_the_run_and_breaks_no_rule(
    meanwhile: Callable[[Journal, Path], None], after: bool, tmp_path: Path
) -> None:
    first = first_journal()
    at, died = 0, True
    while died:
        crashing = CrashingJournal(first.records, at, after=after)
        dead = driven(crashing, tmp_path)
        died = crashing.dead
        between = CrashingJournal(crashing.records, 10**9, after=False)
        meanwhile(between, tmp_path)
        # The next one dies too, somewhere; only the third gets through.
        for again in range(at % 5, 24, 5):
            second = CrashingJournal(between.records, again, after=not after)
            dying = driven(second, tmp_path)
            third = CrashingJournal(second.records, 10**9, after=False)
            last = driven(third, tmp_path)
            where = f"crash at {at}, {meanwhile.__name__}, crash at {again}"
            check(third, [dead, dying, last], where)
            if not second.dead:
                break
        at += 1
    assert at > 25


def check(journal: MemoryJournal, drivers: list[Held], where: str) -> None:
    state = fold(history(journal))
    assert state.finished, where
    assert journal.verify() == [], where
    assert not [line for jobs in drivers for line in jobs.without], where
    started = [(one.key, one.attempt) for jobs in drivers for one in jobs.started]
    intents = [(one.key, one.attempt) for one, _ in history(journal) if isinstance(one, JobStarted)]
    assert len(started) == len(set(started)), f"{where}: started twice"
    assert len(intents) == len(set(intents)), f"{where}: intended twice"
    assert set(started) <= set(intents), f"{where}: started unseen"
    for name in GROUPS:
        records = journal.read(group_stream(name))
        assert not records or b'"holder":null' in records[-1].data, f"{where}: {name} is left held"
        assert not records or b'"pending":[]' in records[-1].data, f"{where}: {name} is left waited for"
