"""What can happen to a run. A run's state is a fold over these; they hold no secret.

Streams: `run/<run id>`. Times are seconds since the epoch and come with the record (`at`) unless said.
"""

from __future__ import annotations

from typing import Any

import msgspec

from akashic.engine.requests import Conclusion, GateBinding, JobResult, Resumption, StepReport, Trust


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """The base of all events of a run; the tag is the class's name."""


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which part of a workflow was asked for: job ids (their needs come along), and matrix values."""

    jobs: tuple[str, ...] = ()
    matrix: dict[str, tuple[str, ...]] = {}


class RunCreated(Event, frozen=True, kw_only=True):
    """A workflow was triggered. `sources` holds the text of every file that the plan depends on: the workflow
    itself (`workflow_path`) and each reusable workflow by its `uses:` reference, so that a fold needs no
    file. `github` is the job-independent part of the `github` context."""

    run_id: str
    number: int
    """`github.run_number`: counts the runs of this workflow."""
    sequence: int = 0
    """Counts all runs of the repository: what people type."""
    attempt: int = 1
    repository: str
    repository_root: str
    commit: str
    dirty: bool = False
    workflow_path: str
    workflow_sha256: str
    sources: dict[str, str]
    event_name: str
    actor: str
    """What the workflow sees, which `--actor` chooses."""
    started_by: str = ""
    """Who began it, as the machine knows them; empty in old records."""
    trust: Trust = "trusted"
    github: dict[str, Any]
    inputs: dict[str, Any] = {}
    vars: dict[str, Any] = {}
    environment_vars: dict[str, dict[str, str]] = {}
    filter: JobFilter = JobFilter()
    executor: str = "host"
    options: dict[str, Any] = {}
    jobs_max: int = 0


class JobInstance(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of a job's matrix, or the only one. `matrix` is None without a matrix."""

    key: str
    name: str
    matrix: dict[str, Any] | None = None
    strategy: dict[str, Any] = {}


class JobExpanded(Event, frozen=True, kw_only=True):
    """A job's needs are met and its `if` held: its instances are known. `job` is the job's path in the run
    (`build`, `deploy/migrate` inside the call `deploy`)."""

    job: str
    instances: tuple[JobInstance, ...]


class JobSkipped(Event, frozen=True, kw_only=True):
    """A job does not run: its `if` was false or a need did not succeed."""

    job: str
    reason: str


class JobRefused(Event, frozen=True, kw_only=True):
    """A job, or one instance of it, cannot run: an expression failed, a matrix is empty or too big, an
    environment refuses the branch. `job` is the job's path or the instance's key."""

    job: str
    reason: str


class GateOpened(Event, frozen=True, kw_only=True):
    """A job instance waits for its environment's protection rules: the rules as they were at this moment.
    `wait_until` is when the wait timer ends (0: none)."""

    key: str
    environment: str
    binding: GateBinding
    reviewers: tuple[str, ...] = ()
    approvals_needed: int = 0
    self_review: bool = True
    wait_until: float = 0.0
    author: str = ""


class GateReviewed(Event, frozen=True, kw_only=True):
    """Somebody approved or rejected, having seen exactly `binding`."""

    key: str
    by: str
    approved: bool
    comment: str = ""
    binding: GateBinding


class GatePassed(Event, frozen=True, kw_only=True):
    """All protection rules of a job instance hold; it may start."""

    key: str
    approved_by: tuple[str, ...] = ()


class GateReopened(Event, frozen=True, kw_only=True):
    """What was approved is no longer what would run; the gate asks again with a new binding."""

    key: str
    binding: GateBinding
    reason: str


class ConcurrencyWaiting(Event, frozen=True, kw_only=True):
    """A run (`key` empty) or job instance asked for its concurrency group and waits."""

    key: str
    group: str


class ConcurrencyAcquired(Event, frozen=True, kw_only=True):
    """The run or job instance holds its concurrency group."""

    key: str
    group: str


class ConcurrencyReleased(Event, frozen=True, kw_only=True):
    """The run or job instance has left its concurrency group, held or waited for."""

    key: str
    group: str


class JobStarted(Event, frozen=True, kw_only=True):
    """The intent to start: appended before the port is asked. At most one for each key and attempt. For a
    call of a reusable workflow (`executor` "call") it opens the call."""

    key: str
    attempt: int
    idempotency_key: str
    executor: str
    resumption: Resumption | None = None


class StepFinished(Event, frozen=True, kw_only=True):
    """A step of a job instance ended."""

    key: str
    attempt: int
    step: StepReport


class JobFinished(Event, frozen=True, kw_only=True):
    """A job instance ended, or the call of a reusable workflow. An attempt that was never started (cancelled
    while it waited) ends with the number of the attempt before it, 0 for none."""

    key: str
    attempt: int
    result: JobResult


class JobInterrupted(Event, frozen=True, kw_only=True):
    """The process that ran the attempt is gone and its outcome is unknown."""

    key: str
    attempt: int
    reason: str


class CancelRequested(Event, frozen=True, kw_only=True):
    """Somebody or something wants the run (`key` empty), one job instance or one job to end. `force` spares
    nothing: neither jobs whose `if` holds for a cancelled run nor grace periods."""

    key: str = ""
    by: str
    reason: str
    force: bool = False


class RunFinished(Event, frozen=True, kw_only=True):
    """Nothing is left to do."""

    conclusion: Conclusion
    outputs: dict[str, str] = {}


class RunResumed(Event, frozen=True, kw_only=True):
    """A new driver took the run on after its driver died, or jobs are run again (`jobs`: keys of instances or
    paths of jobs; what depends on them runs again too). `resumptions` says by instance where one of them is
    taken up in its kept workspace. `sources`, with the digest `workflow_sha256`, stand in for those of
    RunCreated from here on (empty: as they were)."""

    by: str
    jobs: tuple[str, ...] = ()
    resumptions: dict[str, Resumption] = {}
    sources: dict[str, str] = {}
    workflow_sha256: str = ""


RunEvent = (
    RunCreated
    | JobExpanded
    | JobSkipped
    | JobRefused
    | GateOpened
    | GateReviewed
    | GatePassed
    | GateReopened
    | ConcurrencyWaiting
    | ConcurrencyAcquired
    | ConcurrencyReleased
    | JobStarted
    | StepFinished
    | JobFinished
    | JobInterrupted
    | CancelRequested
    | RunFinished
    | RunResumed
)
