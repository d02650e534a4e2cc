"""Composite actions: steps of their own, in a frame of their own.

Source: GitHub's "Metadata syntax" (`runs` for composite actions): inputs shadow the job's, variables that a
step sets for itself end with it, outputs are evaluated after the last step.
"""

from __future__ import annotations

from collections.abc import Mapping

from akashic.engine.requests import Conclusion
from akashic.errors import AkashicError
from akashic.runner.actions.inputs import action_inputs
from akashic.runner.actions.placing import action_path
from akashic.runner.actions.prepare import DEPTH_MAX
from akashic.runner.actions.resolve import ResolvedAction
from akashic.runner.calls import TIMEOUT_SOURCE, Call
from akashic.runner.state import Frame
from akashic.workflow.expressions import interpolate
from akashic.workflow.expressions.coercion import to_string


def run_composite(call: Call, action: ResolvedAction, given: Mapping[str, str]) -> Conclusion:
    """Run the action's steps. Raises AkashicError."""
    metadata = action.metadata
    assert metadata is not None
    frame = composite_frame(call, action, given)
    error = ""
    for step in metadata.runs.steps:
        ended = call.runner.run_embedded(step, frame=frame, number=call.number)
        call.effects.annotations.extend(ended.effects.annotations)
        call.effects.summary += ended.effects.summary
        if ended.conclusion not in ("success", "skipped"):
            error = error or ended.error
    scope = call.state.scope(frame, frame.env)
    for name, output in metadata.outputs.items():
        if output.value is None:
            continue
        template = output.value
        call.effects.outputs[name] = to_string(interpolate(template.value, scope, template.position))
    call.error = error
    if call.cancellation.is_set():
        return "timed_out" if call.cancellation.source == TIMEOUT_SOURCE else "cancelled"
    return "failure" if frame.failed else "success"


def composite_frame(call: Call, action: ResolvedAction, given: Mapping[str, str]) -> Frame:
    """The frame that the action's steps stand in."""
    assert action.metadata is not None
    if call.frame.depth >= DEPTH_MAX:
        raise AkashicError(f"{action.uses}: composite actions are nested more than {DEPTH_MAX} deep")
    github = {
        **call.scope.contexts["github"],
        **call.github,
        "action_path": action_path(call.state, action),
    }
    before = call.frame.prepared.get(id(call.step))
    return Frame(
        env=dict(call.env),
        contexts={"inputs": action_inputs(call, action.metadata, given), "github": github},
        cancellation=call.cancellation,
        parent=call.frame,
        action=action,
        depth=call.frame.depth + 1,
        saved=before.saved if before is not None else {},
        prepared=before.prepared if before is not None else {},
    )
