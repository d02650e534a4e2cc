"""One execution of one step: everything that its script or action needs, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from akashic.cancellation import Cancellation
from akashic.engine.requests import Conclusion
from akashic.executors.protocol import ExitStatus, OutputSink
from akashic.runner.commands import Commands, Effects
from akashic.runner.files import KINDS, CommandFiles, apply_file
from akashic.runner.output import LineWriter, StepOutput
from akashic.runner.state import Frame, JobState
from akashic.workflow.expressions import Scope, interpolate
from akashic.workflow.expressions.coercion import to_string
from akashic.workflow.model import Step, Template

TIMEOUT_SOURCE = "step timeout"
CANCEL_STEP_SOURCE = "cancel step"


class Ended(msgspec.Struct):
    """How a step ended; `effects` are taken over when it is (a background step's: when it is waited for)."""

    step: Step
    id: str
    outcome: Conclusion
    conclusion: Conclusion
    error: str = ""
    effects: Effects = msgspec.field(default_factory=Effects)


class StepRunning(Protocol):
    """What a composite action needs to run its steps."""

    def run_embedded(self, step: Step, *, frame: Frame, number: int, body: Body | None = None) -> Ended: ...


class Call:
    """A step that is being executed. `env` is its `env` context."""

    def __init__(
        self,
        *,
        runner: StepRunning,
        state: JobState,
        step: Step,
        frame: Frame,
        number: int,
        name: str,
        id: str,
        env: dict[str, str],
        scope: Scope,
        slot: CommandFiles,
        cancellation: Cancellation,
    ) -> None:
        self.runner = runner
        self.state = state
        self.step = step
        self.frame = frame
        self.number = number
        self.name = name
        self.id = id
        self.env = env
        self.scope = scope
        self.slot = slot
        self.cancellation = cancellation
        self.timeout_s: float | None = None
        self.effects = Effects()
        self.github: dict[str, Any] = {}
        self.error = ""
        self.files_taken = False
        self.job_path: Callable[[str], str] = str
        """From a path as the step's process sees it to the same file's path in the job; they differ in the
        container of a Docker action."""
        writer = LineWriter(state.masker, state.log.sink(number))
        self.output = StepOutput(writer, state.masker, state.matchers)
        self.commands = make_commands(self, self.output)

    def text(self, template: Template | None) -> str:
        """A template's value as text; empty when there is none. Raises ExpressionError."""
        if template is None:
            return ""
        return to_string(interpolate(template.value, self.scope, template.position))

    def say(self, text: str) -> None:
        """Lines of the runner's own in the step's log."""
        self.output.say(text)

    def fail(self, message: str) -> None:
        """Say why the step failed; the first reason is the step's error."""
        self.commands.error(message)
        self.error = self.error or self.state.masker.mask_text(message)

    def process_env(self, extra: dict[str, str], *, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """The environment of the step's process: GITHUB_* of this step and its files included. See
        `JobState.process_env` for `base`."""
        fixed = {"GITHUB_ACTION": self.id, **self.slot.environment()}
        for key in ("action_path", "action_repository", "action_ref"):
            value = self.github.get(key) or self.frame.contexts.get("github", {}).get(key)
            if value:
                fixed[f"GITHUB_{key.upper()}"] = str(value)
        return self.state.process_env(self.env, {**fixed, **extra}, base=base)

    def execute(
        self,
        argv: Sequence[str],
        *,
        env: dict[str, str],
        cwd: str,
        cancellation: Cancellation | None = None,
    ) -> ExitStatus:
        """Run the step's process: its output is obeyed and logged, its files are taken over."""
        return self.follow(
            lambda on_output: self.state.sandbox.exec(
                argv,
                env=env,
                cwd=cwd,
                on_output=on_output,
                cancellation=cancellation or self.cancellation,
                timeout_s=self.timeout_s,
            )
        )

    def follow(self, run: Callable[[OutputSink], ExitStatus]) -> ExitStatus:
        """Run what is the step's own work: its output is obeyed and logged, its files are taken over."""
        self.output.commands = self.commands
        self.output.effects = self.effects
        status = run(self.output.feed)
        self.output.finish()
        self.output.commands = None
        self.take_files()
        return status

    def take_files(self) -> None:
        """Take over what was written to the environment files."""
        self.files_taken = True
        written = self.state.slots.collect(self.slot)
        if not written:
            return
        for kind in KINDS:
            if kind in written:
                apply_file(
                    kind, written[kind], self.effects, error=self.fail, mask=self.state.masker.mask_text
                )

    def conclude(self, status: ExitStatus) -> Conclusion:
        """What an exit status means for the step, said in its log as GitHub does."""
        if status.timed_out or (self.cancellation.is_set() and self.cancellation.source == TIMEOUT_SOURCE):
            minutes = (self.timeout_s or 0) / 60
            self.fail(f"The action '{self.name}' has timed out after {minutes:g} minutes.")
            return "timed_out"
        if status.cancelled or self.cancellation.is_set():
            if self.cancellation.source != CANCEL_STEP_SOURCE:
                self.fail("The operation was canceled.")
            return "cancelled"
        if status.code != 0:
            self.fail(f"Process completed with exit code {status.code}.")
            return "failure"
        return "failure" if self.effects.failed else "success"


def make_commands(call: Call, output: StepOutput) -> Commands:
    """The commands of a step's output."""
    state = call.state

    def read_file(path: str) -> bytes | None:
        full = call.job_path(path) if path.startswith("/") else f"{state.sandbox.workspace}/{path}"
        return state.sandbox.read(full, bytes_max=1024 * 1024)

    return Commands(
        effects=call.effects,
        add_mask=state.mask,
        write=output.say,
        matchers=state.matchers,
        read_file=read_file,
        env=call.env,
        mask_text=state.masker.mask_text,
        debug=state.parts.step_debug,
    )


Body = Callable[[Call], Conclusion]
"""What a step does."""
