"""The state of a run: what has happened, indexed for the next decision.

Words: a *frame* is one workflow being executed (the run's own, or a call of a reusable one); a *job* is one
entry of its `jobs:`, named by its path (`build`, `deploy/migrate`); an *instance* is one cell of a job's
matrix, named by its key (`test(0)`); an *attempt* is one start of an instance.

A state is owned by whoever folds it: `apply` changes it in place and hands it back, because a run of ten
thousand jobs must not copy itself at each event. Equal histories give equal states.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from akashic.engine.events import GateOpened, GateReviewed, RunCreated
from akashic.engine.requests import (
    Conclusion,
    GateBinding,
    JobResult,
    Resumption,
    SecretFrame,
    StepReport,
)
from akashic.workflow.model import Job, Workflow

CANCEL_TIMEOUT_S_DEFAULT = 300.0
"""GitHub gives the steps that still run after a cancellation five minutes."""

JobStatus = Literal["waiting", "open", "finished"]
InstanceStatus = Literal["pending", "running", "finished"]
GroupStatus = Literal["waiting", "held"]


class Gate(msgspec.Struct, kw_only=True):
    """The protection rules of an instance's environment, and who has said what about them."""

    opened: GateOpened
    binding: GateBinding
    reviews: list[GateReviewed] = msgspec.field(default_factory=list)
    passed: bool = False
    approved_by: tuple[str, ...] = ()
    note: str = ""


class GroupWish(msgspec.Struct, frozen=True, kw_only=True):
    """A concurrency group that an instance (or the run) must hold; `name` as people see it."""

    name: str
    cancel_in_progress: bool = False
    queue_max: int = 1


class InstancePlan(msgspec.Struct, frozen=True, kw_only=True):
    """The job-level keys of one instance, evaluated."""

    groups: tuple[GroupWish, ...] = ()
    environment: str = ""
    timeout_s: float = 360 * 60
    cancel_timeout_s: float = CANCEL_TIMEOUT_S_DEFAULT
    continue_on_error: bool = False
    labels: tuple[str, ...] = ()
    runner_group: str = ""


class PlanMemo:
    """What `plan_of` found (a string: why the instance cannot run). Not a part of the state, which is equal
    whether it was asked for or not."""

    __slots__ = ("found",)

    def __init__(self) -> None:
        self.found: InstancePlan | str | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PlanMemo)

    __hash__ = None  # type: ignore[assignment]


class InstanceState(msgspec.Struct, kw_only=True):
    """One cell of a job's matrix. Times are those of the events, in seconds since the epoch; 0: not yet."""

    key: str
    path: str
    name: str
    matrix: dict[str, Any] | None = None
    strategy: dict[str, Any] = msgspec.field(default_factory=dict)
    status: InstanceStatus = "pending"
    attempt: int = 0
    idempotency_key: str = ""
    interruptions: int = 0
    conclusion: Conclusion | None = None
    result: JobResult | None = None
    reason: str = ""
    steps: list[StepReport] = msgspec.field(default_factory=list)
    gate: Gate | None = None
    groups: dict[str, GroupStatus] = msgspec.field(default_factory=dict)
    cancel_reason: str = ""
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    plan: PlanMemo = msgspec.field(default_factory=PlanMemo)


class JobState(msgspec.Struct, kw_only=True):
    """One job of one frame. `unmet` counts the needs that have not ended; `lineage_ok` says that this job and
    all it depends on, directly or not, succeeded, `lineage_failed` that one of them failed."""

    path: str
    job: Job
    prefix: str
    needs: tuple[str, ...]
    unmet: int
    status: JobStatus = "waiting"
    dependents: list[str] = msgspec.field(default_factory=list)
    instances: list[str] = msgspec.field(default_factory=list)
    unfinished: int = 0
    running: int = 0
    fail_fast: bool = True
    max_parallel: int = 0
    conclusion: Conclusion | None = None
    conclusions: dict[str, Conclusion] = msgspec.field(default_factory=dict)
    """Of the instances, after `continue-on-error`."""
    outputs: dict[str, str] = msgspec.field(default_factory=dict)
    reason: str = ""
    lineage_ok: bool = True
    lineage_failed: bool = False
    finished_at: float = 0.0


class Frame(msgspec.Struct, kw_only=True):
    """One workflow being executed. `prefix` is "" for the run's own and `caller/` for a call; `source` is the
    reference that the workflow was found by; `depth` counts calls."""

    prefix: str
    caller: str
    source: str
    workflow: Workflow
    inputs: dict[str, Any]
    secret_frames: tuple[SecretFrame, ...] = ()
    permissions: dict[str, str] | str | None = None
    depth: int = 0
    unfinished: int = 0
    paths: list[str] = msgspec.field(default_factory=list)
    cancel_reason: str = ""


class RunState(msgspec.Struct, kw_only=True):
    """A run. The dicts without values are ordered sets: the agenda of the next decision."""

    created: RunCreated
    attempt: int
    created_at: float
    frames: dict[str, Frame] = msgspec.field(default_factory=dict)
    jobs: dict[str, JobState] = msgspec.field(default_factory=dict)
    instances: dict[str, InstanceState] = msgspec.field(default_factory=dict)
    attempts: dict[str, int] = msgspec.field(default_factory=dict)
    groups: dict[str, GroupStatus] = msgspec.field(default_factory=dict)
    group_wish: GroupWish | None = None
    name: str = ""
    """The `run-name`, evaluated; empty without one."""
    broken: str = ""
    """Why the workflow cannot be run at all."""
    cancelled_by: str = ""
    cancel_reason: str = ""
    cancel_forced: bool = False
    conclusion: Conclusion | None = None
    resumptions: int = 0
    last_at: float = 0.0
    finished_at: float = 0.0
    resumptions_due: dict[str, Resumption] = msgspec.field(default_factory=dict)
    """Instances whose next attempt takes up a kept one."""
    rerun_at: float = 0.0
    """When jobs were last run again; 0: never."""

    ready: dict[str, None] = msgspec.field(default_factory=dict)
    """Jobs whose needs have ended and that are neither expanded nor skipped."""
    queued: dict[str, None] = msgspec.field(default_factory=dict)
    """Instances that wait for nothing but a free place."""
    held_up: dict[str, None] = msgspec.field(default_factory=dict)
    """Instances that need a look at each decision: for a group, a gate, a call, or because they were
    cancelled."""
    running: dict[str, None] = msgspec.field(default_factory=dict)
    """Instances whose attempt a port has (calls are not among them)."""
    calls_held_up: dict[str, None] = msgspec.field(default_factory=dict)
    """Calls under way without a concurrency group of theirs: it was lost while nobody drove the run, or given
    back when the call had ended and jobs of it run again. Nothing of them starts until they hold it."""
    to_cancel: dict[str, str] = msgspec.field(default_factory=dict)
    """Running instances that are to end, and why."""
    to_release: dict[tuple[str, str], None] = msgspec.field(default_factory=dict)
    """Groups of instances that have ended: (key, group)."""
    finished_frames: dict[str, None] = msgspec.field(default_factory=dict)

    @property
    def run_id(self) -> str:
        return self.created.run_id

    @property
    def cancelled(self) -> bool:
        return bool(self.cancelled_by)

    @property
    def finished(self) -> bool:
        return self.conclusion is not None

    def enqueue(self, instance: InstanceState) -> None:
        """Put a pending instance on the agenda."""
        job = self.jobs[instance.path].job
        plain = job.concurrency is None and job.environment is None and job.uses is None
        self.dequeue(instance.key)
        (self.queued if plain and not instance.cancel_reason else self.held_up)[instance.key] = None

    def dequeue(self, key: str) -> None:
        """Take an instance off the agenda."""
        self.queued.pop(key, None)
        self.held_up.pop(key, None)

    def frame_of(self, job: JobState) -> Frame:
        return self.frames[job.prefix]

    def job_of(self, instance: InstanceState) -> JobState:
        return self.jobs[instance.path]
