"""Jobs on this machine, isolated with Linux namespaces where that is allowed."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256

import msgspec

from akashic import errors
from akashic.cancellation import Cancellation
from akashic.executors.forks import tools_for
from akashic.executors.host import isolation, keeping, sweeping
from akashic.executors.host.environment import base_env
from akashic.executors.host.git_folders import git_folders
from akashic.executors.host.marker import write_owner
from akashic.executors.host.namespaces import NamespacePlace, View
from akashic.executors.host.place import AgentPlace, Place
from akashic.executors.host.removing import Remover
from akashic.executors.host.sandbox import HostSandbox, Layout
from akashic.executors.host.sandbox_folder import remove_folder
from akashic.executors.host.spreading import spread
from akashic.executors.protocol import (
    Capabilities,
    ExecutorError,
    SandboxSpec,
    Say,
    Unsupported,
    quiet,
)
from akashic.executors.without_images import CONTAINER_EXECUTORS


class HostExecutor:
    """See `akashic.executors.protocol.Executor`.

    `state_dir` is the repository's state folder (sandboxes lie in its `work/`, prepared trees in its
    `trees/`), `tool_cache` is shared by all jobs, `cache_dir` keeps what services need to start fast. Call
    `prepare` before starting threads, unless isolation is not wanted.
    """

    def __init__(
        self, *, state_dir: str, cache_dir: str, tool_cache: str, environ: Mapping[str, str]
    ) -> None:
        self._state_dir = os.path.realpath(state_dir)
        self._work = os.path.join(self._state_dir, "work")
        self._trees = os.path.join(self._state_dir, "trees")
        self._cache_dir = cache_dir
        self._tool_cache = tool_cache
        self._environ = dict(environ)
        self._remover = Remover()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            name="host",
            job_containers=False,
            docker_actions=False,
            isolation=isolation.describe(),
        )

    def open(self, spec: SandboxSpec, *, cancellation: Cancellation, say: Say = quiet) -> HostSandbox:
        if spec.container is not None:
            raise Unsupported(
                f"job {spec.job_key} runs in the container {spec.container.image}, "
                "and the host executor runs no containers",
                hint=f"executors that can: {CONTAINER_EXECUTORS}",
            )
        kept = self._take_up(spec) if spec.resumes else None
        folder = self._claim(spec) if kept is None else f"{self._work}/{kept.mark}"
        place: Place | None = None
        sandbox: HostSandbox | None = None
        try:
            layout = Layout.make(folder, spec.repository if kept is None else kept.repository)
            tools = tools_for(spec, self._tool_cache)
            os.makedirs(tools, exist_ok=True)
            place, notes = self._place(spec, layout)
            mark = os.path.basename(folder)
            sandbox = HostSandbox(
                spec=spec,
                layout=layout,
                place=place,
                base_env=base_env(
                    self._environ, home=layout.home, ceiling=folder, mark=mark, cache_view=place.overlays
                ),
                tool_cache=tools,
                trees=self._trees,
                environ=self._environ,
                notes=notes,
                state_dir=self._state_dir,
                remove=self._remover.remove,
            )
            if kept is not None:
                sandbox.restore(kept.trees, kept.overlays)
            if spec.services:
                sandbox.start_services(spec.services, self._cache_dir, cancellation)
        except OSError as error:
            self._undo(spec, folder, place, sandbox, kept)
            raise ExecutorError(f"cannot open a sandbox in {folder}: {error}") from error
        except BaseException:
            self._undo(spec, folder, place, sandbox, kept)
            raise
        return sandbox

    def prepare(self) -> str:
        """Find out whether jobs can be isolated, and why not (empty: they can). Call it while this process
        has one thread: without root it then moves into a user namespace, which later is not possible."""
        return isolation.probe().missing

    def end_run(self) -> None:
        """See `akashic.executors.protocol.Executor`; there is no engine."""

    def finish(self) -> None:
        self._remover.finish()

    def sweep(self) -> Sequence[str]:
        return (*sweeping.sweep(self._work), *keeping.prune(self._state_dir, time.time()))

    def kept_state(self, run_id: str, job_key: str, attempt: int) -> bytes | None:
        """See `akashic.executors.protocol.KeepingExecutor`."""
        kept = keeping.find(self._state_dir, run_id, job_key, attempt)
        return None if kept is None else bytes(kept.state)

    def _take_up(self, spec: SandboxSpec) -> keeping.Kept:
        kept = keeping.take_up(self._state_dir, spec)
        # Services begin anew: their data belonged to processes that are dead.
        shutil.rmtree(f"{self._work}/{kept.mark}/_services", ignore_errors=True)
        return kept

    def _claim(self, spec: SandboxSpec) -> str:
        """A new folder for this sandbox, ours before anything lies in it."""
        identity = f"{spec.run_id}\0{spec.job_key}\0{spec.attempt}"
        mark = sha256(identity.encode()).hexdigest()[:12]
        folder = f"{self._work}/{mark}"
        try:
            self._make(spec, folder)
        except OSError as error:
            raise ExecutorError(f"cannot make a folder in {self._work}: {error.strerror}") from error
        try:
            write_owner(folder, mark=mark, run_id=spec.run_id, job_key=spec.job_key)
        except BaseException:
            remove_folder(folder)
            raise
        return folder

    def _make(self, spec: SandboxSpec, folder: str) -> None:
        os.makedirs(self._work, exist_ok=True)
        spread(self._work)
        try:
            os.mkdir(folder)
        except FileExistsError:
            if not sweeping.remove_if_dead(folder):
                raise ExecutorError(
                    f"the sandbox of job {spec.job_key} (attempt {spec.attempt}) is open already",
                    hint="another process runs this job; wait for it, or start a new run",
                ) from None
            os.mkdir(folder)

    def _place(self, spec: SandboxSpec, layout: Layout) -> tuple[Place, Sequence[str]]:
        mark = os.path.basename(layout.folder)
        if spec.mode == "off":
            return AgentPlace(mark, ()), ("isolation is off: the job sees and can change this machine",)
        missing = isolation.probe().missing
        if not missing:
            return NamespacePlace(self._view(spec, layout)), ()
        if spec.mode == "strict":
            raise ExecutorError(
                f"job {spec.job_key} must be isolated, and that is not possible here: {missing}",
                hint="run it with --sandbox auto, or with an executor that isolates: " + CONTAINER_EXECUTORS,
            )
        return AgentPlace(mark, ()), (f"not isolated from this machine: {missing}",)

    def _view(self, spec: SandboxSpec, layout: Layout) -> View:
        return View(
            folder=layout.folder,
            temporary=layout.scratch + "/own",
            home=layout.home,
            scratch=layout.scratch,
            runner_files=layout.runner_files,
            real_home=self._environ.get("HOME", "/"),
            writable=[
                os.path.realpath(path) for path in (*spec.shared_paths, tools_for(spec, self._tool_cache))
            ],
            readable=[
                os.path.realpath(spec.tree.root),
                *git_folders(spec.tree.root),
                self._trees,
                *self._programs,
            ],
            marks={"AKASHIC_JOB": spec.job_key, "AKASHIC_STATE": self._state_dir},
            # The journal, the logs of others, the socket of what supervises releases.
            hidden=[self._state_dir] if spec.trust == "fork" else [],
        )

    @cached_property
    def _programs(self) -> list[str]:
        """The folders that programs live in: those of PATH with what stands beside them, Python's, and where
        we were imported from, so that a step can call `akashic` of an editable install."""
        searched = [path for path in self._environ.get("PATH", "").split(":") if path.startswith("/")]
        return [
            sys.prefix,
            sys.base_prefix,
            os.path.dirname(os.path.dirname(os.path.realpath(errors.__file__))),
            *(os.path.dirname(os.path.realpath(path)) for path in searched),
        ]

    def _undo(
        self,
        spec: SandboxSpec,
        folder: str,
        place: Place | None,
        sandbox: HostSandbox | None,
        kept: keeping.Kept | None,
    ) -> None:
        if sandbox is not None:
            sandbox.keep(None if kept is None else bytes(kept.state))
            sandbox.close()
        elif place is not None:
            with contextlib.suppress(OSError):
                place.close()
        if kept is None:
            remove_folder(folder)
        elif sandbox is None:
            # Nothing has run in it: it can be taken up once more, after this attempt.
            keeping.save(self._state_dir, msgspec.structs.replace(kept, attempt=spec.attempt))
