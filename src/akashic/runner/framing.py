"""What stands around a job's steps: "Set up job" and "Complete job", the runner's own work shown as steps."""

from __future__ import annotations

from akashic.driver.ports import JobReporter
from akashic.engine.requests import Annotation, Conclusion, JobRequest, StepReport
from akashic.runner.joblog import JobLog
from akashic.runner.masking import Masker
from akashic.runner.parts import RunnerParts
from akashic.runner.state import JobState

_FOREIGN = ("windows", "macos")


class PseudoStep:
    """ "Set up job" and "Complete job": the runner's own work, shown as steps."""

    def __init__(
        self,
        parts: RunnerParts,
        reporter: JobReporter,
        log: JobLog,
        masker: Masker,
        number: int,
        name: str,
        state: JobState | None = None,
    ) -> None:
        self._parts, self._reporter, self._log, self._masker = parts, reporter, log, masker
        self._number, self._name = number, name
        self._sink = log.sink(number)
        self._from = log.offset
        self._started_at = parts.clock.now()
        self._annotations: list[Annotation] = []
        self._state = state
        reporter.step_started(number, name)

    def name_job(self, request: JobRequest, parts: RunnerParts) -> None:
        """The first lines of a job: where it runs and what it is."""
        capabilities = parts.executor.capabilities
        how = "not isolated" if parts.sandbox_mode == "off" else capabilities.isolation
        isolation = f" ({how})" if how else ""
        self.say(f"Executor: {capabilities.name}{isolation}")
        self.say(f"Job: {request.name}")
        if request.environment:
            self.say(f"Environment: {request.environment}")
        foreign = [one for one in request.labels if one.lower().startswith(_FOREIGN)]
        if foreign:
            self.say(f"##[warning]runs-on {', '.join(foreign)}: it runs on Linux here, and runner.os says so")
        if request.trust == "fork":
            self.say("This run comes from a fork: no secrets, no cache writes, no deployment.")

    def say(self, text: str) -> None:
        self._sink(self._masker.mask(text.encode("utf-8", "replace") + b"\n"))

    def warn(self, message: str, *, level: str = "warning") -> None:
        self.say(f"##[{level}]{message}")
        annotation = Annotation(level=level, message=self._masker.mask_text(message))  # type: ignore[arg-type]
        self._annotations.append(annotation)
        if self._state is not None:
            self._state.keep([annotation], "")

    def fail(self, message: str, hint: str) -> None:
        self.warn(message, level="error")
        if hint:
            self.say(f"hint: {hint}")
        self.end("failure", message)

    def end(self, conclusion: Conclusion, error: str = "") -> None:
        self._reporter.step_finished(
            StepReport(
                number=self._number,
                name=self._name,
                outcome=conclusion,
                conclusion=conclusion,
                started_at=self._started_at,
                duration_s=self._parts.clock.now() - self._started_at,
                error=error,
                annotations=tuple(self._annotations),
                log_from=self._from,
                log_to=self._log.offset,
            )
        )
