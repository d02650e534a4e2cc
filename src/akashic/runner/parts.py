"""What the runner is built from, and what it asks of whoever watches: breakpoints and whole blocks of log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

import msgspec

from akashic.driver.ports import Clock
from akashic.engine.requests import JobRequest
from akashic.executors.protocol import Executor, Sandbox, Tree

if TYPE_CHECKING:
    from akashic.journal.artifacts import ArtifactStore
    from akashic.journal.blobs import BlobStore
    from akashic.journal.caches import CacheStore
    from akashic.journal.logs import LogStore
    from akashic.runner.actions.resolve import ActionResolver

SecretSource = Callable[[str, str], Mapping[str, str]]
"""(environment, trust) to the secrets a job may see, names in upper case; "" is the repository's own scope.
Never called for a fork."""


class JobServices(Protocol):
    """The services that one job's actions call. `secrets` are its tokens."""

    @property
    def secrets(self) -> tuple[str, ...]: ...

    def action_variables(self) -> dict[str, str]: ...

    def script_variables(self) -> dict[str, str]: ...

    def close(self) -> None: ...


OpenServices = Callable[[JobRequest, str], JobServices]
"""Let a job in at the services; the text is the address of this machine that its processes reach it by."""

Answer = Literal["retry", "continue", "abort"]
"""How a person leaves a breakpoint: run the step (again), go on with what happened, end the job."""


class Stop(msgspec.Struct, frozen=True, kw_only=True):
    """A step at which the job stands still: before it runs (`before`) or after it failed (`failed`). `env`
    and `cwd` are exactly what the step's process gets; they hold secrets and are for the shell only."""

    job_key: str
    number: int
    name: str
    id: str
    moment: Literal["before", "failed"]
    reason: str
    sandbox: Sandbox
    env: Mapping[str, str]
    cwd: str
    cancelled: Callable[[], bool] = lambda: False
    """Whether the job is to end, so that nobody needs to answer any more."""


class Breakpoint(Protocol):
    """Called in the job's thread; the job waits for the answer."""

    def __call__(self, stop: Stop) -> Answer: ...


@runtime_checkable
class BlockReporter(Protocol):
    """A `JobReporter` that takes whole blocks of lines, so that a million lines are not a million calls."""

    def lines(self, number: int, block: str) -> None:
        """Complete lines of a step's log, each ending with a newline."""
        ...


class RunnerParts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that jobs share. `executable_folder` holds the `akashic` script and is appended to PATH.

    `break_at` names steps as `job/step` (the job's key or id; the step's id, name or number)."""

    executor: Executor
    tree: Tree
    repository: str
    logs: LogStore
    blobs: BlobStore
    artifacts: ArtifactStore
    caches: CacheStore
    secrets: SecretSource
    clock: Clock
    state_dir: Path
    actions: ActionResolver
    open_services: OpenServices | None = None
    sandbox_mode: Literal["auto", "strict", "off"] = "auto"
    extra_env: Mapping[str, str] = msgspec.field(default_factory=dict)
    executable_folder: str = ""
    step_debug: bool = False
    breakpoint: Breakpoint | None = None
    break_on_failure: bool = False
    break_at: frozenset[str] = frozenset()
    memory_bytes_max: int | None = None
    processes_max: int | None = None
    keep_failed: bool = False
    """Whether the place of a job that failed is kept, to take the job up there again."""
    newest_tree: Callable[[], Tree] | None = None
    """The repository as it is now, for a job that is taken up again; None: as it was."""
