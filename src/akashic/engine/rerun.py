"""Running jobs again: which ones, and what that undoes.

Source: GitHub's "Re-run workflows and jobs": what depends on a job that runs again runs again too; the rest
keeps its result and outputs.
"""

from __future__ import annotations

from collections.abc import Iterable

from akashic.engine.agenda import look_at_call
from akashic.engine.results import FAILURES
from akashic.engine.runstate import InstanceState, JobState, RunState


def failed_jobs(state: RunState) -> tuple[str, ...]:
    """What `rerun --failed` runs: instances that failed or were cancelled, and jobs that were refused."""
    again: list[str] = []
    for path, job in state.jobs.items():
        if job.job.uses is not None and any(f"{key}/" in state.frames for key in job.instances):
            continue
        bad = [key for key in job.instances if _is_bad(state.instances[key])]
        if bad:
            again.extend(bad)
        elif job.conclusion is not None and (job.conclusion in FAILURES or job.conclusion == "cancelled"):
            again.append(path)
    return tuple(again)


def all_jobs(state: RunState) -> tuple[str, ...]:
    """What `rerun` runs: every job of the run's own workflow."""
    return tuple(state.frames[""].paths) if "" in state.frames else ()


def reset_jobs(state: RunState, names: Iterable[str]) -> bool:
    """Undo the endings of these instances (keys) and jobs (paths), and of all that depends on them. False,
    and nothing is changed, when none of them is there or one has not ended."""
    known = [name for name in dict.fromkeys(names) if name in state.instances or name in state.jobs]
    if not known or not state.finished:
        return False
    remaining: list[JobState] = []
    for name in known:
        instance = state.instances.get(name)
        if instance is not None and instance.matrix is not None:
            _reset_instance(state, instance, remaining)
        else:
            path = instance.path if instance is not None else name
            if path in state.jobs:
                remaining.append(state.jobs[path])
        # A list of its own, not recursion: a chain of needs may be thousands of jobs long.
        while remaining:
            _reset_job(state, remaining.pop(), remaining)
    return True


def _is_bad(instance: InstanceState) -> bool:
    return instance.conclusion in FAILURES or instance.conclusion == "cancelled"


def _reset_instance(state: RunState, instance: InstanceState, remaining: list[JobState]) -> None:
    """One cell of a matrix runs again; its siblings keep their results."""
    job = state.jobs.get(instance.path)
    if job is None or instance.status != "finished" or state.instances.get(instance.key) is not instance:
        return
    _reopen(state, job, remaining)
    job.status = "open"
    job.unfinished += 1
    job.conclusions.pop(instance.key, None)
    _drop_call(state, instance.key)
    state.instances[instance.key] = InstanceState(
        key=instance.key,
        path=instance.path,
        name=instance.name,
        matrix=instance.matrix,
        strategy=instance.strategy,
        attempt=instance.attempt,
        created_at=state.last_at,
    )
    state.enqueue(state.instances[instance.key])


def _reset_job(state: RunState, job: JobState, remaining: list[JobState]) -> None:
    """The whole job runs again, from its `if` on."""
    if job.status == "waiting" or state.jobs.get(job.path) is not job:
        return
    _reopen(state, job, remaining)
    for key in job.instances:
        _drop_call(state, key)
        state.instances.pop(key, None)
        state.dequeue(key)
    job.instances = []
    job.status = "waiting"
    job.unfinished = job.running = 0
    job.conclusions = {}
    job.outputs = {}
    job.reason = ""
    if job.unmet == 0:
        state.ready[job.path] = None


def _reopen(state: RunState, job: JobState, remaining: list[JobState]) -> None:
    """A finished job is not finished any more: neither are its frame, its caller and its dependents."""
    if job.status != "finished":
        return
    job.status = "open"
    job.conclusion = None
    job.lineage_ok, job.lineage_failed = True, False
    job.finished_at = 0.0
    frame = state.frame_of(job)
    frame.unfinished += 1
    state.finished_frames.pop(frame.prefix, None)
    if frame.caller:
        _reopen_caller(state, frame.caller, remaining)
    for path in job.dependents:
        dependent = state.jobs[path]
        dependent.unmet += 1
        state.ready.pop(path, None)
        remaining.append(dependent)


def _reopen_caller(state: RunState, key: str, remaining: list[JobState]) -> None:
    """The call that a job belongs to goes on; it is the same attempt, since nothing of it starts twice."""
    caller = state.instances[key]
    if caller.status != "finished":
        return
    job = state.jobs[caller.path]
    _reopen(state, job, remaining)
    job.unfinished += 1
    job.running += 1
    job.conclusions.pop(key, None)
    caller.status = "running"
    caller.conclusion = None
    caller.result = None
    caller.reason = caller.cancel_reason = ""
    caller.finished_at = 0.0
    state.frames[f"{key}/"].cancel_reason = ""
    # Its concurrency groups were given back when it ended.
    look_at_call(state, caller)


def _drop_call(state: RunState, key: str) -> None:
    """Forget what a call did: it is called anew, maybe with other inputs. Attempts stay counted."""
    state.calls_held_up.pop(key, None)
    frame = state.frames.pop(f"{key}/", None)
    if frame is None:
        return
    state.finished_frames.pop(frame.prefix, None)
    for path in frame.paths:
        job = state.jobs.pop(path)
        state.ready.pop(path, None)
        for inner in job.instances:
            _drop_call(state, inner)
            state.instances.pop(inner, None)
            state.dequeue(inner)
