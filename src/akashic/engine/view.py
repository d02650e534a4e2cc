"""A run as people see it: a projection for presenters, made from the state at any moment."""

from __future__ import annotations

from typing import Literal

import msgspec

from akashic.engine.gates import verdict
from akashic.engine.requests import Annotation, Conclusion, StepReport, TestReport
from akashic.engine.runstate import InstanceState, JobState, RunState

JobViewStatus = Literal["waiting", "queued", "blocked", "running", "finished"]


class JobView(msgspec.Struct, frozen=True, kw_only=True):
    """One job instance, or a job that has no instances (yet). `waits_for` says what a job that has not begun
    waits for, one phrase each. Times are seconds since the epoch, 0 when not yet; `duration_s` is so far."""

    key: str
    job: str
    name: str
    status: JobViewStatus
    conclusion: Conclusion | None = None
    reason: str = ""
    waits_for: tuple[str, ...] = ()
    attempt: int = 0
    is_call: bool = False
    depth: int = 0
    environment: str = ""
    environment_url: str = ""
    reviewers: tuple[str, ...] = ()
    approved_by: tuple[str, ...] = ()
    started_at: float = 0.0
    duration_s: float = 0.0
    steps: tuple[StepReport, ...] = ()
    outputs: dict[str, str] = {}
    summary: str = ""
    notes: tuple[str, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    reports: tuple[TestReport, ...] = ()


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """A run. `jobs` stand in the file's order, those of a call below the call; `duration_s` is of the newest
    attempt."""

    run_id: str
    number: int
    sequence: int
    attempt: int
    title: str
    run_name: str = ""
    workflow_path: str
    event_name: str
    actor: str
    commit: str
    dirty: bool
    status: Literal["running", "waiting", "finished"]
    conclusion: Conclusion | None
    reason: str
    waits_for: tuple[str, ...]
    created_at: float
    duration_s: float
    jobs: tuple[JobView, ...]


def view_of(state: RunState, now: float) -> RunView:
    """The run as it is at `now`."""
    created = state.created
    root = state.frames.get("")
    jobs: list[JobView] = []
    # A stack of its own: calls are shallow, but a run has many jobs.
    remaining = list(reversed(root.paths)) if root is not None else []
    while remaining:
        job = state.jobs[remaining.pop()]
        shown, inner = _job_views(state, job, now)
        jobs.extend(shown)
        remaining.extend(reversed(inner))
    waits = tuple(f"concurrency group {name}" for name, status in state.groups.items() if status == "waiting")
    status: Literal["running", "waiting", "finished"] = "finished" if state.finished else "running"
    if not state.finished and not state.running and any(job.status == "blocked" for job in jobs):
        status = "waiting"
    return RunView(
        run_id=created.run_id,
        number=created.number,
        sequence=created.sequence,
        attempt=state.attempt,
        title=root.workflow.title if root is not None else created.workflow_path,
        run_name=state.name,
        workflow_path=created.workflow_path,
        event_name=created.event_name,
        actor=created.actor,
        commit=created.commit,
        dirty=created.dirty,
        status="waiting" if waits and not state.finished else status,
        conclusion=state.conclusion,
        reason=state.broken or state.cancel_reason,
        waits_for=waits,
        created_at=state.created_at,
        duration_s=max(0.0, (state.finished_at or now) - (state.rerun_at or state.created_at)),
        jobs=tuple(jobs),
    )


def _job_views(state: RunState, job: JobState, now: float) -> tuple[list[JobView], list[str]]:
    """The views of a job and the paths of the jobs that it calls."""
    depth = state.frame_of(job).depth
    if not job.instances:
        name = job.job.id
        if (
            job.job.name is not None
            and isinstance(job.job.name.value, str)
            and "${{" not in job.job.name.value
        ):
            name = job.job.name.value
        view = JobView(
            key=job.path,
            job=job.path,
            name=name,
            status="finished" if job.status == "finished" else "waiting",
            conclusion=job.conclusion,
            reason=job.reason,
            waits_for=_unmet(state, job),
            is_call=job.job.uses is not None,
            depth=depth,
        )
        return [view], []
    views, inner = [], []
    for key in job.instances:
        views.append(_instance_view(state, job, state.instances[key], now, depth))
        frame = state.frames.get(f"{key}/")
        if frame is not None:
            inner.extend(frame.paths)
    return views, inner


def _instance_view(
    state: RunState, job: JobState, instance: InstanceState, now: float, depth: int
) -> JobView:
    result = instance.result
    gate = instance.gate
    found = verdict(gate, now) if gate is not None else None
    waits = _waits(state, job, instance, now)
    status: JobViewStatus = "queued"
    if instance.status == "finished":
        status = "finished"
    elif instance.status == "running":
        status = "running"
    elif waits:
        status = "blocked"
    duration_s = 0.0
    if result is not None and result.duration_s:
        duration_s = result.duration_s
    elif instance.started_at:
        duration_s = max(0.0, (instance.finished_at or now) - instance.started_at)
    return JobView(
        key=instance.key,
        job=job.path,
        name=instance.name,
        status=status,
        conclusion=instance.conclusion,
        reason=instance.reason,
        waits_for=waits,
        attempt=instance.attempt,
        is_call=job.job.uses is not None,
        depth=depth,
        environment=gate.opened.environment if gate is not None else "",
        environment_url=result.environment_url if result is not None else "",
        reviewers=gate.opened.reviewers if gate is not None else (),
        approved_by=found.approved_by if found is not None else (),
        started_at=instance.started_at,
        duration_s=duration_s,
        steps=tuple(instance.steps),
        outputs=dict(result.outputs) if result is not None else {},
        summary=result.summary if result is not None else "",
        notes=result.notes if result is not None else (),
        annotations=_annotations(instance),
        reports=result.reports if result is not None else (),
    )


def _annotations(instance: InstanceState) -> tuple[Annotation, ...]:
    steps = tuple(annotation for step in instance.steps for annotation in step.annotations)
    own = instance.result.annotations if instance.result is not None else ()
    return steps + tuple(annotation for annotation in own if annotation not in steps)


def _unmet(state: RunState, job: JobState) -> tuple[str, ...]:
    if job.status != "waiting":
        return ()
    return tuple(path for path in job.needs if path not in state.jobs or state.jobs[path].conclusion is None)


def _waits(state: RunState, job: JobState, instance: InstanceState, now: float) -> tuple[str, ...]:
    """What keeps a pending instance from starting, apart from free places."""
    if instance.status != "pending":
        return ()
    waits = [f"concurrency group {name}" for name, status in instance.groups.items() if status == "waiting"]
    gate = instance.gate
    if gate is not None and not gate.passed:
        found = verdict(gate, now)
        if found.missing:
            who = f" of {', '.join(gate.opened.reviewers)}" if gate.opened.reviewers else ""
            approvals = "approval" if found.missing == 1 else "approvals"
            waits.append(f"{found.missing} {approvals}{who} for {gate.opened.environment}")
        if found.wake_at:
            waits.append(f"the wait timer of {gate.opened.environment}")
    if not waits and job.max_parallel and job.running >= job.max_parallel:
        waits.append(f"max-parallel {job.max_parallel}")
    return tuple(waits)
