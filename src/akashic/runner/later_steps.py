"""Steps that actions bring along: images and pre parts before the first step, in order, post parts after the
last one, in reverse order.

Source: GitHub's "Metadata syntax" (`runs.pre`, `runs.pre-if`, `runs.post`, `runs.post-if`; both conditions
are `always()` when not given).
"""

from __future__ import annotations

from akashic.runner.actions.pres import pre_steps
from akashic.runner.state import Frame, JobState, LaterStep
from akashic.runner.steps import StepRunner
from akashic.workflow.model import Step, Template


def run_image_steps(state: JobState, runner: StepRunner) -> None:
    """Pull and build the images of the actions that are known, before the first step, as GitHub does."""
    if not any(a.metadata is not None and a.metadata.runs.using == "docker" for a in state.actions.values()):
        return
    # Imported here: most jobs run no container of their own.
    from akashic.runner.actions.docker import image_steps

    for step, body in image_steps(state):
        ended = runner.run(step, number=state.next_number(), body=body)
        runner.take_over(ended, state.frame)


def run_pres(state: JobState, runner: StepRunner, first_step: int = 0) -> None:
    """Run the pre parts of the actions that the job's steps name, from `first_step` on."""
    for later in pre_steps(state, first_step):
        _run(state, runner, later, f"Pre {later.name}")


def run_posts(state: JobState, runner: StepRunner) -> None:
    """Run what is left to do, last come first."""
    while state.posts:
        later = state.posts.pop()
        _run(state, runner, later, f"Post {later.name}")


def _run(state: JobState, runner: StepRunner, later: LaterStep, name: str) -> None:
    step = _derived(later.step, name, later.condition)
    frame = _at_job_level(state, later.frame)
    ended = runner.run(step, number=state.next_number(), frame=frame, body=later.body)
    runner.take_over(ended, state.frame)


def _at_job_level(state: JobState, frame: Frame) -> Frame:
    """The frame as it was, but with the job's own status: `success()` in a `post-if` is about the job."""
    if frame.parent is None:
        return frame
    return Frame(
        env=frame.env,
        contexts=frame.contexts,
        cancellation=state.cancellation,
        steps=frame.steps,
        action=frame.action,
        depth=frame.depth,
    )


def _derived(step: Step, name: str, condition: str) -> Step:
    """The step that uses the action, with another name and condition, and without its outputs."""
    return Step(
        index=step.index,
        position=step.position,
        name=Template(name, step.position),
        if_=Template(condition, step.position),
        uses=step.uses,
        with_=step.with_,
        env=step.env,
        continue_on_error=step.continue_on_error,
    )
