"""A small table language for runs: a workflow, what its jobs do, and what is expected in the end.

A scenario is driven without threads and without a driver: decide, do, apply, until nothing is left to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from akashic.engine import commands
from akashic.engine.codec import decode, encode
from akashic.engine.decide import decide
from akashic.engine.events import (
    CancelRequested,
    ConcurrencyAcquired,
    ConcurrencyReleased,
    GateOpened,
    GatePassed,
    GateReopened,
    JobFilter,
    JobFinished,
    JobRefused,
    JobStarted,
    RunCreated,
    RunEvent,
)
from akashic.engine.requests import JobRequest, JobResult
from akashic.engine.runstate import RunState
from akashic.engine.state import apply, fold
from akashic.testing.jobs import RuledGates, Rules, Script
from akashic.testing.journal import MemoryJournal

PATH = ".github/workflows/ci.yml"


def created(workflow: str, **changes: Any) -> RunCreated:
    """RunCreated for a workflow's text; every field can be changed."""
    fields: dict[str, Any] = {
        "run_id": "RUN",
        "number": 1,
        "repository": "octo/cat",
        "repository_root": "/repo",
        "commit": "c0ffee",
        "workflow_path": PATH,
        "workflow_sha256": "w",
        "sources": {PATH: workflow, **changes.pop("calls", {})},
        "event_name": "push",
        "actor": "octocat",
        "github": {"event_name": "push", "ref": "refs/heads/main", "actor": "octocat"},
    }
    return RunCreated(**{**fields, **changes})


@dataclass(kw_only=True)
class Scenario:
    """`jobs` says what instances do (success when not said). `review` is asked at each gate that waits;
    `cancel_when` is asked before each decision and cancels the run once. `places` limits how many run at
    once; finished instances end in the order in which they started."""

    workflow: str
    jobs: Mapping[str, Script] = field(default_factory=dict)
    calls: Mapping[str, str] = field(default_factory=dict)
    rules: Mapping[str, Rules] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    only: JobFilter = field(default_factory=JobFilter)
    places: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    created_changes: Mapping[str, Any] = field(default_factory=dict)
    act: Callable[[Scenario, RunState], list[RunEvent]] | None = None

    def __post_init__(self) -> None:
        self.history: list[tuple[RunEvent, float]] = []
        self.started: list[JobRequest] = []
        self.gates = RuledGates(self.rules)
        self.now = 1000.0
        self.decisions = 0

    def run(self) -> RunState:
        """Play the scenario to its end; the final state."""
        first = created(
            self.workflow,
            calls=dict(self.calls),
            inputs=dict(self.inputs),
            filter=self.only,
            options=dict(self.options),
            **self.created_changes,
        )
        self.state = self.append(None, first)
        return self.play()

    def play(self) -> RunState:
        """Go on until the run has finished."""
        running = [request for request in self.started if request.key in self.state.running]
        while not self.state.finished:
            self.decisions += 1
            assert self.decisions < 100_000, "the run does not end"
            for event in self.act(self, self.state) if self.act is not None else ():
                self.append(self.state, event)
            remaining = decide(self.state, self.now, places_max=self.places)
            moved, wake_at = False, 0.0
            for command in remaining:
                if isinstance(command, commands.CancelJob):
                    request = next(request for request in running if request.key == command.key)
                    running.remove(request)
                    self.finish(request, JobResult(conclusion="cancelled", reason=command.reason))
                    moved = True
                elif isinstance(command, commands.WakeAt):
                    wake_at = command.at
                elif isinstance(command, commands.StartJob):
                    running.append(command.request)
                    self.start(command.request)
                    moved = True
                else:
                    self.append(self.state, self.answer(command))
                    moved = True
            if moved:
                continue
            ready = [request for request in running if not self.script(request).until_cancelled]
            if ready:
                running.remove(ready[0])
                script = self.script(ready[0])
                result = JobResult(conclusion=script.conclusion, outputs=script.outputs, reason=script.reason)
                self.finish(ready[0], result)
            elif wake_at:
                self.now = wake_at
            else:
                assert self.act is not None, f"nothing moves: {remaining}, running {running}"
        return self.state

    def script(self, request: JobRequest) -> Script:
        return self.jobs.get(request.key, Script())

    def start(self, request: JobRequest) -> None:
        self.started.append(request)
        self.append(
            self.state,
            JobStarted(
                key=request.key,
                attempt=request.attempt,
                idempotency_key=request.idempotency_key,
                executor="test",
            ),
        )

    def finish(self, request: JobRequest, result: JobResult) -> None:
        self.append(self.state, JobFinished(key=request.key, attempt=request.attempt, result=result))

    def answer(self, command: commands.Command) -> RunEvent:
        match command:
            case commands.Record(event=event):
                return event
            case commands.OpenGate(request=request):
                opened = self.gates.open(request, self.now)
                return (
                    opened if isinstance(opened, GateOpened) else JobRefused(job=request.key, reason=opened)
                )
            case commands.PassGate(request=request, approved_by=by):
                opened = self.gates.open(request, self.now)
                assert isinstance(opened, GateOpened)
                if opened.binding != request.binding:
                    return GateReopened(key=request.key, binding=opened.binding, reason="changed")
                return GatePassed(key=request.key, approved_by=by)
            case commands.AcquireGroup(key=key, group=group):
                return ConcurrencyAcquired(key=key, group=group)
            case commands.ReleaseGroup(key=key, group=group):
                return ConcurrencyReleased(key=key, group=group)
        raise AssertionError(command)

    def append(self, state: RunState | None, event: RunEvent) -> RunState:
        """Through the codec, as the journal keeps it."""
        self.now += 1
        record = MemoryJournal().append("run/RUN", [encode(event)], at=self.now, expected_version=0)[0]
        self.history.append((decode(record), self.now))
        return apply(state, decode(record), self.now)

    # -- what tests look at

    def results(self) -> dict[str, str]:
        """Conclusions by job path."""
        return {path: job.conclusion or "" for path, job in self.state.jobs.items()}

    def instance_results(self) -> dict[str, str]:
        return {key: instance.conclusion or "" for key, instance in self.state.instances.items()}

    def order(self) -> list[str]:
        return [request.key for request in self.started]

    def request(self, key: str) -> JobRequest:
        return next(request for request in reversed(self.started) if request.key == key)


def cancel(reason: str = "enough", *, key: str = "", force: bool = False) -> CancelRequested:
    return CancelRequested(key=key, by="somebody", reason=reason, force=force)


def refolded(scenario: Scenario) -> RunState:
    """The state that a fresh fold of the scenario's history gives."""
    return fold(scenario.history)
