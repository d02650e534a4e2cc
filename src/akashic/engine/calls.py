"""Calls of reusable workflows: which file, which inputs, which secrets, which outputs.

Source: GitHub's "Reuse workflows" and "Reusable workflows reference" (limits: ten levels of workflows).
"""

from __future__ import annotations

from typing import Any

from akashic.engine.contexts import frame_contexts, instance_contexts
from akashic.engine.evaluation import Refusal, text_of, value_of
from akashic.engine.requests import SecretFrame
from akashic.engine.results import shown
from akashic.engine.runstate import Frame, InstanceState, JobState, RunState
from akashic.source.position import InvalidInput
from akashic.workflow.expressions import ExpressionError, Scope
from akashic.workflow.inputs import call_inputs
from akashic.workflow.model import Trigger, Workflow
from akashic.workflow.own_actions import of_called_workflow
from akashic.workflow.parse import parse_workflow

CALL_DEPTH_MAX = 9
"""Calls below the run's own workflow: GitHub connects up to ten levels, the first included."""


def source_of(frame: Frame, uses: str) -> str:
    """The name in `RunCreated.sources` of the workflow that a job in `frame` calls: `uses` itself, or, for a
    local path inside a workflow of another repository, the full reference in that repository."""
    if uses.startswith("./") and "@" in frame.source:
        place, _, ref = frame.source.partition("@")
        repository = "/".join(place.split("/")[:2])
        return f"{repository}/{uses.removeprefix('./')}@{ref}"
    return uses


def called_workflow(state: RunState, frame: Frame, job: JobState) -> tuple[str, Workflow, Trigger]:
    """The workflow that a job calls, and its `workflow_call`. Raises Refusal."""
    uses = job.job.uses or ""
    source = source_of(frame, uses)
    where = job.job.position
    if frame.depth >= CALL_DEPTH_MAX:
        raise Refusal(f"{where}: workflows call each other more than {CALL_DEPTH_MAX + 1} levels deep")
    text = state.created.sources.get(source)
    if text is None:
        raise Refusal(f"{where}: the reusable workflow {uses} was not found when the run was made")
    for other in state.frames.values():
        if other.source == source:
            workflow = other.workflow
            break
    else:
        try:
            workflow = of_called_workflow(parse_workflow(text, source), source)
        except InvalidInput as error:
            raise Refusal(f"{where}: the reusable workflow {uses} is not valid:\n{error.message}") from error
    for trigger in workflow.triggers:
        if trigger.event == "workflow_call":
            return source, workflow, trigger
    raise Refusal(f"{where}: {uses} cannot be called: it has no `on: workflow_call`")


def open_call(state: RunState, job: JobState, instance: InstanceState) -> Frame:
    """The frame of a call. Raises Refusal: no such workflow, wrong inputs, too deep."""
    caller = state.frame_of(job)
    source, workflow, trigger = called_workflow(state, caller, job)
    contexts = instance_contexts(state, job, instance)
    permissions = job.job.permissions
    if permissions is None:
        permissions = caller.workflow.permissions
    return Frame(
        prefix=f"{instance.key}/",
        caller=instance.key,
        source=source,
        workflow=workflow,
        inputs=_inputs(state, job, trigger, contexts),
        secret_frames=(
            *caller.secret_frames,
            SecretFrame(mapping=job.job.secrets, contexts=contexts),
        ),
        permissions=permissions if permissions is not None else caller.permissions,
        depth=caller.depth + 1,
    )


def call_outputs(state: RunState, frame: Frame) -> dict[str, str]:
    """The outputs of a finished call. Raises Refusal."""
    contexts = frame_contexts(state, frame)
    jobs = (state.jobs[path] for path in frame.paths)
    contexts["jobs"] = {
        job.job.id: {"result": shown(job.conclusion or "skipped"), "outputs": dict(job.outputs)}
        for job in jobs
    }
    outputs = {}
    for trigger in frame.workflow.triggers:
        for output in trigger.outputs:
            outputs[output.name] = text_of(output.value, contexts, what=f"the output {output.name}")
    return outputs


def _inputs(state: RunState, job: JobState, trigger: Trigger, contexts: dict[str, Any]) -> dict[str, Any]:
    where = job.job.position
    given: Any = {} if job.job.with_ is None else value_of(job.job.with_, contexts)
    if not isinstance(given, dict):
        raise Refusal(f"{where}: `with` must be a mapping")
    for_defaults = {"github": state.created.github, "inputs": {}, "vars": state.created.vars}
    try:
        return call_inputs(
            trigger, given, Scope(contexts=for_defaults), uses=job.job.uses or "", position=where
        )
    except InvalidInput as error:
        problems = "\n".join(f"{problem.position}: {problem.message}" for problem in error.problems)
        raise Refusal(problems) from error
    except ExpressionError as error:
        raise Refusal(error.message) from error
