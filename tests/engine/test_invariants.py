"""What never happens, over generated workflows, endings, orders, cancellations and crashes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from akashic.engine import events
from akashic.engine.codec import RUN_EVENT_TYPES, decode, encode
from akashic.engine.commands import AcquireGroup, Record, StartJob
from akashic.engine.decide import decide
from akashic.engine.events import JobFinished, JobInterrupted, JobStarted, RunEvent
from akashic.engine.requests import JobResult
from akashic.engine.rerun import all_jobs, failed_jobs
from akashic.engine.runstate import RunState
from akashic.engine.state import apply, fold
from akashic.engine.view import view_of
from akashic.testing.jobs import Rules
from akashic.testing.journal import MemoryJournal
from tests.engine.scenario import Scenario, cancel, created

CONDITIONS = [
    "",
    "always()",
    "failure()",
    "success()",
    "cancelled()",
    "!cancelled()",
    "false",
    "fromJSON('{')",
]
ENDINGS = ["success", "success", "success", "failure", "cancelled", "timed_out", "interrupted"]


CALLED = "./.github/workflows/called.yml"


@st.composite
def workflows(draw: st.DrawFn) -> str:
    lines = ["on: push"]
    if draw(st.booleans()):
        lines.append("concurrency: the-run")
    return "\n".join([*lines, *draw(jobs(called=False))]) + "\n"


@st.composite
def called_workflows(draw: st.DrawFn) -> str:
    lines = ["on: workflow_call"]
    if draw(st.integers(0, 3)) == 0:
        lines.append("concurrency: the-call")
    return "\n".join([*lines, *draw(jobs(called=True))]) + "\n"


@st.composite
def jobs(draw: st.DrawFn, *, called: bool) -> list[str]:
    lines = ["jobs:"]
    count = draw(st.integers(1, 3 if called else 6))
    for number in range(count):
        calls = not called and draw(st.integers(0, 2)) == 0
        lines.append(f"  j{number}:")
        lines += [f"    uses: {CALLED}"] if calls else ["    runs-on: x", "    steps: [{run: echo}]"]
        needs = draw(st.sets(st.integers(0, number - 1))) if number else set()
        if needs:
            lines.append(f"    needs: [{', '.join(f'j{need}' for need in sorted(needs))}]")
        condition = draw(st.sampled_from(CONDITIONS))
        if condition:
            lines.append(f'    if: "{condition}"')
        if draw(st.integers(0, 2)) == 0:
            size = draw(st.integers(1, 3))
            fail_fast = str(draw(st.booleans())).lower()
            parallel = draw(st.sampled_from(["", ", max-parallel: 1", ", max-parallel: 2"]))
            matrix = f"{{v: {list(range(size))}}}"
            lines.append(f"    strategy: {{fail-fast: {fail_fast}, matrix: {matrix}{parallel}}}")
        if not calls and draw(st.integers(0, 3)) == 0:
            lines.append("    continue-on-error: true")
        if not calls and draw(st.integers(0, 3)) == 0:
            lines.append(f"    environment: {draw(st.sampled_from(['open', 'timed']))}")
        if draw(st.integers(0, 2)) == 0:
            lines.append(f"    concurrency: {draw(st.sampled_from(['one', 'two', 'the-RUN']))}")
    return lines


class Machine(Scenario):
    """A scenario whose jobs end in a drawn order and way, with cancellations, dying drivers and groups that
    others hold between, and jobs that run again in the end."""

    def drive(self, draw: Any, places: int) -> RunState:
        self.state = self.append(None, created(self.workflow, calls=dict(self.calls)))
        self.draw = draw
        self.busy, cancels, deaths, reruns = 3, 2, 2, 2
        for _ in range(2000):
            if self.state.finished:
                again = self.due_again() if reruns else ()
                if not again:
                    return self.state
                reruns -= 1
                self.append(self.state, events.RunResumed(by="me", jobs=again))
            remaining = decide(self.state, self.now, places_max=places)
            assert remaining == decide(fold(self.history), self.now, places_max=places), (
                "a driver that comes new to the journal decides the same"
            )
            acts = [command for command in remaining if type(command).__name__ not in ("WakeAt", "CancelJob")]
            choice = draw(st.integers(0, 9))
            if choice < 2 and cancels:
                cancels -= 1
                key = draw(st.sampled_from(["", "", *self.state.instances, *self.state.jobs]))
                self.append(self.state, cancel(key=key, force=draw(st.booleans())))
            elif choice < 4 and deaths and not self.state.finished:
                deaths -= 1
                self.die()
            elif acts and (choice < 8 or not self.state.running):
                for command in acts:
                    self.carry_out(command)
            elif self.state.running:
                key = draw(st.sampled_from(list(self.state.running)))
                ending = "cancelled" if key in self.state.to_cancel else draw(st.sampled_from(ENDINGS))
                attempt = self.state.instances[key].attempt
                result = JobResult(conclusion=ending)
                self.append(self.state, JobFinished(key=key, attempt=attempt, result=result))
            elif not acts:
                wakes = [command.at for command in remaining if type(command).__name__ == "WakeAt"]
                assert wakes, f"nothing runs, nothing is to be done, and the run has not ended: {remaining}"
                self.now = min(wakes)
        raise AssertionError("the run does not end")

    def due_again(self) -> tuple[str, ...]:
        choice = self.draw(st.integers(0, 2))
        if choice == 0:
            return ()
        return failed_jobs(self.state) if choice == 1 else all_jobs(self.state)

    def die(self) -> None:
        """The driver dies; others may take any group that the run held before the next one takes over."""
        for key in list(self.state.running):
            attempt = self.state.instances[key].attempt
            self.append(self.state, JobInterrupted(key=key, attempt=attempt, reason="died"))
        held = [("", group) for group in self.state.groups]
        for key, instance in self.state.instances.items():
            if instance.status != "finished":
                held.extend((key, group) for group in instance.groups)
        for key, group in held:
            if self.draw(st.booleans()):
                self.append(self.state, events.ConcurrencyReleased(key=key, group=group))

    def carry_out(self, command: Any) -> None:
        if isinstance(command, StartJob):
            self.check_start(command)
            self.start(command.request)
        elif isinstance(command, AcquireGroup) and self.busy and self.draw(st.booleans()):
            self.busy -= 1
            self.append(self.state, events.ConcurrencyWaiting(key=command.key, group=command.group))
        elif isinstance(command, Record) and isinstance(command.event, events.RunFinished):
            assert not self.state.running
            self.append(self.state, command.event)
        else:
            self.append(self.state, self.answer(command))

    def check_start(self, command: StartJob) -> None:
        instance = self.state.instances[command.request.key]
        job = self.state.jobs[instance.path]
        assert all(self.state.jobs[need].conclusion is not None for need in job.needs), "needs are respected"
        if job.job.if_ is None:
            assert all(self.state.jobs[need].conclusion == "success" for need in job.needs)
        assert not job.max_parallel or job.running < job.max_parallel
        if job.job.environment is not None:
            assert instance.gate is not None and instance.gate.passed
        if job.job.concurrency is not None:
            assert "held" in instance.groups.values()
        if self.state.group_wish is not None:
            assert self.state.groups == {"the-run": "held"}
        caller = self.state.frame_of(job).caller
        if caller:
            called, calling = self.state.frame_of(job).workflow, self.state.instances[caller]
            wanted = [called.concurrency, self.state.job_of(calling).job.concurrency]
            names = {str(one.group.value).lower() for one in wanted if one is not None}
            assert names == {name.lower() for name, place in calling.groups.items() if place == "held"}


@settings(max_examples=150, deadline=None)
@given(data=st.data(), workflow=workflows(), called=called_workflows(), places=st.integers(0, 3))
def test_every_run_ends_and_no_rule_is_broken_on_the_way(
    data: st.DataObject, workflow: str, called: str, places: int
) -> None:
    machine = Machine(workflow=workflow, calls={CALLED: called}, rules={"timed": Rules(wait_s=30.0)})
    state = machine.drive(data.draw, places)
    assert state.finished and all(job.conclusion is not None for job in state.jobs.values())
    assert fold(machine.history) == state, "the journal alone gives the same state"
    assert not state.to_release and not state.groups and not state.calls_held_up, "no group is left held"
    attempts = [(event.key, event.attempt) for event, _ in machine.history if isinstance(event, JobStarted)]
    assert len(attempts) == len(set(attempts)), "an attempt starts at most once"
    view = view_of(state, machine.now)
    assert {job.key for job in view.jobs} >= set(state.instances) and view.status == "finished"


@settings(max_examples=100, deadline=None)
@given(data=st.data(), workflow=workflows(), called=called_workflows())
def test_events_that_do_not_fit_change_no_outcome_and_never_raise(
    data: st.DataObject, workflow: str, called: str
) -> None:
    machine = Machine(workflow=workflow, calls={CALLED: called})
    state = machine.drive(data.draw, 0)
    history = list(machine.history)
    again: RunState | None = None
    shuffled = data.draw(st.lists(st.sampled_from(history), max_size=30))
    for event, at in [history[0], *shuffled]:
        again = apply(again, event, at)
        view_of(again, at)
        decide(again, at)
    assert state.finished


def test_every_event_survives_the_journal() -> None:
    job = "    runs-on: x\n    environment: e\n    steps: [{run: a}]\n"
    scenario = Scenario(workflow=f"on: push\nconcurrency: g\njobs:\n  a:\n{job}")
    scenario.run()
    journal = MemoryJournal()
    history: list[RunEvent] = [event for event, _ in scenario.history]
    journal.append("run/RUN", [encode(event) for event in history], at=1.0, expected_version=0)
    assert [decode(record) for record in journal.read("run/RUN")] == history
    assert {type(event).__name__ for event in history} <= set(RUN_EVENT_TYPES)
