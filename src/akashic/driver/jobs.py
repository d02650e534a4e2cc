"""The job instances that this process runs: a thread each, and how each is told to end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from akashic.cancellation import Cancellation
from akashic.driver.ports import JOB_TIMEOUT, Clock, JobPort
from akashic.engine.events import JobFinished, RunEvent, StepFinished
from akashic.engine.requests import JobRequest, JobResult, StepReport
from akashic.errors import AkashicError

Report = Callable[[RunEvent], None]


class LiveHooks(Protocol):
    """What is shown while a job runs and not kept; called from the job's threads."""

    def job_ready(self, key: str, notes: tuple[str, ...]) -> None: ...

    def step_started(self, key: str, number: int, name: str) -> None: ...

    def lines(self, key: str, number: int, block: str) -> None: ...


class Jobs:
    """Runs attempts through the job port. `start` and `cancel` are called by the driver's thread only."""

    def __init__(self, port: JobPort, clock: Clock, report: Report, hooks: LiveHooks) -> None:
        self._port = port
        self._clock = clock
        self._report = report
        self._hooks = hooks
        self._threads: dict[str, threading.Thread] = {}
        self._cancellations: dict[str, Cancellation] = {}
        self._overdue_at: dict[str, tuple[float, JobRequest]] = {}
        """By this process's own clock, which nobody sets."""
        self.failure: BaseException | None = None
        """Why an outcome could not be written to the journal."""

    def start(self, request: JobRequest) -> None:
        cancellation = Cancellation()
        thread = threading.Thread(
            target=self._run, args=(request, cancellation), name=f"job {request.key}", daemon=True
        )
        self._threads[request.key], self._cancellations[request.key] = thread, cancellation
        self._overdue_at[request.key] = time.monotonic() + request.timeout_s, request
        thread.start()

    def cancel(self, key: str, reason: str, *, force: bool) -> None:
        """Ask an attempt to end; asking again changes nothing unless `force` is new."""
        cancellation = self._cancellations.get(key)
        if cancellation is not None and (not cancellation.is_set() or (force and not cancellation.force)):
            cancellation.cancel(source="run", reason=reason, force=force)

    def end_overdue(self) -> None:
        """Ask those to end whose time is up; call it every now and then. A timer for each job would be a
        thread for each, which a short one takes as long to start and stop as a step."""
        now = time.monotonic()
        for key, (overdue_at, request) in list(self._overdue_at.items()):
            if now >= overdue_at:
                self._overdue_at.pop(key, None)
                minutes = request.timeout_s / 60
                reason = f"The job has exceeded the maximum execution time of {minutes:g} minutes"
                self._cancellations[key].cancel(source=JOB_TIMEOUT, reason=reason)

    def end_all(self, reason: str, *, force: bool) -> None:
        """Ask all to end and wait until they have."""
        for key in list(self._threads):
            self.cancel(key, reason, force=force)
        for thread in list(self._threads.values()):
            thread.join()

    def _run(self, request: JobRequest, cancellation: Cancellation) -> None:
        started_at = self._clock.now()
        try:
            result = self._port.run(request, _Reporter(self, request), cancellation)
        except AkashicError as error:
            hint = f"\n{error.hint}" if error.hint else ""
            result = self._failed(started_at, f"{error.message}{hint}")
        except BaseException as error:
            # Our own mistake must not leave a run without an end.
            result = self._failed(started_at, f"internal error: {type(error).__name__}: {error}")
        self._overdue_at.pop(request.key, None)
        self.record(JobFinished(key=request.key, attempt=request.attempt, result=result))

    def _failed(self, started_at: float, reason: str) -> JobResult:
        duration_s = max(0.0, self._clock.now() - started_at)
        return JobResult(conclusion="failure", reason=reason, started_at=started_at, duration_s=duration_s)

    def record(self, event: RunEvent) -> None:
        try:
            self._report(event)
        except Exception as error:
            # Whatever it is: a driver that waits for an outcome that is never told would wait for ever.
            self.failure = self.failure or error


class _Reporter:
    """The JobReporter of one attempt."""

    def __init__(self, jobs: Jobs, request: JobRequest) -> None:
        self._jobs = jobs
        self._key = request.key
        self._attempt = request.attempt

    def job_ready(self, notes: tuple[str, ...]) -> None:
        self._jobs._hooks.job_ready(self._key, notes)

    def step_started(self, number: int, name: str) -> None:
        self._jobs._hooks.step_started(self._key, number, name)

    def line(self, number: int, text: str) -> None:
        self._jobs._hooks.lines(self._key, number, text + "\n")

    def lines(self, number: int, block: str) -> None:
        self._jobs._hooks.lines(self._key, number, block)

    def step_finished(self, report: StepReport) -> None:
        self._jobs.record(StepFinished(key=self._key, attempt=self._attempt, step=report))
