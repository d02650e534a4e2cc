"""What passes between the engine and whoever runs a job: the request, the reports, the result.

A request holds no secret: secrets are resolved where the job runs, through `secret_frames`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from akashic.workflow.model import Job, RunDefaults, Template

Conclusion = Literal["success", "failure", "cancelled", "skipped", "timed_out", "interrupted"]
"""How a job, run or step ended. Contexts (`needs.x.result`, `steps.x.outcome`) show the four of GitHub:
`timed_out` reads as `failure` there (a job that exceeds its own timeout is cancelled on GitHub and reads as
`cancelled`), `interrupted` as `failure`."""

Trust = Literal["trusted", "fork"]
"""A fork's run gets no secrets, a read-only token, no OIDC, no cache write, no deployment."""


class SecretFrame(msgspec.Struct, frozen=True, kw_only=True):
    """How one reusable-workflow call hands secrets down: "inherit", or a template evaluated with the
    caller's contexts (`contexts`) and the caller's secrets. Frames go from the outermost call inward."""

    mapping: Template | Literal["inherit"] | None
    contexts: dict[str, Any]


class GateBinding(msgspec.Struct, frozen=True, kw_only=True):
    """What an approval holds for, and for nothing else."""

    run_id: str
    commit: str
    workflow_sha256: str
    environment: str
    artifact_digest: str = ""


class Resumption(msgspec.Struct, frozen=True, kw_only=True):
    """Where an attempt begins that takes up a failed one in its kept workspace: the attempt that failed, and
    the first step that runs (an index of the job's steps; those before it are not run again)."""

    attempt: int
    first_step: int


class JobRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that is needed to run one job instance once.

    `key` names the instance in the run: the job's id, with `(0)`, `(1)`, … for matrix instances and with
    `caller/` in front inside a reusable workflow. `idempotency_key` is unique to run, job and attempt.
    Contexts are plain data as GitHub documents them; `github` lacks what only the runner knows (`action`,
    `workspace`, `token`, `event_path`, …).
    """

    run_id: str
    key: str
    attempt: int
    idempotency_key: str
    name: str
    job: Job
    workflow_path: str
    workflow_env: Template | None = None
    workflow_defaults: RunDefaults = RunDefaults()
    labels: tuple[str, ...] = ()
    runner_group: str = ""
    github: dict[str, Any]
    needs: dict[str, Any] = {}
    matrix: dict[str, Any] | None = None
    strategy: dict[str, Any] = {}
    inputs: dict[str, Any] = {}
    vars: dict[str, Any] = {}
    environment: str = ""
    binding: GateBinding | None = None
    permissions: dict[str, str] | str | None = None
    secret_frames: tuple[SecretFrame, ...] = ()
    timeout_s: float = 360 * 60
    cancel_timeout_s: float = 300.0
    """How long a step may take that runs although the job was cancelled."""
    continue_on_error: bool = False
    trust: Trust = "trusted"
    base_ref_scope: str = ""
    resumption: Resumption | None = None

    @property
    def run_attempt(self) -> int:
        """Which attempt of the run this belongs to, as `github.run_attempt` tells: what the jobs of a run
        hand to each other counts by it. `attempt` counts the starts of this job alone."""
        return int(self.github.get("run_attempt") or self.attempt)


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """A notice, warning or error that a step left, with its place in the repository when it gave one."""

    level: Literal["debug", "notice", "warning", "error"]
    message: str
    title: str = ""
    file: str = ""
    line: int = 0
    end_line: int = 0
    column: int = 0
    end_column: int = 0


class StepReport(msgspec.Struct, frozen=True, kw_only=True):
    """One step that ended. `number` counts what people see from 1, set-up and post steps included;
    `outcome` is before `continue-on-error`, `conclusion` after. Times are seconds since the epoch."""

    number: int
    name: str
    id: str = ""
    outcome: Conclusion
    conclusion: Conclusion
    started_at: float
    duration_s: float
    error: str = ""
    annotations: tuple[Annotation, ...] = ()
    log_from: int = 0
    log_to: int = 0
    reused_from: int = 0
    """The attempt in which it really ran, and whose log has its lines; 0: this one."""


class TestReport(msgspec.Struct, frozen=True, kw_only=True):
    """Figures recognised in the files that steps left: JUnit, coverage, SARIF."""

    kind: Literal["junit", "coverage", "sarif"]
    path: str
    title: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    errors: int = 0
    coverage_percent: float | None = None
    findings: dict[str, int] = {}
    digest: str = ""


class JobResult(msgspec.Struct, frozen=True, kw_only=True):
    """How one job instance ended. `outputs` are masked as GitHub does (an output that holds a secret is
    dropped and a warning is left)."""

    conclusion: Conclusion
    outputs: dict[str, str] = {}
    reason: str = ""
    environment_url: str = ""
    started_at: float = 0.0
    duration_s: float = 0.0
    summary: str = ""
    annotations: tuple[Annotation, ...] = ()
    reports: tuple[TestReport, ...] = ()
    notes: tuple[str, ...] = ()
