"""Pre parts: of the job's own JavaScript and Docker actions, and of those inside its composite actions.

Source: GitHub's "Metadata syntax" (`runs.pre`, `runs.pre-entrypoint`, `runs.pre-if`): they run before the
job's first step, in order.
"""

from __future__ import annotations

from collections.abc import Iterator

from akashic.engine.requests import Conclusion
from akashic.runner.actions.composite import composite_frame
from akashic.runner.actions.inputs import given_inputs
from akashic.runner.actions.javascript import part
from akashic.runner.actions.resolve import ResolvedAction
from akashic.runner.actions.stages import condition_text, saved_state, title
from akashic.runner.calls import Body, Call
from akashic.runner.state import Frame, JobState, LaterStep
from akashic.workflow.model import Step, Template


def pre_steps(state: JobState, first_step: int = 0) -> Iterator[LaterStep]:
    """The pre parts of the job's own steps from `first_step` on, in order."""
    for step in _flat(state.request.job.steps[first_step:]):
        found = _pre(state, step, state.frame)
        if found is not None:
            condition, body = found
            yield LaterStep(step, title(step, f"Run {step.uses}"), condition, state.frame, body)


def _flat(steps: tuple[Step, ...]) -> Iterator[Step]:
    for step in steps:
        yield step
        if step.parallel is not None:
            yield from _flat(step.parallel)


def _pre(state: JobState, step: Step, frame: Frame) -> tuple[str, Body] | None:
    """The condition and body of a step's pre part, None when it has none."""
    action = state.actions.get(step.uses or "")
    if action is None or action.metadata is None:
        return None
    runs = action.metadata.runs
    if runs.using == "composite":
        return ("always()", _composite_body(action, step)) if _has_pre(state, action) else None
    if runs.pre:
        return condition_text(runs.pre_if), part(action, runs.pre, None, saved_state(state, frame, step))
    if runs.pre_entrypoint:
        # Imported here: most jobs run no container of their own.
        from akashic.runner.actions.docker import docker_part

        body = docker_part(action, runs.pre_entrypoint, None, saved_state(state, frame, step))
        return condition_text(runs.pre_if), body
    return None


def _has_pre(state: JobState, action: ResolvedAction) -> bool:
    if action.metadata is None:
        return False
    runs = action.metadata.runs
    inner = (state.actions.get(step.uses or "") for step in runs.steps)
    return bool(runs.pre or runs.pre_entrypoint) or any(
        _has_pre(state, used) for used in inner if used is not None
    )


def _composite_body(action: ResolvedAction, owner: Step) -> Body:
    """Runs the pre parts of a composite action's steps, in a frame that its main part takes over."""

    def body(call: Call) -> Conclusion:
        assert action.metadata is not None
        frame = composite_frame(call, action, given_inputs(call))
        call.frame.prepared[id(owner)] = frame
        for step in action.metadata.runs.steps:
            found = _pre(call.state, step, frame)
            if found is None:
                continue
            condition, inner = found
            derived = Step(
                index=step.index,
                position=step.position,
                if_=Template(condition, step.position),
                uses=step.uses,
                with_=step.with_,
                env=step.env,
            )
            call.runner.run_embedded(derived, frame=frame, number=call.number, body=inner)
        return "failure" if frame.failed else "success"

    return body
