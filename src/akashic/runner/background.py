"""Steps that run at the same time: `background`, `wait`, `wait-all`, `cancel`, `parallel`.

Source: GitHub's "Workflow syntax" (`steps[*].background` and what follows): at most ten run at once, others
queue; outputs and environment changes are there after a wait; a failed background step fails the wait that
includes it; what still runs is waited for before the post steps.
"""

from __future__ import annotations

import threading

import msgspec

from akashic.cancellation import Cancellation
from akashic.engine.requests import Conclusion
from akashic.errors import AkashicError
from akashic.runner.calls import CANCEL_STEP_SOURCE, Body, Call, Ended
from akashic.runner.state import JobState
from akashic.runner.steps import StepRunner, publish
from akashic.source.position import Position
from akashic.workflow.model import Step, Template
from akashic.workflow.parse_step import BACKGROUND_STEPS_MAX


class _Background(msgspec.Struct):
    step: Step
    number: int
    cancellation: Cancellation = msgspec.field(default_factory=Cancellation)
    thread: threading.Thread | None = None
    ended: Ended | None = None
    failure: BaseException | None = None


class BackgroundSteps:
    """Runs the steps of a job in order, keeping those that run beside them."""

    def __init__(self, state: JobState, runner: StepRunner) -> None:
        self._state = state
        self._runner = runner
        self._running: list[_Background] = []
        self._places = threading.Semaphore(BACKGROUND_STEPS_MAX)

    def run(self, step: Step) -> None:
        """Run or start one step of the job, and take its effects over when it ran to its end."""
        if step.parallel is not None:
            started = [self._start(inner) for inner in step.parallel]
            self._control(step, "Wait for parallel steps", lambda call: self._wait(call, started))
        elif step.wait is not None:
            names = step.wait
            shown = f"Wait for {', '.join(names)}"
            self._control(step, shown, lambda call: self._wait(call, self._named(names, step.position)))
        elif step.wait_all:
            self._control(
                step, "Wait for all background steps", lambda call: self._wait(call, list(self._running))
            )
        elif step.cancel is not None:
            name = step.cancel
            self._control(step, f"Cancel {name}", lambda call: self._cancel(call, name))
        elif step.background:
            self._start(step)
        else:
            ended = self._runner.run(step, number=self._state.next_number())
            self._runner.take_over(ended, self._state.frame)

    @property
    def idle(self) -> bool:
        """Whether no background step is left to wait for."""
        return not self._running

    def wait_rest(self) -> None:
        """GitHub waits for everything before the post steps; nothing is shown when nothing runs."""
        if self._running:
            step = Step(index=-1, position=Position(self._state.request.workflow_path), wait_all=True)
            self._control(
                step, "Wait for all background steps", lambda call: self._wait(call, list(self._running))
            )

    def _start(self, step: Step) -> _Background:
        entry = _Background(step, self._state.next_number())
        self._running.append(entry)

        def work() -> None:
            with self._places:
                try:
                    entry.ended = self._runner.run(step, number=entry.number, cancellation=entry.cancellation)
                except BaseException as error:
                    entry.failure = error

        entry.thread = threading.Thread(target=work, name=f"step-{entry.number}", daemon=True)
        entry.thread.start()
        return entry

    def _control(self, step: Step, name: str, body: Body) -> None:
        """Show a waiting or cancelling step; it always runs."""
        position = step.position
        shown = Step(
            index=step.index,
            position=position,
            id=step.id,
            name=step.name or Template(name, position),
            if_=Template("always()", position),
            continue_on_error=step.continue_on_error,
            wait_all=True,
        )
        ended = self._runner.run(shown, number=self._state.next_number(), body=body)
        self._runner.take_over(ended, self._state.frame)

    def _named(self, names: tuple[str, ...], position: Position) -> list[_Background]:
        known = {entry.step.id: entry for entry in self._running if entry.step.id}
        missing = [name for name in names if name not in known and name not in self._state.frame.steps]
        if missing:
            raise AkashicError(
                f"{position}: wait: no background step has the id '{missing[0]}'",
                hint="Give the step `id:` and `background: true`, before the step that waits.",
            )
        return [known[name] for name in names if name in known]

    def _wait(self, call: Call, entries: list[_Background]) -> Conclusion:
        failed: list[str] = []
        for entry in entries:
            assert entry.thread is not None
            entry.thread.join()
            if entry in self._running:
                self._running.remove(entry)
            if entry.failure is not None:
                raise entry.failure
            ended = entry.ended
            assert ended is not None
            if self._take_over(ended, stopped=entry.cancellation.source == CANCEL_STEP_SOURCE):
                failed.append(entry.step.id or self._name(entry))
        if failed:
            call.fail(f"Background steps failed: {', '.join(failed)}")
            return "failure"
        return "success"

    def _name(self, entry: _Background) -> str:
        shown = (report.name for report in self._state.finished if report.number == entry.number)
        return next(shown, f"step {entry.number}")

    def _take_over(self, ended: Ended, *, stopped: bool) -> bool:
        """Take the effects over; whether the wait fails for it. It is the wait that fails the job, so that
        `continue-on-error` of the wait can forgive."""
        publish(self._state, self._state.frame, ended)
        return ended.conclusion not in ("success", "skipped") and not stopped

    def _cancel(self, call: Call, name: str) -> Conclusion:
        for entry in self._running:
            if entry.step.id == name:
                # GitHub's "Workflow syntax": a termination signal, so that the step can clean up.
                entry.cancellation.cancel(
                    source=CANCEL_STEP_SOURCE,
                    reason=f"cancelled by step {call.number}",
                    terminate=True,
                )
                assert entry.thread is not None
                entry.thread.join()
                self._wait(call, [entry])
                return "success"
        if name in self._state.frame.steps:
            call.say(f"The step '{name}' has ended already.")
            return "success"
        raise AkashicError(
            f"{call.step.position}: cancel: no background step has the id '{name}'",
            hint="Give the step `id:` and `background: true`, before the step that cancels it.",
        )
