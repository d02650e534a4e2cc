"""The fold: `apply(state, event, at)`, one transition for each event. Total: an event that does not fit (a
second start of an attempt, a review of no gate) changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from akashic.engine import events
from akashic.engine.agenda import (
    add_frame,
    cancel_all,
    cancel_one,
    conclude_instance,
    conclude_job,
    jobs_wanted,
    look_at_call,
)
from akashic.engine.calls import open_call
from akashic.engine.contexts import is_cancelled, job_contexts
from akashic.engine.evaluation import Refusal
from akashic.engine.events import RunCreated, RunEvent
from akashic.engine.expand import strategy_of
from akashic.engine.plan import run_group, run_name
from akashic.engine.requests import JobResult
from akashic.engine.rerun import reset_jobs
from akashic.engine.resuming import replace_sources
from akashic.engine.runstate import Frame, Gate, GroupStatus, InstanceState, RunState
from akashic.errors import AkashicError
from akashic.source.position import InvalidInput
from akashic.workflow.parse import parse_workflow

INTERRUPTIONS_MAX = 3
"""An instance whose driver dies under it this often is not tried again."""


class NoRun(AkashicError):
    """A stream does not begin with RunCreated."""


def apply(state: RunState | None, event: RunEvent, at: float) -> RunState:
    """The state after `event`, which happened at `at`. Takes the state over: do not use the old one.

    Raises NoRun when the first event is not RunCreated.
    """
    if isinstance(event, RunCreated):
        return state if state is not None else _created(event, at)
    if state is None:
        raise NoRun(f"the run begins with a {type(event).__name__}, expected RunCreated")
    state.last_at = at
    _TRANSITIONS[type(event)](state, event, at)
    return state


def fold(history: Iterable[tuple[RunEvent, float]]) -> RunState:
    """The state after a whole history of (event, at). Raises NoRun when it is empty."""
    state: RunState | None = None
    for event, at in history:
        state = apply(state, event, at)
    if state is None:
        raise NoRun("there is no such run")
    return state


def _created(event: RunCreated, at: float) -> RunState:
    state = RunState(created=event, attempt=event.attempt, created_at=at, last_at=at)
    try:
        workflow = parse_workflow(event.sources.get(event.workflow_path, ""), event.workflow_path)
        frame = Frame(
            prefix="", caller="", source=event.workflow_path, workflow=workflow, inputs=event.inputs
        )
        add_frame(state, frame, jobs_wanted(workflow, event.filter.jobs))
        state.group_wish = run_group(state)
        state.name = run_name(state)
    except (InvalidInput, Refusal) as error:
        state.broken = str(error)
    return state


def _job_expanded(state: RunState, event: events.JobExpanded, at: float) -> None:
    job = state.jobs.get(event.job)
    if job is None or job.status != "waiting":
        return
    state.ready.pop(job.path, None)
    job.status = "open"
    job.unfinished = len(event.instances)
    try:
        job.fail_fast, job.max_parallel = strategy_of(job.job.strategy, job_contexts(state, job))
    except Refusal:
        # Whoever appended the event could evaluate it; GitHub's default is the safe reading.
        job.fail_fast, job.max_parallel = True, 0
    for new in event.instances:
        job.instances.append(new.key)
        state.instances[new.key] = InstanceState(
            key=new.key,
            path=job.path,
            name=new.name,
            matrix=new.matrix,
            strategy=new.strategy,
            created_at=at,
        )
        state.enqueue(state.instances[new.key])
    if not event.instances:
        conclude_job(state, job, "skipped", at)


def _job_skipped(state: RunState, event: events.JobSkipped, at: float) -> None:
    job = state.jobs.get(event.job)
    if job is not None and job.status == "waiting":
        job.reason = event.reason
        conclude_job(state, job, "skipped", at)


def _job_refused(state: RunState, event: events.JobRefused, at: float) -> None:
    instance = state.instances.get(event.job)
    if instance is not None:
        if instance.status == "pending":
            instance.reason = event.reason
            conclude_instance(state, instance, "failure", at)
        return
    job = state.jobs.get(event.job)
    if job is not None and job.status == "waiting":
        job.reason = event.reason
        conclude_job(state, job, "failure", at)
    elif not event.job:
        state.broken = state.broken or event.reason


def _gate_opened(state: RunState, event: events.GateOpened, at: float) -> None:
    instance = _pending(state, event.key)
    if instance is not None and instance.gate is None:
        instance.gate = Gate(opened=event, binding=event.binding)


def _gate_reviewed(state: RunState, event: events.GateReviewed, at: float) -> None:
    instance = _pending(state, event.key)
    if instance is not None and instance.gate is not None and not instance.gate.passed:
        instance.gate.reviews.append(event)


def _gate_passed(state: RunState, event: events.GatePassed, at: float) -> None:
    instance = _pending(state, event.key)
    if instance is not None and instance.gate is not None:
        instance.gate.passed = True
        instance.gate.approved_by = event.approved_by


def _gate_reopened(state: RunState, event: events.GateReopened, at: float) -> None:
    instance = _pending(state, event.key)
    if instance is not None and instance.gate is not None:
        instance.gate.binding = event.binding
        instance.gate.passed = False
        instance.gate.note = event.reason


def _group_waiting(state: RunState, event: events.ConcurrencyWaiting, at: float) -> None:
    _take_place(state, event.key, event.group, "waiting")


def _group_acquired(state: RunState, event: events.ConcurrencyAcquired, at: float) -> None:
    _take_place(state, event.key, event.group, "held")


def _take_place(state: RunState, key: str, group: str, place: GroupStatus) -> None:
    if not key:
        state.groups[group] = place
        return
    instance = state.instances.get(key)
    if instance is None:
        return
    instance.groups[group] = place
    if instance.status == "finished":
        # Cancelled in the instant between asking and the answer.
        state.to_release[(key, group)] = None
    elif _is_call_under_way(state, instance):
        look_at_call(state, instance)


def _group_released(state: RunState, event: events.ConcurrencyReleased, at: float) -> None:
    state.to_release.pop((event.key, event.group), None)
    if not event.key:
        state.groups.pop(event.group, None)
        return
    instance = state.instances.get(event.key)
    if instance is None:
        return
    instance.groups.pop(event.group, None)
    if _is_call_under_way(state, instance):
        look_at_call(state, instance)


def _job_started(state: RunState, event: events.JobStarted, at: float) -> None:
    instance = _pending(state, event.key)
    if instance is None or event.attempt <= state.attempts.get(event.key, 0):
        return
    job = state.job_of(instance)
    state.attempts[event.key] = instance.attempt = event.attempt
    instance.idempotency_key = event.idempotency_key
    # Once only: when this attempt dies too, its place is gone and the next one begins at the beginning.
    state.resumptions_due.pop(event.key, None)
    instance.status = "running"
    instance.started_at = at
    instance.steps = []
    state.dequeue(instance.key)
    job.running += 1
    if job.job.uses is None:
        state.running[instance.key] = None
        return
    try:
        frame = open_call(state, job, instance)
    except Refusal as refusal:
        instance.reason = str(refusal)
        conclude_instance(state, instance, "failure", at)
        return
    add_frame(state, frame, frame.workflow.jobs)


def _step_finished(state: RunState, event: events.StepFinished, at: float) -> None:
    instance = _running(state, event.key, event.attempt)
    if instance is not None:
        instance.steps.append(event.step)


def _job_finished(state: RunState, event: events.JobFinished, at: float) -> None:
    instance = state.instances.get(event.key)
    if instance is None or instance.status == "finished" or event.attempt != instance.attempt:
        return
    instance.result = event.result
    instance.reason = event.result.reason
    job = state.job_of(instance)
    if job.job.uses is not None:
        state.finished_frames.pop(f"{instance.key}/", None)
    for name, value in event.result.outputs.items():
        # Instances of a matrix share the outputs of their job: the last that is not empty stays.
        if value or name not in job.outputs:
            job.outputs[name] = value
    conclude_instance(state, instance, event.result.conclusion, at)


def _job_interrupted(state: RunState, event: events.JobInterrupted, at: float) -> None:
    instance = _running(state, event.key, event.attempt)
    if instance is None or instance.key not in state.running:
        return
    instance.interruptions += 1
    instance.reason = event.reason
    job = state.job_of(instance)
    over = is_cancelled(state, job) or bool(instance.cancel_reason)
    ends = state.created.options.get("on_interruption") == "end"
    if over or ends or instance.interruptions >= INTERRUPTIONS_MAX:
        conclusion = "cancelled" if over else "interrupted"
        instance.result = JobResult(
            conclusion=conclusion,  # type: ignore[arg-type]
            reason=event.reason,
            started_at=instance.started_at,
            duration_s=max(0.0, at - instance.started_at),
        )
        conclude_instance(state, instance, instance.result.conclusion, at)
        return
    state.running.pop(instance.key)
    job.running -= 1
    instance.status = "pending"
    state.enqueue(state.instances[instance.key])
    if instance.gate is not None:
        # Asked again before the new attempt: what would run may be something else by then.
        instance.gate.passed = False


def _cancel_requested(state: RunState, event: events.CancelRequested, at: float) -> None:
    if state.finished:
        return
    if event.key:
        cancel_one(state, event.key, event.reason)
        return
    if not state.cancelled:
        state.cancelled_by, state.cancel_reason = event.by or "somebody", event.reason
    state.cancel_forced = state.cancel_forced or event.force
    cancel_all(state)


def _run_finished(state: RunState, event: events.RunFinished, at: float) -> None:
    state.conclusion = event.conclusion
    state.finished_at = at
    state.finished_frames.clear()


def _run_resumed(state: RunState, event: events.RunResumed, at: float) -> None:
    state.resumptions += 1
    if event.jobs and reset_jobs(state, event.jobs):
        if event.sources:
            replace_sources(state, event.sources, event.workflow_sha256)
        state.resumptions_due = dict(event.resumptions)
        state.attempt += 1
        state.rerun_at = at
        state.conclusion = None
        state.finished_at = 0.0
        state.cancelled_by = state.cancel_reason = ""
        state.cancel_forced = False


def _pending(state: RunState, key: str) -> InstanceState | None:
    instance = state.instances.get(key)
    return instance if instance is not None and instance.status == "pending" else None


def _running(state: RunState, key: str, attempt: int) -> InstanceState | None:
    instance = state.instances.get(key)
    if instance is None or instance.status != "running" or instance.attempt != attempt:
        return None
    return instance


def _is_call_under_way(state: RunState, instance: InstanceState) -> bool:
    return instance.status == "running" and state.job_of(instance).job.uses is not None


_TRANSITIONS: dict[type[Any], Callable[[RunState, Any, float], None]] = {
    events.JobExpanded: _job_expanded,
    events.JobSkipped: _job_skipped,
    events.JobRefused: _job_refused,
    events.GateOpened: _gate_opened,
    events.GateReviewed: _gate_reviewed,
    events.GatePassed: _gate_passed,
    events.GateReopened: _gate_reopened,
    events.ConcurrencyWaiting: _group_waiting,
    events.ConcurrencyAcquired: _group_acquired,
    events.ConcurrencyReleased: _group_released,
    events.JobStarted: _job_started,
    events.StepFinished: _step_finished,
    events.JobFinished: _job_finished,
    events.JobInterrupted: _job_interrupted,
    events.CancelRequested: _cancel_requested,
    events.RunFinished: _run_finished,
    events.RunResumed: _run_resumed,
}
