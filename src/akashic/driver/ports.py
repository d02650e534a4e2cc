"""What a driver needs from the world, as small protocols; `akashic.app` supplies them."""

from __future__ import annotations

from typing import Protocol

from akashic.cancellation import Cancellation
from akashic.engine.events import GateOpened
from akashic.engine.requests import JobRequest, JobResult, StepReport

JOB_TIMEOUT = "timeout"
"""The source of a cancellation for an attempt whose time is up."""


class Clock(Protocol):
    """The time, as an input."""

    def now(self) -> float:
        """Seconds since the epoch."""
        ...


class JobReporter(Protocol):
    """Where the port of a job tells what happens. Called from the job's thread(s). Everything that is passed
    is masked already."""

    def job_ready(self, notes: tuple[str, ...]) -> None:
        """The sandbox is open and its services are healthy. Shown live, not journalled."""
        ...

    def step_started(self, number: int, name: str) -> None:
        """Shown live, not journalled."""
        ...

    def line(self, number: int, text: str) -> None:
        """One line of a step's log, shown live; the runner has stored it already."""
        ...

    def step_finished(self, report: StepReport) -> None:
        """Journalled."""
        ...


class JobPort(Protocol):
    """Runs job instances."""

    def run(self, request: JobRequest, reporter: JobReporter, cancellation: Cancellation) -> JobResult:
        """Run one attempt to its end; called in a thread of its own, for several jobs at a time. When
        `cancellation` is set it ends the job in order and returns all the same; its source is JOB_TIMEOUT
        when `request.timeout_s` is over, which the driver watches for all jobs. Raises nothing that a job can
        cause; an AkashicError means that the attempt could not run, and its message and hint are the reason;
        anything else is told as an internal error. The attempt has failed then."""
        ...

    def recover(self, idempotency_key: str) -> JobResult | None:
        """After a crash: the result of an attempt that was started and never reported. None: it is not
        running (what was left of it is removed now) and its outcome is unknown. A job that lives in the
        process that runs it, as all do now, is never found again."""
        ...


class GatePort(Protocol):
    """Knows the protection rules of environments."""

    def open(self, request: JobRequest, now: float) -> GateOpened | str:
        """The rules for this job instance right now, or a sentence that says why the environment refuses it
        (branch policy, unknown environment, a fork). An environment without rules gives a gate that needs
        nothing."""
        ...
