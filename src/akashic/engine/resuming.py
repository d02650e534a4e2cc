"""Taking a failed job up at the step that failed, maybe with a workflow file that was corrected meanwhile.

The new text may differ in what has not run yet: the steps from the failed one on, in jobs that run again.
Everything that has shaped what ran before (needs, matrix, environment, earlier steps, …) must be as it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from akashic.engine.requests import Resumption
from akashic.engine.runstate import Frame, RunState
from akashic.errors import UsageError
from akashic.source.position import InvalidInput
from akashic.workflow.model import Job, Workflow
from akashic.workflow.parse import parse_workflow

_POSITION = {"file", "line", "column"}
_MAY_CHANGE = ("steps", "outputs", "timeout_minutes", "continue_on_error", "position")


def check_sources(state: RunState, sources: Mapping[str, str], resumptions: Mapping[str, Resumption]) -> None:
    """Raises UsageError when the new texts change what has run already, InvalidInput for a broken one."""
    for frame in state.frames.values():
        changed = _parsed(frame, sources, state)
        if changed is None:
            continue
        before = frame.workflow
        if list(before.jobs) != list(changed.jobs):
            raise _refused(state, f"the jobs of {before.path} are not the same any more")
        for name in ("env", "defaults", "permissions", "concurrency"):
            if _facts(getattr(before, name)) != _facts(getattr(changed, name)):
                raise _refused(state, f"`{name}` of {before.path} has changed")
        for job_id, definition in before.jobs.items():
            if definition.needs != changed.jobs[job_id].needs:
                raise _refused(state, f"`needs` of job {job_id} has changed")
    for key, resumption in resumptions.items():
        instance = state.instances[key]
        job = state.job_of(instance)
        changed = _parsed(state.frame_of(job), sources, state)
        if changed is not None:
            _check_job(state, job.job, changed.jobs[job.job.id], resumption.first_step)


def replace_sources(state: RunState, sources: Mapping[str, str], workflow_sha256: str) -> None:
    """Let what has not begun be as the new texts say. Total: a text that is not valid changes nothing."""
    for frame in state.frames.values():
        try:
            changed = _parsed(frame, sources, state)
        except InvalidInput:
            continue
        if changed is None or list(changed.jobs) != list(frame.workflow.jobs):
            continue
        frame.workflow = changed
        for path in frame.paths:
            job = state.jobs[path]
            again = job.status != "finished" and not job.running
            if again and changed.jobs[job.job.id].needs == job.job.needs:
                job.job = changed.jobs[job.job.id]
    state.created = msgspec.structs.replace(
        state.created, sources=dict(sources), workflow_sha256=workflow_sha256
    )


def _parsed(frame: Frame, sources: Mapping[str, str], state: RunState) -> Workflow | None:
    """The frame's workflow with the new text; None when the text is the same."""
    old, new = state.created.sources.get(frame.source), sources.get(frame.source)
    return None if new is None or new == old else parse_workflow(new, frame.workflow.path)


def _check_job(state: RunState, before: Job, after: Job, first_step: int) -> None:
    for field in msgspec.structs.fields(Job):
        if field.name in _MAY_CHANGE:
            continue
        if _facts(getattr(before, field.name)) != _facts(getattr(after, field.name)):
            name = field.name.rstrip("_").replace("_", "-")
            raise _refused(state, f"`{name}` of job {before.id} has changed")
    if len(after.steps) <= first_step:
        raise _refused(state, f"job {before.id} has no step {first_step + 1} any more, which failed")
    for index in range(first_step):
        if _facts(before.steps[index]) != _facts(after.steps[index]):
            raise _refused(state, f"step {index + 1} of job {before.id}, which has run already, has changed")


def _facts(value: Any) -> Any:
    """A value without the places in the file where its parts stand."""
    return _without_positions(msgspec.to_builtins(value))


def _without_positions(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: _without_positions(item)
            for name, item in value.items()
            if not (name == "position" and isinstance(item, dict) and item.keys() == _POSITION)
        }
    if isinstance(value, (list, tuple)):
        return [_without_positions(item) for item in value]
    return value


def _refused(state: RunState, what: str) -> UsageError:
    number = state.created.sequence
    return UsageError(
        f"run {number} cannot be taken up at the failed step: {what}",
        hint=f"akashic rerun {number} --failed runs the failed jobs from their beginning, as they were; "
        "akashic run starts anew",
    )
