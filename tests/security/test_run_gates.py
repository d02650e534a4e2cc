"""Rows 10 and 11 in a run that is driven: what starts is what was approved."""

from __future__ import annotations

import contextlib
from pathlib import Path

from akashic.cancellation import Cancellation
from akashic.driver.observer import SilentObserver
from akashic.engine.codec import encode, run_stream
from akashic.engine.events import GateOpened, GateReopened, GateReviewed, JobStarted, RunEvent
from akashic.engine.requests import GateBinding
from akashic.engine.runstate import RunState
from akashic.errors import AkashicError
from akashic.testing.jobs import RuledGates, Rules, ScriptedJobs
from akashic.testing.journal import MemoryJournal
from tests.driver.test_driver_runs import GATED, CrashingJournal, create, driver, history


class People(SilentObserver):
    """Eve approves what she sees first, and then it becomes something else; Ann approves that."""

    def __init__(self, journal: MemoryJournal, gates: RuledGates, jobs: ScriptedJobs) -> None:
        self.journal, self.gates, self.jobs = journal, gates, jobs
        self.asked_again = 0

    def event(self, state: RunState, event: RunEvent, at: float) -> None:
        if isinstance(event, GateOpened):
            self.change()
            self.approve("eve", event.binding)
        elif isinstance(event, GateReopened):
            assert self.jobs.started == []
            self.asked_again += 1
            self.approve("ann", event.binding)

    def change(self) -> None:
        self.gates.commit = "a push in between"

    def approve(self, by: str, binding: GateBinding) -> None:
        said = GateReviewed(key="a", by=by, approved=True, binding=binding)
        self.journal.append(run_stream("RUN"), [encode(said)], at=2.0, expected_version=None)


class WithNewBuild(People):
    def change(self) -> None:
        self.gates.rules["production"] = Rules(approvals_needed=1, artifact_digest="sha256:other")


def driven(people: type[People], folder: Path) -> tuple[People, GateBinding, tuple[str, ...]]:
    journal, jobs = MemoryJournal(), ScriptedJobs()
    create(journal, GATED)
    gates = RuledGates({"production": Rules(approvals_needed=1)})
    seen = people(journal, gates, jobs)
    state = driver(journal, jobs, folder, gate_port=gates, observers=[seen]).drive("RUN", Cancellation())
    assert state.conclusion == "success"
    assert any(isinstance(event, GateOpened) for event, _ in history(journal))
    [request] = jobs.started
    assert request.binding is not None
    gate = state.instances["a"].gate
    assert gate is not None
    return seen, request.binding, gate.approved_by


def test_attack_11_what_changes_between_approval_and_start_is_asked_again(tmp_path: Path) -> None:
    seen, started, approved_by = driven(People, tmp_path)
    assert seen.asked_again == 1
    assert (started.commit, approved_by) == ("a push in between", ("ann",))


def test_attack_10_a_new_build_is_not_what_was_approved(tmp_path: Path) -> None:
    seen, started, approved_by = driven(WithNewBuild, tmp_path)
    assert seen.asked_again == 1
    assert (started.artifact_digest, approved_by) == ("sha256:other", ("ann",))


def test_attack_11_a_job_whose_driver_died_is_not_started_again_as_something_else(tmp_path: Path) -> None:
    """It was approved and had begun. Before the next attempt, what would run is looked at again."""
    first, at = MemoryJournal(), 0
    create(first, GATED)
    gates = RuledGates({"production": Rules(approvals_needed=1)})
    while True:
        crashing, jobs = CrashingJournal(first.records, at, after=True), ScriptedJobs()
        approving = Approving(crashing, gates, jobs)
        with contextlib.suppress(AkashicError):
            driver(crashing, jobs, tmp_path, gate_port=gates, observers=[approving]).drive(
                "RUN", Cancellation()
            )
        if any(isinstance(event, JobStarted) for event, _ in history(crashing)):
            break
        at += 1
    journal, jobs = CrashingJournal(crashing.records, 10**9, after=False), ScriptedJobs()
    gates.commit = "a push in between"
    seen = People(journal, gates, jobs)
    state = driver(journal, jobs, tmp_path, gate_port=gates, observers=[seen]).drive("RUN", Cancellation())
    assert state.conclusion == "success" and seen.asked_again == 1
    assert [request.binding.commit for request in jobs.started if request.binding] == ["a push in between"]


class Approving(People):
    """Nothing changes; the approval is written by another process, which does not die."""

    def change(self) -> None:
        return

    def approve(self, by: str, binding: GateBinding) -> None:
        said = GateReviewed(key="a", by=by, approved=True, binding=binding)
        MemoryJournal.append(self.journal, run_stream("RUN"), [encode(said)], at=2.0, expected_version=None)
