"""What to do next: `decide(state, now)`. Pure and total; the order of commands is the order of the file.

It walks only the agenda of the state (what is ready, waits, runs out), never all jobs.
"""

from __future__ import annotations

from collections.abc import Iterator

from akashic.engine.agenda import holds_groups, survives_cancellation
from akashic.engine.calls import call_outputs, open_call
from akashic.engine.commands import (
    AcquireGroup,
    CancelJob,
    Command,
    OpenGate,
    PassGate,
    Record,
    ReleaseGroup,
    StartJob,
    WakeAt,
)
from akashic.engine.contexts import if_scope, is_cancelled
from akashic.engine.evaluation import Refusal
from akashic.engine.events import (
    GatePassed,
    JobExpanded,
    JobFinished,
    JobRefused,
    JobSkipped,
    JobStarted,
    RunFinished,
)
from akashic.engine.expand import instances_of
from akashic.engine.gates import needs_nothing, verdict
from akashic.engine.plan import next_attempt, plan_of, request_of
from akashic.engine.requests import Conclusion, JobResult
from akashic.engine.results import FAILURES, combined
from akashic.engine.runstate import Frame, GroupWish, InstancePlan, InstanceState, JobState, RunState
from akashic.workflow.expressions import ExpressionError, condition


def decide(state: RunState, now: float, *, places_max: int = 0) -> list[Command]:
    """The commands that move the run on. `places_max` limits how many instances run at once, besides the
    run's own `jobs_max`; 0: no limit. Empty when something that is under way must happen first."""
    if state.finished:
        return []
    if state.broken:
        return [
            Record(event=JobRefused(job="", reason=state.broken)),
            Record(event=RunFinished(conclusion="failure")),
        ]
    commands: list[Command] = [
        CancelJob(key=key, reason=reason, force=state.cancel_forced)
        for key, reason in state.to_cancel.items()
    ]
    commands.extend(ReleaseGroup(key=key, group=group) for key, group in state.to_release)
    commands.extend(Record(event=_call_finished(state, prefix)) for prefix in state.finished_frames if prefix)
    waits = _run_group(state)
    if waits is not None and not state.cancelled:
        commands.append(waits)
        return commands
    commands.extend(_calls_groups(state))
    for path in state.ready:
        commands.append(Record(event=_ready_job(state, state.jobs[path])))
    commands.extend(_instances(state, now, places_max))
    if not commands:
        commands.extend(_end(state))
    return commands


def _ready_job(state: RunState, job: JobState) -> JobSkipped | JobRefused | JobExpanded:
    """A job whose needs have ended: skipped, refused, or expanded."""
    if is_cancelled(state, job) and not survives_cancellation(state, job):
        reason = state.cancel_reason or state.frame_of(job).cancel_reason
        return JobSkipped(job=job.path, reason=f"cancelled: {reason}")
    template = job.job.if_
    try:
        holds = condition(template.value if template is not None else None, if_scope(state, job))
    except ExpressionError as error:
        position = template.position if template is not None else job.job.position
        return JobRefused(job=job.path, reason=error.at(position).message)
    if not holds:
        return JobSkipped(job=job.path, reason=_why_not(state, job))
    try:
        instances = instances_of(state, job)
    except Refusal as refusal:
        return JobRefused(job=job.path, reason=str(refusal))
    if not instances:
        return JobSkipped(job=job.path, reason="no combination of the matrix was asked for")
    return JobExpanded(job=job.path, instances=instances)


def _why_not(state: RunState, job: JobState) -> str:
    for path in job.needs:
        need = state.jobs.get(path)
        if need is not None and need.conclusion != "success":
            return f"{need.job.id} ended with {need.conclusion}"
        if need is not None and not need.lineage_ok:
            return f"a job that {need.job.id} needs did not succeed"
    return "its `if` is false"


def _instances(state: RunState, now: float, places_max: int) -> Iterator[Command]:
    """What the instances that have not started need next: first those that something holds up, then, while
    there are free places, those that only wait for one."""
    places = [limit for limit in (places_max, state.created.jobs_max) if limit > 0]
    free = min(places) - len(state.running) if places else len(state.instances)
    starting: dict[str, int] = {}
    wake_at = 0.0
    all_of_them = state.cancelled or state.calls_held_up
    for key in (*state.held_up, *state.queued) if all_of_them else state.held_up:
        instance = state.instances[key]
        cancelled = _cancelled(state, state.job_of(instance), instance)
        if cancelled is not None:
            yield Record(event=cancelled)
        elif key in state.held_up:
            step, waits_until = _next_step(state, instance, now, free, starting)
            wake_at = min(filter(None, (wake_at, waits_until)), default=0.0)
            if step is not None:
                free -= isinstance(step, StartJob)
                yield step
    for key in state.queued:
        if free <= 0:
            break
        instance = state.instances[key]
        if not state.cancelled or _cancelled(state, state.job_of(instance), instance) is None:
            step, _ = _next_step(state, instance, now, free, starting)
            if step is not None:
                free -= isinstance(step, StartJob)
                yield step
    if wake_at:
        yield WakeAt(at=wake_at)


def _next_step(
    state: RunState, instance: InstanceState, now: float, free: int, starting: dict[str, int]
) -> tuple[Command | None, float]:
    """The next step of a pending instance: its groups, its gate, its start. With it, when to look again.
    `starting` counts the instances of each job that this decision starts."""
    job = state.job_of(instance)
    started = starting.get(job.path, 0)
    if state.calls_held_up and not holds_groups(state, job):
        return None, 0.0
    if job.max_parallel and job.running + started >= job.max_parallel:
        return None, 0.0
    plan = plan_of(state, instance)
    if isinstance(plan, str):
        return Record(event=JobRefused(job=instance.key, reason=plan)), 0.0
    for wish in plan.groups:
        if instance.groups.get(wish.name) != "held":
            return _acquire(state, instance, wish), 0.0
    if job.job.uses is not None:
        starting[job.path] = started + 1
        return _start_call(state, instance), 0.0
    if plan.environment:
        if instance.gate is None:
            return OpenGate(request=request_of(state, instance, plan)), 0.0
        if not instance.gate.passed:
            return _gate(state, instance, plan, now, free)
    if free <= 0:
        return None, 0.0
    starting[job.path] = started + 1
    return StartJob(request=request_of(state, instance, plan)), 0.0


def _gate(
    state: RunState, instance: InstanceState, plan: InstancePlan, now: float, free: int
) -> tuple[Command | None, float]:
    gate = instance.gate
    assert gate is not None, instance.key
    found = verdict(gate, now)
    if found.rejected:
        return Record(event=JobRefused(job=instance.key, reason=found.rejected)), 0.0
    if not found.passes:
        return None, found.wake_at
    if needs_nothing(gate) and not instance.interruptions:
        return Record(event=GatePassed(key=instance.key)), 0.0
    if free <= 0:
        # Passing and starting belong together: in between, what was approved could change.
        return None, 0.0
    return PassGate(request=request_of(state, instance, plan), approved_by=found.approved_by), 0.0


def _acquire(state: RunState, instance: InstanceState, wish: GroupWish) -> Command:
    holder = _holder_above(state, instance, wish)
    if holder:
        reason = f"the concurrency group {wish.name} is held by {holder}, which waits for this job"
        return Record(event=JobRefused(job=instance.key, reason=reason))
    return AcquireGroup(
        key=instance.key,
        group=wish.name,
        cancel_in_progress=wish.cancel_in_progress,
        queue_max=wish.queue_max,
    )


def _holder_above(state: RunState, instance: InstanceState, wish: GroupWish) -> str:
    """Who of those that wait for this instance's end holds the group already: a deadlock, if it waited."""
    name = wish.name.lower()
    if name in {group.lower() for group in state.groups}:
        return "the run"
    caller = state.frame_of(state.job_of(instance)).caller
    while caller:
        above = state.instances[caller]
        if name in {group.lower() for group in above.groups}:
            return f"the call {caller}"
        caller = state.frame_of(state.job_of(above)).caller
    return ""


def _start_call(state: RunState, instance: InstanceState) -> Command:
    try:
        open_call(state, state.job_of(instance), instance)
    except Refusal as refusal:
        return Record(event=JobRefused(job=instance.key, reason=str(refusal)))
    attempt = next_attempt(state, instance)
    return Record(
        event=JobStarted(
            key=instance.key,
            attempt=attempt,
            idempotency_key=f"{state.run_id}/{instance.key}/{attempt}",
            executor="call",
        )
    )


def _cancelled(state: RunState, job: JobState, instance: InstanceState) -> JobFinished | None:
    """The end of an instance that waits and is cancelled."""
    reason = instance.cancel_reason
    if not reason and is_cancelled(state, job) and not survives_cancellation(state, job):
        reason = state.cancel_reason or state.frame_of(job).cancel_reason or "cancelled"
    if not reason:
        return None
    return JobFinished(
        key=instance.key,
        attempt=instance.attempt,
        result=JobResult(conclusion="cancelled", reason=reason),
    )


def _call_finished(state: RunState, prefix: str) -> JobFinished:
    """The end of a call whose jobs have all ended."""
    frame = state.frames[prefix]
    caller = state.instances[frame.caller]
    conclusion = combined(job.conclusion or "skipped" for job in _jobs_of(state, frame))
    reason = ""
    outputs: dict[str, str] = {}
    try:
        outputs = call_outputs(state, frame)
    except Refusal as refusal:
        conclusion, reason = "failure", str(refusal)
    return JobFinished(
        key=caller.key,
        attempt=caller.attempt,
        result=JobResult(
            conclusion=conclusion,
            outputs=outputs,
            reason=reason,
            started_at=caller.started_at,
            duration_s=max(0.0, state.last_at - caller.started_at),
        ),
    )


def _run_group(state: RunState) -> Command | None:
    wish = state.group_wish
    if wish is None or state.groups.get(wish.name) == "held" or "" in state.finished_frames:
        return None
    return AcquireGroup(
        key="",
        group=wish.name,
        cancel_in_progress=wish.cancel_in_progress,
        queue_max=wish.queue_max,
    )


def _calls_groups(state: RunState) -> Iterator[Command]:
    """What calls under way need that are without a group of theirs."""
    for key in state.calls_held_up:
        instance = state.instances[key]
        plan = plan_of(state, instance)
        over = state.cancelled or instance.cancel_reason or state.frames[f"{key}/"].cancel_reason
        if isinstance(plan, InstancePlan) and not over:
            wanted = (wish for wish in plan.groups if instance.groups.get(wish.name) != "held")
            yield from (_acquire(state, instance, wish) for wish in wanted)


def _end(state: RunState) -> Iterator[Command]:
    """Nothing is ready and nothing waits: the run is over, or stuck, or its running jobs must end first."""
    if state.running or state.queued or state.held_up:
        return
    if "" not in state.finished_frames:
        # Needs that can never be met (a circle, which linting finds too): the run must still end.
        for job in state.jobs.values():
            if job.status == "waiting":
                yield Record(
                    event=JobRefused(job=job.path, reason="the jobs that it needs can never all end")
                )
        return
    if state.groups:
        yield from (ReleaseGroup(key="", group=group) for group in state.groups)
        return
    yield Record(event=RunFinished(conclusion=run_conclusion(state)))


def run_conclusion(state: RunState) -> Conclusion:
    """How the run ended: as its jobs did; cancelled when somebody cancelled it and not all had succeeded."""
    conclusions = [job.conclusion or "skipped" for job in _jobs_of(state, state.frames[""])]
    if state.cancelled and set(conclusions) != {"success"}:
        return "cancelled"
    worst = combined(conclusions)
    return "failure" if worst in FAILURES else worst


def _jobs_of(state: RunState, frame: Frame) -> Iterator[JobState]:
    return (state.jobs[path] for path in frame.paths)
