"""The contexts and status functions of job-level keys.

Source: GitHub's "Contexts reference" (context availability) and "Evaluate expressions": `success()` of a job
asks every job that it depends on, directly or not; `failure()` likewise.
"""

from __future__ import annotations

from typing import Any

from akashic.engine.results import shown
from akashic.engine.runstate import Frame, InstanceState, JobState, RunState
from akashic.workflow.expressions import Scope, Status

_NO_MATRIX: dict[str, Any] = {}


def needs_context(state: RunState, job: JobState) -> dict[str, Any]:
    """`needs`: result and outputs of the direct dependencies, by job id."""
    needs: dict[str, Any] = {}
    for path in job.needs:
        need = state.jobs.get(path)
        if need is not None and need.conclusion is not None:
            needs[need.job.id] = {"result": shown(need.conclusion), "outputs": dict(need.outputs)}
    return needs


def frame_contexts(state: RunState, frame: Frame) -> dict[str, Any]:
    """What every key of a workflow may see: `github`, `inputs`, `vars`."""
    return {"github": state.created.github, "inputs": frame.inputs, "vars": state.created.vars}


def job_contexts(state: RunState, job: JobState) -> dict[str, Any]:
    """What `if` and `strategy` of a job may see."""
    contexts = frame_contexts(state, state.frame_of(job))
    contexts["needs"] = needs_context(state, job)
    return contexts


def instance_contexts(state: RunState, job: JobState, instance: InstanceState) -> dict[str, Any]:
    """What the other job-level keys may see: `matrix` and `strategy` too."""
    contexts = job_contexts(state, job)
    contexts["matrix"] = instance.matrix if instance.matrix is not None else _NO_MATRIX
    contexts["strategy"] = instance.strategy
    return contexts


def job_status(state: RunState, job: JobState) -> Status:
    """What the status functions of a job's `if` answer now."""
    needs = [state.jobs[path] for path in job.needs if path in state.jobs]
    cancelled = is_cancelled(state, job)
    return Status(
        success=not cancelled and all(need.lineage_ok for need in needs),
        failure=any(need.lineage_failed for need in needs),
        cancelled=cancelled,
        needs={need.job.id: shown(need.conclusion) for need in needs if need.conclusion is not None},
    )


def if_scope(state: RunState, job: JobState) -> Scope:
    return Scope(contexts=job_contexts(state, job), status=job_status(state, job))


def is_cancelled(state: RunState, job: JobState) -> bool:
    """Whether the run, or the call that the job belongs to, was cancelled."""
    return state.cancelled or bool(state.frame_of(job).cancel_reason)
