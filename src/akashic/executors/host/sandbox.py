"""A job's place on this machine."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from akashic.cancellation import Cancellation
from akashic.executors import process
from akashic.executors.architecture import machine_architecture
from akashic.executors.host import keeping, workspace
from akashic.executors.host.limits import Limited
from akashic.executors.host.paths import Roots
from akashic.executors.host.place import Place
from akashic.executors.host.refreshing import refresh
from akashic.executors.host.sandbox_folder import free_overlay
from akashic.executors.protocol import (
    ExecutorError,
    ExitStatus,
    OutputSink,
    SandboxSpec,
    ServiceInfo,
    ServiceSpec,
    Tree,
)
from akashic.executors.without_images import WithoutImages

if TYPE_CHECKING:
    from akashic.executors.host.services import Services


class Layout(msgspec.Struct, frozen=True, kw_only=True):
    """A sandbox's folders: `folder` holds everything that goes with it."""

    folder: str
    workspace: str
    temp: str
    home: str
    scratch: str
    services: str
    runner_files: str

    @classmethod
    def make(cls, folder: str, repository: str) -> Layout:
        """The folders of a sandbox, made where they are missing."""
        layout = cls(
            folder=folder,
            workspace=f"{folder}/{workspace.folder_name(repository)}",
            temp=f"{folder}/_temp",
            home=f"{folder}/_home",
            scratch=f"{folder}/_scratch",
            services=f"{folder}/_services",
            runner_files=f"{folder}/_runner",
        )
        # Each folder costs: that of the services is made when there are any.
        for path in (layout.workspace, layout.temp, layout.home, layout.scratch, layout.runner_files):
            os.makedirs(path, exist_ok=True)
        return layout


class HostSandbox(WithoutImages):
    """See `akashic.executors.protocol.Sandbox`.

    With isolation, the thread that opened it (and threads that it starts afterwards) sees the job's files at
    their own paths until `close`, so `host_path` changes nothing; `read` and `write` work from any thread.
    """

    os = "Linux"

    def __init__(
        self,
        *,
        spec: SandboxSpec,
        layout: Layout,
        place: Place,
        base_env: Mapping[str, str],
        tool_cache: str,
        trees: str,
        environ: Mapping[str, str],
        notes: Sequence[str],
        state_dir: str,
        remove: Callable[[str], None],
    ) -> None:
        self.workspace = layout.workspace
        self.temp = layout.temp
        self.home = layout.home
        self.runner_files = layout.runner_files
        self.tool_cache = tool_cache
        self.arch = machine_architecture()
        self.services: Mapping[str, ServiceInfo] = {}
        self.container: Mapping[str, Any] = {}
        self.notes: Sequence[str] = [*notes, *place.notes]
        self.base_env: Mapping[str, str] = dict(base_env)
        self._layout = layout
        self._remove = remove
        self._launcher = Limited(
            place,
            spec.memory_bytes_max,
            spec.processes_max,
            name=os.path.basename(layout.folder),
            folder=layout.scratch,
        )
        self.notes = [*self.notes, *self._launcher.notes]
        self._place = place
        self._trees = trees
        self._environ = environ
        self._services: Services | None = None
        shared = filter(os.path.isdir, (tool_cache, *spec.shared_paths))
        seen = list(dict.fromkeys((layout.folder, *shared)))
        self._roots = Roots(dict(zip(seen, place.open_folders(seen), strict=True)))
        self._leftovers = process.Leftovers()
        self._prepared: list[workspace.Prepared] = []
        self._overlays: dict[str, str] = {}
        self._checked_out: dict[str, str] = {}
        self._spec = spec
        self._state_dir = state_dir
        self._to_keep: bytes | None = None
        self._lock = threading.Lock()
        self._closed = False

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
        if self._closed:
            raise ExecutorError("the sandbox is closed")
        status = process.run(
            self._launcher,
            argv,
            env=env,
            cwd=cwd,
            on_output=on_output,
            cancellation=cancellation,
            timeout_s=timeout_s,
            stdin=stdin,
            leftovers=self._leftovers,
        )
        if status.code and self._launcher.newly_killed():
            on_output(b"Killed: the job's memory limit is used up\n")
        return status

    def interactive(self, argv: list[str], *, env: dict[str, str], cwd: str) -> int:
        """Run a command on this process's terminal, inside the job; see `runner.breakpoints`."""
        from akashic.executors.host.interactive import run_on_terminal  # only who stands at a breakpoint

        try:
            return run_on_terminal(self._launcher, argv, env=env, cwd=cwd)
        except OSError as error:
            raise ExecutorError(f"cannot open a shell in {cwd}: {error.strerror}") from error

    def write(self, path: str, content: bytes, *, executable: bool = False) -> None:
        self._roots.write(path, content, executable=executable)

    def read(self, path: str, *, bytes_max: int) -> bytes | None:
        return self._roots.read(path, bytes_max)

    def host_path(self, path: str) -> str:
        return path

    def materialise(self, tree: Tree, destination: str, *, clean: bool) -> None:
        self._roots.locate(destination)
        destination = os.path.normpath(destination)
        root = os.path.realpath(self.workspace)
        if not (os.path.realpath(destination) + "/").startswith(root + "/"):
            raise ExecutorError(f"{destination} leads out of the workspace")
        prepared = workspace.prepare(tree, self._trees, self._environ)
        with self._lock:
            self._prepared.append(prepared)
        os.makedirs(destination, exist_ok=True)
        if clean:
            if destination in self._overlays:
                self._place.remove_overlay(destination)
                shutil.rmtree(self._overlays.pop(destination), ignore_errors=True)
            workspace.empty(destination)
        self._checked_out[destination] = prepared.path
        if self._place.overlays and not os.listdir(destination):
            with self._lock:
                scratch = self._free_scratch()
            if self._place.overlay(prepared.path, destination, scratch):
                self._overlays[destination] = scratch
                return
        workspace.copy(prepared.path, destination, self._environ)

    def _free_scratch(self) -> str:
        number = 1
        while os.path.lexists(f"{self._layout.scratch}/{number}"):
            number += 1
        return f"{self._layout.scratch}/{number}"

    def keep(self, state: bytes | None) -> None:
        """See `akashic.executors.protocol.KeepingSandbox`."""
        self._to_keep = state

    def restore(self, trees: Mapping[str, str], overlays: Mapping[str, str]) -> None:
        """Show what was checked out before this place was kept. Raises ExecutorError."""
        for destination, path in trees.items():
            self._prepared.append(workspace.hold(path))
            self._checked_out[destination] = path
            scratch = overlays.get(destination)
            if scratch is None:
                continue
            if not self._place.overlay(path, destination, scratch):
                raise ExecutorError(
                    f"the kept workspace {destination} cannot be shown again",
                    hint="akashic rerun --failed runs the job from its beginning",
                )
            self._overlays[destination] = scratch

    def refresh(self, tree: Tree) -> Sequence[str]:
        """See `akashic.executors.protocol.KeepingSandbox`."""
        return refresh(tree, self._checked_out, self._trees, self._environ, self._roots.locate)

    def _keep(self) -> bool:
        """Leave the folder for a later sandbox, when it is not too large; whether it stays."""
        assert self._to_keep is not None
        layout = self._layout
        if any(not os.path.isdir(f"{scratch}/upper") for scratch in self._overlays.values()):
            return False  # The changes were in memory, and are gone with the mounts.
        shutil.rmtree(layout.services, ignore_errors=True)
        for scratch in (*self._overlays.values(), f"{layout.scratch}/cache"):
            free_overlay(scratch)
        size_bytes = keeping.size_of(layout.folder, keeping.KEPT_BYTES_MAX)
        if size_bytes > keeping.KEPT_BYTES_MAX:
            return False
        kept = keeping.Kept(
            mark=os.path.basename(layout.folder),
            run_id=self._spec.run_id,
            job_key=self._spec.job_key,
            attempt=self._spec.attempt,
            repository=self._spec.repository,
            trees=self._checked_out,
            overlays=self._overlays,
            size_bytes=size_bytes,
            kept_at=time.time(),
            state=msgspec.Raw(self._to_keep),
        )
        try:
            os.chmod(layout.folder, 0o700)
            keeping.save(self._state_dir, kept)
        except OSError:
            return False
        keeping.prune(self._state_dir, kept.kept_at)
        return True

    def start_services(
        self, specs: Sequence[ServiceSpec], cache_dir: str, cancellation: Cancellation
    ) -> None:
        """Start the job's services and wait until each is healthy. Raises ServiceFailed, Unsupported."""
        # Most jobs have no services, and the providers are a tenth of what we import.
        from akashic.executors.host.services import Services

        started = Services(self._place, self._layout.services, cache_dir)
        self._services = started
        self.services = started.start(specs, cancellation)
        self.notes = [*self.notes, *started.notes]

    def service_logs(self, name: str) -> bytes:
        return b"" if self._services is None else self._services.logs(name)

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
        if self._services is not None:
            self._services.stop()
        self._roots.close()
        self._place.close()
        self._leftovers.close()
        self._launcher.close()
        for prepared in self._prepared:
            prepared.release()
        if self._to_keep is None or not self._keep():
            self._remove(self._layout.folder)
