"""The protocol that every executor obeys: open a sandbox for a job, run commands in it, close it.

Order: `open` once a job, then any number of `exec`, `read`, `write`, …, then `close` exactly when the job is
over, however it ended. `close` is safe to call twice; it outlives cancellation, and a failed `open` has done
as much by itself. `exec` of one sandbox may run concurrently (background steps). Nothing that a job started
is alive when `close` returns, and nothing that it wrote is left when `end_run` and `finish` have; both are
called when all sandboxes are closed. `sweep` removes what a killed process of ours left behind and is safe
to call at any time, from any process.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from akashic.cancellation import Cancellation
from akashic.errors import AkashicError

OutputSink = Callable[[bytes], None]
"""Called with raw chunks of merged stdout and stderr, in order, from one thread at a time."""


Say = Callable[[str], None]
"""Takes one line for people, without its end."""


def quiet(_: str) -> None:
    """A `Say` for who does not want to be told."""


class ExecutorError(AkashicError):
    """The place of a job failed (not the job): it cannot be opened, is lost, has no disk or no permission."""


class Unsupported(ExecutorError):
    """The job asks for what this executor cannot do; the message names the executors that can."""


class ServiceFailed(ExecutorError):
    """A service did not become healthy; the message ends with the last lines of its log."""


class Tree(msgspec.Struct, frozen=True, kw_only=True):
    """The repository that a run is about: `root` is the folder that holds `.github/workflows` (it may lie
    below the top of the git checkout), `commit` the commit, `dirty` whether the uncommitted tree is meant."""

    root: str
    commit: str
    dirty: bool = False


class ServiceSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A service container, evaluated: as `jobs.<id>.services.<name>` says. `ports` are strings as written
    ("5432", "5433:5432", "53/udp"); `options` is docker's create options as one string."""

    name: str
    image: str
    env: dict[str, str] = {}
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    options: str = ""
    credentials: dict[str, str] = {}
    command: str = ""
    entrypoint: str = ""


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A job container, evaluated: as `jobs.<id>.container` says."""

    image: str
    env: dict[str, str] = {}
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    options: str = ""
    credentials: dict[str, str] = {}


class SandboxSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a job needs of its place. `job_key` and `attempt` make the sandbox's name with `run_id`;
    `mode` is the user's `--sandbox`: `off` asks for no isolation, `strict` refuses to run without it."""

    run_id: str
    job_key: str
    attempt: int
    repository: str
    tree: Tree
    labels: tuple[str, ...] = ()
    container: ContainerSpec | None = None
    services: tuple[ServiceSpec, ...] = ()
    mode: Literal["auto", "strict", "off"] = "auto"
    shared_paths: tuple[str, ...] = ()
    """Folders of this machine that stay visible and writable at their own path (the state folder, so that
    `akashic deploy` works inside a step); everything else is the executor's choice."""
    memory_bytes_max: int | None = None
    processes_max: int | None = None
    trust: Literal["trusted", "fork"] = "trusted"
    """A fork's job gets no part of what other jobs read, and nothing of this machine by asking for it."""
    resumes: int = 0
    """The attempt whose kept place is taken up again (`KeepingExecutor`); 0: a new place."""


class ServiceInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A running service as `job.services.<name>` shows it. `ports` maps the container's port to the one that
    the job reaches it on (both as strings); `notes` says what differs from a container (a port moved, …)."""

    name: str
    id: str
    network: str
    host: str
    ports: dict[str, str]
    notes: tuple[str, ...] = ()


class ExitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a command ended: its exit code (128 + signal when killed), and whether we ended it and why."""

    code: int
    cancelled: bool = False
    timed_out: bool = False


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What an executor can do, asked before the first job starts."""

    name: str
    job_containers: bool
    docker_actions: bool
    isolation: str = ""


class Sandbox(Protocol):
    """A job's place while it lives. All paths are as the job sees them, absolute."""

    workspace: str
    """GITHUB_WORKSPACE: empty until a checkout fills it."""
    temp: str
    """RUNNER_TEMP: empty at the start, gone at the end."""
    tool_cache: str
    """RUNNER_TOOL_CACHE: shared between jobs."""
    home: str
    os: str
    """RUNNER_OS: Linux, macOS or Windows."""
    arch: str
    """RUNNER_ARCH: X64, ARM64, …"""
    services: Mapping[str, ServiceInfo]
    container: Mapping[str, Any]
    """The `job.container` context; empty when the job has none."""
    notes: Sequence[str]
    """What a user should know: what could not be isolated, which port moved."""
    base_env: Mapping[str, str]
    """The environment that a process starts from (PATH, HOME, LANG, …); nothing of the user's secrets."""

    def exec(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str],
        cwd: str,
        on_output: OutputSink,
        cancellation: Cancellation,
        timeout_s: float | None = None,
        stdin: bytes | None = None,
    ) -> ExitStatus:
        """Run a command to its end. `env` is the whole environment. On cancellation or time-out the command's
        processes get SIGINT, SIGTERM after 7.5 s and SIGKILL after 2.5 s more (GitHub's runner), at once when
        `cancellation.force`. A command that cannot be started ends with code 127 (not found) or 126 and a
        line of output that says so."""
        ...

    def write(self, path: str, content: bytes, *, executable: bool = False) -> None:
        """Write a file, making its folders. Links inside the workspace are not followed out of it."""
        ...

    def read(self, path: str, *, bytes_max: int) -> bytes | None:
        """A file's content up to `bytes_max`, None when there is none."""
        ...

    def host_path(self, path: str) -> str:
        """The path of the same file on this machine, for built-in actions; raises Unsupported where the
        executor's files are not on this machine."""
        ...

    def materialise(self, tree: Tree, destination: str, *, clean: bool) -> None:
        """Put the repository's tree at `destination` below the workspace, as a checkout would (history
        included: git works there), copy-on-write where possible. `clean` removes what was there first."""
        ...

    def image_path(self, path: str) -> str:
        """Where a process of `run_image` finds the file that the job sees at `path`: workspace, home, temp
        and what lies below them. Any other path comes back as it is."""
        ...

    def pull_image(self, image: str, *, on_output: OutputSink, cancellation: Cancellation) -> None:
        """Have `image` on the engine, as the pull policy says. Raises ExecutorError; Unsupported where no
        container can run."""
        ...

    def build_image(
        self, context: str, dockerfile: str, *, on_output: OutputSink, cancellation: Cancellation
    ) -> str:
        """Build `dockerfile` (relative to `context`, a folder of this machine) and return the image's id. The
        same content is built once. Raises ExecutorError with the end of the build's log; Unsupported."""
        ...

    def run_image(
        self,
        image: str,
        *,
        entrypoint: str | None,
        args: Sequence[str],
        env: Mapping[str, str],
        on_output: OutputSink,
        cancellation: Cancellation,
        timeout_s: float | None = None,
    ) -> ExitStatus:
        """Run a container of `image` to its end, as a Docker action runs: on the job's network, in the
        workspace at `image_path(workspace)`, its own entrypoint unless one is given. `env` comes on top of
        the image's. The container is gone afterwards. Ends early as `exec` does."""
        ...

    def service_logs(self, name: str) -> bytes:
        """The service's output so far."""
        ...

    def close(self) -> None:
        """End everything the job started and remove the sandbox. Never raises for what is already gone."""
        ...


@runtime_checkable
class RunnerFiles(Protocol):
    """A sandbox with a folder for the runner's own small files (scripts, environment files), where making
    them is cheap. Others have them in `temp`."""

    runner_files: str


@runtime_checkable
class KeepingSandbox(Protocol):
    """A sandbox that can outlive its job, so that the job can be taken up again where it failed."""

    def keep(self, state: bytes | None) -> None:
        """Have `close` leave all files at their paths, with `state` (JSON; it may hold secrets and is for the
        user's eyes only), within limits of number, size and age. None: remove them, as ever."""
        ...

    def refresh(self, tree: Tree) -> Sequence[str]:
        """Bring what has changed in the repository since its tree was put here; a line for each file."""
        ...


@runtime_checkable
class KeepingExecutor(Protocol):
    """An executor that can open a place again that `KeepingSandbox.keep` left (`SandboxSpec.resumes`)."""

    def kept_state(self, run_id: str, job_key: str, attempt: int) -> bytes | None:
        """What `keep` was given for this attempt; None when its place is not kept (any more)."""
        ...


@runtime_checkable
class NetworkedSandbox(Protocol):
    """A sandbox whose processes have a network of their own: this machine's loopback is not theirs."""

    def host_address(self) -> str:
        """The address of this machine that they reach it by: the gateway of the job's network, which this
        machine can listen on where the engine is its own. Empty when there is none. Raises ExecutorError."""
        ...


class Executor(Protocol):
    """A kind of place for jobs."""

    @property
    def capabilities(self) -> Capabilities: ...

    def open(self, spec: SandboxSpec, *, cancellation: Cancellation, say: Say = quiet) -> Sandbox:
        """A sandbox with its services healthy. What takes long (an image that is pulled) is told to `say`
        while it lasts, from one thread at a time. Raises ExecutorError; leaves nothing behind when it
        does."""
        ...

    def end_run(self) -> None:
        """Have gone what an engine holds for this run's closed sandboxes: called while somebody still waits
        for the run, because an engine may be away later. An executor without one has nothing to do."""
        ...

    def finish(self) -> None:
        """Wait until what closed sandboxes left on this machine to be removed beside the work is gone. Nobody
        need wait for it but the end of the process, which does, whether it calls this or not."""
        ...

    def sweep(self) -> Sequence[str]:
        """Remove what crashed processes left; a line for each thing removed."""
        ...
