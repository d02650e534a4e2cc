"""How one ending moves the rest of a run: needs that are met, frames that are done, instances to cancel."""

from __future__ import annotations

from collections.abc import Iterable

from akashic.engine.contexts import if_scope
from akashic.engine.plan import plan_of
from akashic.engine.requests import Conclusion
from akashic.engine.results import FAILURES, combined
from akashic.engine.runstate import Frame, InstancePlan, InstanceState, JobState, RunState
from akashic.workflow.expressions import ExpressionError, condition
from akashic.workflow.model import Workflow

FAIL_FAST_REASON = "another instance of the matrix failed"


def jobs_wanted(workflow: Workflow, wanted: Iterable[str]) -> list[str]:
    """The jobs of a workflow that were asked for, with all that they need, in the file's order; all when
    nothing was asked for."""
    remaining = [job for job in wanted if job in workflow.jobs]
    if not remaining:
        return list(workflow.jobs)
    found: set[str] = set()
    while remaining:
        job = remaining.pop()
        if job not in found:
            found.add(job)
            remaining.extend(need for need in workflow.jobs[job].needs if need in workflow.jobs)
    return [job for job in workflow.jobs if job in found]


def add_frame(state: RunState, frame: Frame, job_ids: Iterable[str]) -> None:
    """Put a frame and its jobs into the run; those that need nothing are ready."""
    state.frames[frame.prefix] = frame
    for job_id in job_ids:
        definition = frame.workflow.jobs[job_id]
        path = frame.prefix + job_id
        needs = tuple(dict.fromkeys(frame.prefix + need for need in definition.needs))
        state.jobs[path] = JobState(
            path=path, job=definition, prefix=frame.prefix, needs=needs, unmet=len(needs)
        )
        frame.paths.append(path)
        if not needs:
            state.ready[path] = None
    for path in frame.paths:
        for need in state.jobs[path].needs:
            if need in state.jobs:
                state.jobs[need].dependents.append(path)
    frame.unfinished = len(frame.paths)
    if not frame.paths:
        state.finished_frames[frame.prefix] = None


def conclude_job(state: RunState, job: JobState, conclusion: Conclusion, at: float) -> None:
    """A job has ended: its dependents may be ready, its frame may be done."""
    job.status = "finished"
    job.conclusion = conclusion
    job.finished_at = at
    state.ready.pop(job.path, None)
    needs = [state.jobs[path] for path in job.needs if path in state.jobs]
    job.lineage_ok = conclusion == "success" and all(need.lineage_ok for need in needs)
    job.lineage_failed = conclusion in ("failure", "interrupted") or any(
        need.lineage_failed for need in needs
    )
    for path in job.dependents:
        dependent = state.jobs[path]
        dependent.unmet -= 1
        if dependent.unmet == 0 and dependent.status == "waiting":
            state.ready[path] = None
    frame = state.frame_of(job)
    frame.unfinished -= 1
    if frame.unfinished == 0:
        state.finished_frames[frame.prefix] = None


def conclude_instance(state: RunState, instance: InstanceState, conclusion: Conclusion, at: float) -> None:
    """An instance has ended: its groups are free, its matrix may fail fast, its job may be done."""
    job = state.job_of(instance)
    if instance.status == "running":
        job.running -= 1
    instance.status = "finished"
    instance.conclusion = conclusion
    instance.finished_at = at
    state.dequeue(instance.key)
    state.running.pop(instance.key, None)
    state.to_cancel.pop(instance.key, None)
    state.calls_held_up.pop(instance.key, None)
    for group in instance.groups:
        state.to_release[(instance.key, group)] = None
    tolerated = conclusion in FAILURES and _continues_on_error(state, instance)
    job.conclusions[instance.key] = "success" if tolerated else conclusion
    job.unfinished -= 1
    if conclusion in FAILURES and not tolerated and job.fail_fast:
        for key in job.instances:
            _cancel_instance(state, state.instances[key], FAIL_FAST_REASON)
    if job.unfinished == 0:
        conclude_job(state, job, combined(job.conclusions.values()), at)


def cancel_all(state: RunState) -> None:
    """The run is cancelled: what runs ends, except jobs whose `if` still holds (unless forced). What waits
    is left to the next decision."""
    for key in list(state.running):
        instance = state.instances[key]
        if state.cancel_forced or not survives_cancellation(state, state.job_of(instance)):
            state.to_cancel[key] = state.cancel_reason


def cancel_one(state: RunState, name: str, reason: str) -> None:
    """Cancel an instance by its key, or all instances of a job by its path."""
    instance = state.instances.get(name)
    if instance is not None:
        _cancel_instance(state, instance, reason)
    elif name in state.jobs:
        for key in state.jobs[name].instances:
            _cancel_instance(state, state.instances[key], reason)


def survives_cancellation(state: RunState, job: JobState) -> bool:
    """Whether a job's `if` holds although the run is cancelled (`always()`, `cancelled()`). One that waits
    for a concurrency group never begins: somebody else holds it."""
    if state.cancel_forced or not holds_groups(state, job):
        return False
    template = job.job.if_
    try:
        return template is not None and condition(template.value, if_scope(state, job))
    except ExpressionError:
        return False


def holds_groups(state: RunState, job: JobState) -> bool:
    """Whether the run, and each call that the job is part of, holds the concurrency groups that it wants."""
    wish = state.group_wish
    if wish is not None and state.groups.get(wish.name) != "held":
        return False
    caller = state.frame_of(job).caller if state.calls_held_up else ""
    while caller:
        if caller in state.calls_held_up:
            return False
        caller = state.frame_of(state.job_of(state.instances[caller])).caller
    return True


def look_at_call(state: RunState, instance: InstanceState) -> None:
    """Put a call under way on the agenda when it lacks a concurrency group, or take it off."""
    plan = plan_of(state, instance)
    wishes = plan.groups if isinstance(plan, InstancePlan) else ()
    if any(instance.groups.get(wish.name) != "held" for wish in wishes):
        state.calls_held_up[instance.key] = None
    else:
        state.calls_held_up.pop(instance.key, None)


def _cancel_instance(state: RunState, instance: InstanceState, reason: str) -> None:
    if instance.status == "finished":
        return
    instance.cancel_reason = instance.cancel_reason or reason
    if instance.status == "pending":
        state.enqueue(instance)
    if instance.key in state.running:
        state.to_cancel[instance.key] = instance.cancel_reason
    frame = state.frames.get(f"{instance.key}/")
    if frame is not None and not frame.cancel_reason:
        frame.cancel_reason = reason
        for path in frame.paths:
            for key in state.jobs[path].instances:
                _cancel_instance(state, state.instances[key], reason)


def _continues_on_error(state: RunState, instance: InstanceState) -> bool:
    plan = plan_of(state, instance)
    return isinstance(plan, InstancePlan) and plan.continue_on_error
