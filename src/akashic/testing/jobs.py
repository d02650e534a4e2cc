"""A job port that does what a script says, and gates whose rules are given."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from akashic.cancellation import Cancellation
from akashic.driver.ports import JobReporter
from akashic.engine.events import GateOpened
from akashic.engine.requests import Conclusion, GateBinding, JobRequest, JobResult, StepReport
from akashic.errors import AkashicError


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What one instance does: how it ends, what it leaves, how many steps it reports. `until_cancelled` runs
    until somebody cancels it; `error` is raised instead of a result; `before` is called first."""

    conclusion: Conclusion = "success"
    outputs: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    steps: int = 0
    until_cancelled: bool = False
    error: str = ""
    before: Callable[[JobRequest], None] | None = None


class ScriptedJobs:
    """A JobPort. `scripts` by instance key (success for the others). `started` keeps every attempt in order,
    `most_at_once` the greatest number that ran together; `recovered` is what `recover` finds."""

    def __init__(
        self, scripts: Mapping[str, Script] | None = None, *, recovered: Mapping[str, JobResult] | None = None
    ) -> None:
        self.scripts = dict(scripts or {})
        self.recovered = dict(recovered or {})
        self.started: list[JobRequest] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()

    def run(self, request: JobRequest, reporter: JobReporter, cancellation: Cancellation) -> JobResult:
        with self._lock:
            self.started.append(request)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            return self._perform(request, reporter, cancellation)
        finally:
            with self._lock:
                self._at_once -= 1

    def recover(self, idempotency_key: str) -> JobResult | None:
        return self.recovered.get(idempotency_key)

    def _perform(self, request: JobRequest, reporter: JobReporter, cancellation: Cancellation) -> JobResult:
        script = self.scripts.get(request.key, Script())
        if script.before is not None:
            script.before(request)
        if script.error:
            raise AkashicError(script.error)
        reporter.job_ready(())
        for number in range(1, script.steps + 1):
            reporter.step_started(number, f"step {number}")
            reporter.line(number, f"line of step {number}")
            reporter.step_finished(
                StepReport(
                    number=number,
                    name=f"step {number}",
                    outcome="success",
                    conclusion="success",
                    started_at=0.0,
                    duration_s=0.0,
                )
            )
        if script.until_cancelled:
            cancellation.wait()
            return JobResult(conclusion="cancelled", reason=cancellation.reason)
        return JobResult(conclusion=script.conclusion, outputs=script.outputs, reason=script.reason)


@dataclass(slots=True, kw_only=True)
class Rules:
    """The protection rules of one environment."""

    reviewers: tuple[str, ...] = ()
    approvals_needed: int = 0
    self_review: bool = True
    wait_s: float = 0.0
    refusal: str = ""
    artifact_digest: str = ""


class RuledGates:
    """A GatePort: rules by environment's name; the others need nothing. Rules may change while it is used."""

    def __init__(self, rules: Mapping[str, Rules] | None = None, *, commit: str = "c0ffee") -> None:
        self.rules = dict(rules or {})
        self.commit = commit
        self.author = "author"

    def open(self, request: JobRequest, now: float) -> GateOpened | str:
        rules = self.rules.get(request.environment, Rules())
        if rules.refusal:
            return rules.refusal
        return GateOpened(
            key=request.key,
            environment=request.environment,
            binding=GateBinding(
                run_id=request.run_id,
                commit=self.commit,
                workflow_sha256="w",
                environment=request.environment,
                artifact_digest=rules.artifact_digest,
            ),
            reviewers=rules.reviewers,
            approvals_needed=rules.approvals_needed,
            self_review=rules.self_review,
            wait_until=now + rules.wait_s if rules.wait_s else 0.0,
            author=self.author,
        )
