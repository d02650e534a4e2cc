"""Steps: whether one runs, what it runs, and what it leaves behind.

Source: GitHub's "Workflow syntax" (`steps[*].if`, `continue-on-error`, `timeout-minutes`, `env`), "Evaluate
expressions" (status functions), "Workflow cancellation".
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from akashic.cancellation import Cancellation
from akashic.engine.evaluation import not_a_flag, not_a_number
from akashic.engine.requests import Conclusion, StepReport
from akashic.errors import AkashicError
from akashic.runner.actions.dispatch import run_action
from akashic.runner.breakpoints import ask_before, ask_failed
from akashic.runner.calls import TIMEOUT_SOURCE, Body, Call, Ended
from akashic.runner.scripts import run_script
from akashic.runner.state import Frame, JobState
from akashic.source.position import placed
from akashic.workflow.expressions import Scope, Status, condition, interpolate
from akashic.workflow.expressions.coercion import to_string
from akashic.workflow.model import Step, Template

STEP_MINUTES_MAX = 360.0


def publish(state: JobState, frame: Frame, ended: Ended) -> None:
    """Let the steps that follow see what this one did."""
    if not ended.id.startswith("__"):
        frame.steps[ended.id] = {
            "outputs": ended.effects.outputs,
            "outcome": _shown_result(ended.outcome),
            "conclusion": _shown_result(ended.conclusion),
        }
    state.export(frame, ended.effects.env)
    state.prepend_path(ended.effects.path)


def _shown_result(conclusion: Conclusion) -> str:
    """A conclusion as contexts show it."""
    if conclusion in ("timed_out", "interrupted"):
        return "failure"
    return conclusion


class StepRunner:
    """Runs the steps of one job."""

    def __init__(self, state: JobState) -> None:
        self.state = state

    def run(
        self,
        step: Step,
        *,
        number: int,
        frame: Frame | None = None,
        body: Body | None = None,
        cancellation: Cancellation | None = None,
    ) -> Ended:
        """Run a step that people see as one of the job's. `body` replaces what the step itself says (pre and
        post steps). Effects are not taken over yet. `cancellation` ends this step alone."""
        state = self.state
        frame = frame or state.frame
        name = state.masker.mask_text(self._name(step, frame))
        state.reporter.step_started(number, name)
        started_at = state.parts.clock.now()
        log_from = state.log.offset
        ended = self._attempt(step, frame, number, name, body or run_body, cancellation)
        report = StepReport(
            number=number,
            name=name,
            id=step.id,
            outcome=ended.outcome,
            conclusion=ended.conclusion,
            started_at=started_at,
            duration_s=state.parts.clock.now() - started_at,
            error=ended.error,
            annotations=tuple(ended.effects.annotations),
            log_from=log_from,
            log_to=state.log.offset,
        )
        state.reporter.step_finished(report)
        state.finished.append(report)
        state.keep(ended.effects.annotations, ended.effects.summary)
        if ended.conclusion in ("failure", "timed_out") and not state.reason:
            state.reason = f"{name}: {ended.error}" if ended.error else name
        return ended

    def run_embedded(self, step: Step, *, frame: Frame, number: int, body: Body | None = None) -> Ended:
        """Run a step of a composite action, inside the log of the step that uses the action."""
        name = self._name(step, frame)
        ended = self._attempt(step, frame, number, name, body or run_body, None)
        self.take_over(ended, frame)
        return ended

    def take_over(self, ended: Ended, frame: Frame) -> None:
        """Let the steps that follow see what this one did, and fail the job, or the action, with it."""
        state = self.state
        publish(state, frame, ended)
        if ended.conclusion not in ("success", "skipped"):
            if frame.parent is None:
                # A step that was cancelled with the job shows in the job's own status.
                state.failed = state.failed or ended.conclusion != "cancelled" or not state.cancelled
            else:
                frame.failed = True

    def _attempt(
        self,
        step: Step,
        frame: Frame,
        number: int,
        name: str,
        body: Body,
        alone: Cancellation | None,
    ) -> Ended:
        while True:
            ended, again = self._once(step, frame, number, name, body, alone)
            if not again:
                return ended

    def _once(
        self,
        step: Step,
        frame: Frame,
        number: int,
        name: str,
        body: Body,
        alone: Cancellation | None,
    ) -> tuple[Ended, bool]:
        state = self.state
        step_id = step.id or frame.fresh_id(_generated_id(step))
        slot = state.slots.take()
        own = alone or Cancellation()
        call = Call(
            runner=self,
            state=state,
            step=step,
            frame=frame,
            number=number,
            name=name,
            id=step_id,
            env=frame.env,
            scope=Scope(contexts={}),
            slot=slot,
            cancellation=own,
        )
        try:
            # Before its condition is evaluated: a request that comes in between is one that it has not seen.
            already = frame.cancellation.is_set()
            _scope(call)
            if not _holds(step.if_, call.scope):
                return Ended(step, step_id, "skipped", "skipped"), False
            with self._ended_in_time(call, already=already):
                outcome = "cancelled" if ask_before(call) else body(call)
        except AkashicError as error:
            call.fail(placed(error.message, step.position))
            if error.hint:
                call.say(f"hint: {error.hint}")
            outcome = "failure"
        finally:
            call.output.finish()
            if not call.files_taken:
                state.slots.collect(slot)
            state.slots.give_back(slot)
        if outcome == "success" and call.effects.failed:
            outcome = "failure"
        if outcome in ("failure", "timed_out") and frame.parent is None and ask_failed(call):
            return Ended(step, step_id, outcome, outcome), True
        return Ended(step, step_id, outcome, self._forgiven(call, outcome), call.error, call.effects), False

    @contextmanager
    def _ended_in_time(self, call: Call, *, already: bool) -> Iterator[None]:
        """What runs inside is cancelled with the job, and when the step's time is up. `already`: the job was
        cancelled when the step's condition was looked at."""
        forget = self._link(call, call.cancellation, already=already)
        timer: threading.Timer | None = None
        try:
            self._limit(call)
            if call.step.run is None and call.timeout_s is not None:
                timer = threading.Timer(call.timeout_s, call.cancellation.cancel, kwargs=_TIMEOUT)
                timer.daemon = True
                timer.start()
            yield
        finally:
            forget()
            if timer is not None:
                timer.cancel()
                timer.join()

    def _forgiven(self, call: Call, outcome: Conclusion) -> Conclusion:
        template = call.step.continue_on_error
        if template is None or outcome not in ("failure", "timed_out"):
            return outcome
        try:
            forgiven = interpolate(template.value, call.scope, template.position)
        except AkashicError as error:
            call.fail(error.message)
            return outcome
        if not isinstance(forgiven, bool):
            call.fail(f"{template.position}: {not_a_flag('continue-on-error', forgiven)}")
        return "success" if forgiven is True else outcome

    def _limit(self, call: Call) -> None:
        template = call.step.timeout_minutes
        if template is not None:
            minutes = interpolate(template.value, call.scope, template.position)
            number = isinstance(minutes, (int, float)) and not isinstance(minutes, bool)
            if not number or not 0 < minutes <= STEP_MINUTES_MAX * 10_000:
                raise AkashicError(f"{template.position}: {not_a_number('timeout-minutes', minutes)}")
            call.timeout_s = float(minutes) * 60
        if self.state.cancelled and call.frame.parent is None:
            longest_s = self.state.request.cancel_timeout_s
            call.timeout_s = min(call.timeout_s or longest_s, longest_s)

    def _link(self, call: Call, own: Cancellation, *, already: bool) -> Callable[[], None]:
        """Let the job's cancellation (or, in a composite action, the calling step's) end this step, unless it
        began afterwards or its condition holds for a cancelled job."""
        above = call.frame.cancellation

        def request() -> None:
            if above.force or (not already and not _wanted_when_cancelled(call)):
                own.cancel(source=above.source, reason=above.reason, force=above.force)

        return above.on_cancel(request)

    def _name(self, step: Step, frame: Frame) -> str:
        if step.name is not None:
            # As the runner does: of a name that has lines, the first.
            return _first_line(self._evaluated(to_string(step.name.value), step, frame)) or "step"
        if step.run is not None:
            first = _first_line(to_string(step.run.value))
            # What an expression gives may have lines of its own.
            return f"Run {_first_line(self._evaluated(first, step, frame))}"
        return f"Run {step.uses}" if step.uses else "step"

    def _evaluated(self, text: str, step: Step, frame: Frame) -> str:
        """A part of a step's name as people see it: the runner has the step's own `env` by then, and shows
        as written what cannot be evaluated."""
        if "${{" not in text:
            return text
        scope = self.state.scope(frame, frame.env)
        try:
            if step.env is not None:
                scope = self.state.scope(frame, {**frame.env, **_env(step.env, scope)})
            return to_string(interpolate(text, scope, step.position))
        except AkashicError:
            return text


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.split("\n") if line.strip()), "")


_TIMEOUT = {"source": TIMEOUT_SOURCE, "reason": "The step has timed out"}


def run_body(call: Call) -> Conclusion:
    """What a step of a workflow or composite action does."""
    if call.step.run is not None:
        return run_script(call)
    return run_action(call)


def _scope(call: Call) -> None:
    """Evaluate the step's `env` and set what its expressions see."""
    state, frame, step = call.state, call.frame, call.step
    own_github = frame.contexts.get("github", {})
    # GitHub's "Contexts": `github.env` and `github.path` are the step's own files, like their siblings.
    github = {**state.contexts["github"], **own_github, "action": call.id, **call.slot.paths}
    own = _env(step.env, state.scope(frame, frame.env)) if step.env is not None else None
    call.env = {**frame.env, **own} if own else dict(frame.env)
    scope = state.scope(frame, call.env, with_status=True)
    if frame.parent is not None and scope.status is not None:
        # GitHub's "Contexts": for a composite action, its result so far.
        github["action_status"] = _result_so_far(scope.status)
    call.scope = Scope(
        contexts={**scope.contexts, "github": github}, status=scope.status, hash_files=scope.hash_files
    )


def _result_so_far(status: Status) -> str:
    if status.failure:
        return "failure"
    return "cancelled" if status.cancelled else "success"


def _env(template: Template, scope: Scope) -> dict[str, str]:
    values: Any = interpolate(template.value, scope, template.position)
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise AkashicError(f"{template.position}: env: expected a mapping")
    return {str(name): to_string(value) for name, value in values.items()}


def _holds(template: Template | None, scope: Scope) -> bool:
    if template is None:
        assert scope.status is not None
        return scope.status.success
    try:
        return condition(template.value, scope)
    except AkashicError as error:
        raise AkashicError(f"{template.position}: if: {error.message}", hint=error.hint) from error


def _wanted_when_cancelled(call: Call) -> bool:
    if call.step.if_ is None:
        return False
    status = Status(success=False, failure=False, cancelled=True)
    scope = Scope(contexts=call.scope.contexts, status=status, hash_files=call.scope.hash_files)
    try:
        return condition(call.step.if_.value, scope)
    except AkashicError:
        return False


def _generated_id(step: Step) -> str:
    if step.uses is None:
        return "__run"
    name = step.uses.partition("@")[0].removeprefix("docker://").strip("./")
    return "__" + "".join(c if c.isalnum() else "_" for c in name)
