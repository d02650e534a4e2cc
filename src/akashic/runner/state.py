"""What a job knows while it runs, and where a step stands in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from akashic.cancellation import Cancellation
from akashic.driver.ports import JobReporter
from akashic.engine.requests import Annotation, Conclusion, JobRequest, StepReport, TestReport
from akashic.errors import AkashicError
from akashic.executors.protocol import Sandbox
from akashic.runner.actions.resolve import ResolvedAction
from akashic.runner.encodings import as_bytes
from akashic.runner.file_slots import FileSlots
from akashic.runner.joblog import JobLog
from akashic.runner.masking import Masker
from akashic.runner.matchers import Matchers
from akashic.runner.parts import JobServices, RunnerParts
from akashic.runner.shells import DEFAULT, Shell
from akashic.workflow.expressions import Scope, Status
from akashic.workflow.model import Step

ANNOTATIONS_MAX = 50
"""GitHub keeps 50 annotations of a job."""
SUMMARY_BYTES_MAX = 20 * 1024 * 1024
"""GitHub shows the summaries of at most 20 steps of 1 MiB."""


class Frame(msgspec.Struct):
    """Where a step stands: among the job's steps, or inside a composite action.

    `env` is the `env` context without the step's own; `contexts` are those that differ from the job's
    (`inputs`, `steps`, `github`). A composite's frame has the frame of the calling step as `parent`.
    """

    env: dict[str, str]
    contexts: dict[str, Any]
    cancellation: Cancellation
    steps: dict[str, Any] = msgspec.field(default_factory=dict)
    failed: bool = False
    parent: Frame | None = None
    action: ResolvedAction | None = None
    depth: int = 0
    named: dict[str, int] = msgspec.field(default_factory=dict)
    saved: dict[int, dict[str, str]] = msgspec.field(default_factory=dict)
    """What actions saved for their later parts, by the identity of the step that uses them."""
    prepared: dict[int, Frame] = msgspec.field(default_factory=dict)
    """Frames of composite actions whose pre parts have run, by the identity of the step that uses them."""

    def fresh_id(self, base: str) -> str:
        """A name for a step without `id`, as GitHub makes them: `__run`, `__run_2`."""
        count = self.named.get(base, 0) + 1
        self.named[base] = count
        return base if count == 1 else f"{base}_{count}"


class LaterStep(msgspec.Struct, frozen=True):
    """A pre or post step: the step that uses the action, its condition, the frame it belongs to, and what
    it does (called with the `Call`)."""

    step: Step
    name: str
    condition: str
    frame: Frame
    body: Callable[[Any], Conclusion]
    uses: str = ""
    inputs: Mapping[str, str] = msgspec.field(default_factory=dict)
    saved: Mapping[str, str] = msgspec.field(default_factory=dict)
    """With `uses`: what `body` is made from, so that a job that is taken up again can make it once more."""


class JobState(msgspec.Struct):
    """One job attempt in progress. Changed by the job's thread only, apart from what is locked inside."""

    request: JobRequest
    parts: RunnerParts
    reporter: JobReporter
    sandbox: Sandbox
    masker: Masker
    log: JobLog
    cancellation: Cancellation
    contexts: dict[str, Any]
    """The contexts of the job's steps, without `env`."""
    base_env: dict[str, str]
    """What every process starts from: the sandbox's variables, ours, and CI."""
    fixed_env: dict[str, str]
    """GITHUB_*, RUNNER_* and AKASHIC_*: nothing the user sets replaces them."""
    frame: Frame
    slots: FileSlots
    default_shell: Shell = DEFAULT
    """What runs a script that names no shell."""
    nodes: dict[str, str] = msgspec.field(default_factory=dict)
    """The Node.js that runs actions in this job, by the major version that the action wants."""
    matchers: Matchers = msgspec.field(default_factory=Matchers)
    exported: dict[str, str] = msgspec.field(default_factory=dict)
    path: list[str] = msgspec.field(default_factory=list)
    failed: bool = False
    reason: str = ""
    """The first step that failed, and why."""
    aborted: bool = False
    number: int = 1
    annotations: list[Annotation] = msgspec.field(default_factory=list)
    summaries: list[str] = msgspec.field(default_factory=list)
    summary_bytes: int = 0
    reports: list[TestReport] = msgspec.field(default_factory=list)
    finished: list[StepReport] = msgspec.field(default_factory=list)
    """The steps that have ended, in that order."""
    masked: list[str] = msgspec.field(default_factory=list)
    """What steps asked to mask."""
    notes: list[str] = msgspec.field(default_factory=list)
    posts: list[LaterStep] = msgspec.field(default_factory=list)
    actions: dict[str, ResolvedAction] = msgspec.field(default_factory=dict)
    images: dict[str, str] = msgspec.field(default_factory=dict)
    """What Docker actions run: by `docker://…`, or by the Dockerfile's path on this machine."""
    placed: set[str] = msgspec.field(default_factory=set)
    services: JobServices | None = None
    """Opened for the first step that may call them."""
    services_missing: bool = False
    """Whether they could not be opened; said once."""
    lock: threading.RLock = msgspec.field(default_factory=threading.RLock)
    hash_files: Callable[[Sequence[str]], str] = lambda patterns: ""
    started_at: float = 0.0

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for the end, or the job's time is over."""
        return self.cancellation.is_set() or self.aborted

    @property
    def job_status(self) -> Literal["success", "failure", "cancelled"]:
        """`job.status` right now."""
        if self.cancelled:
            return "cancelled"
        return "failure" if self.failed else "success"

    def next_number(self) -> int:
        with self.lock:
            self.number += 1
            return self.number

    def status(self, frame: Frame) -> Status:
        """What status functions answer for a step that stands in `frame`.

        Inside a composite action success and failure are about the action's own steps (GitHub's runner:
        `action_status`), so that an action that cleans up after a failure can run."""
        cancelled = self.cancelled
        if frame.parent is not None:
            ended = frame.cancellation.is_set()
            return Status(
                success=not frame.failed and not ended, failure=frame.failed, cancelled=cancelled or ended
            )
        return Status(
            success=not self.failed and not cancelled,
            failure=self.failed and not cancelled,
            cancelled=cancelled,
        )

    def scope(self, frame: Frame, env: Mapping[str, str], *, with_status: bool = False) -> Scope:
        """What an expression of a step in `frame` sees."""
        job = dict(self.contexts["job"])
        job["status"] = self.job_status
        contexts = {**self.contexts, **frame.contexts, "steps": frame.steps, "env": env, "job": job}
        status = self.status(frame) if with_status else None
        return Scope(contexts=contexts, status=status, hash_files=self.hash_files)

    def export(self, frame: Frame, variables: Mapping[str, str]) -> None:
        """Set variables for all later steps, as GITHUB_ENV does."""
        if not variables:
            return
        self.exported.update(variables)
        standing: Frame | None = frame
        while standing is not None:
            standing.env.update(variables)
            standing = standing.parent

    def prepend_path(self, folders: Sequence[str]) -> None:
        """Put folders in front of PATH for all later steps; the last one comes first."""
        for folder in folders:
            if folder in self.path:
                self.path.remove(folder)
            self.path.append(folder)

    def mask(self, *secrets: str) -> None:
        """Hide what a step says is secret, from now on."""
        self.masked.extend(secrets)
        self.masker.add(*secrets)

    def keep(self, annotations: Sequence[Annotation], summary: str) -> None:
        """Keep what a step left for people, up to GitHub's limits."""
        with self.lock:
            self.annotations.extend(annotations[: max(0, ANNOTATIONS_MAX - len(self.annotations))])
            if summary and self.summary_bytes + len(summary) <= SUMMARY_BYTES_MAX:
                self.summaries.append(summary)
                self.summary_bytes += len(summary)

    def process_env(
        self, env: Mapping[str, str], extra: Mapping[str, str], *, base: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The whole environment of a process: the base, the `env` context, PATH, then what is fixed. `base`
        stands in for the sandbox's variables, and then PATH is the process's own affair."""
        result = {**(self.base_env if base is None else base), **env}
        if self.path and base is None:
            result["PATH"] = ":".join((*reversed(self.path), result.get("PATH", "")))
        result.update(self.fixed_env)
        result.update(extra)
        for name, value in result.items():
            if "\0" in value or "\0" in name or "=" in name or not name:
                raise AkashicError(f"the environment variable {name!r} cannot be given to a process")
            if not value.isascii():
                # An expression can make halves of characters, which no process can be given.
                result[name] = as_bytes(value).decode("utf-8", "surrogateescape")
        return result
