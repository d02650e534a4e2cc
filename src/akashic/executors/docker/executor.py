"""Jobs in containers of an engine on this machine, as GitHub's runner has them.

A job's container starts with an agent as its first process (`agent.py`), which starts the steps; the engine
is asked for the container and its end, and has no part in a step. Files are folders of this machine that the
container sees, so an engine on another machine cannot be used.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from akashic.cancellation import Cancellation
from akashic.containers.engine import Engine
from akashic.containers.errors import EngineError
from akashic.executors.container_options import HOST_IMAGE, ContainerOptions, image_for
from akashic.executors.docker import forks, services, sweeping
from akashic.executors.docker.create_options import CreateOptions, parse_create_options
from akashic.executors.docker.kept import KeptPlaces
from akashic.executors.docker.opening import Opening, Surroundings
from akashic.executors.docker.runtime import prepare_runtime
from akashic.executors.docker.sandbox import DockerSandbox
from akashic.executors.forks import tools_for
from akashic.executors.host.keeping import CONTAINERS_FOLDER, Kept
from akashic.executors.host.marker import write_owner
from akashic.executors.protocol import (
    Capabilities,
    ContainerSpec,
    ExecutorError,
    SandboxSpec,
    Say,
    Unsupported,
    quiet,
)

LATE_S = 600.0
"""How long an engine may take to make what it was asked for before it was lost."""


class DockerExecutor:
    """See `akashic.executors.protocol.Executor`.

    `state_dir` is the repository's state folder (sandboxes lie in its `containers/work/`, prepared trees in
    its `trees/`), `tool_cache` is shared by all jobs in containers, `cache_dir` keeps what the agent needs.
    `options` say which images stand for which `runs-on` labels, and how containers are made.
    """

    def __init__(
        self,
        *,
        state_dir: str,
        cache_dir: str,
        tool_cache: str,
        environ: Mapping[str, str],
        options: ContainerOptions,
    ) -> None:
        folder = os.path.join(os.path.realpath(state_dir), CONTAINERS_FOLDER)
        self._work = f"{folder}/work"
        self._cache_dir = os.path.realpath(cache_dir)
        self._environ = dict(environ)
        self.options = options
        self._engine: Engine | None = None
        self._lock = threading.Lock()
        self._places = KeptPlaces(folder, lambda: self.engine, lambda path: self._remove_folder(path, ""))
        self._left_behind: dict[str, float] = {}
        self._around = Surroundings(
            options=options,
            tool_cache=os.path.realpath(tool_cache),
            cache_dir=self._cache_dir,
            trees=os.path.join(os.path.realpath(state_dir), "trees"),
            environ=self._environ,
            claim=self._claim,
            remove_folder=self._remove_folder,
            places=self._places,
            left_behind=self._left_behind,
        )

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            name="docker",
            job_containers=True,
            docker_actions=True,
            isolation="a container for each job",
        )

    @property
    def engine(self) -> Engine:
        """The engine, found and asked once. Raises ExecutorError."""
        with self._lock:
            if self._engine is None:
                engine = Engine.connect(self._environ)
                if not engine.transport.endpoint.local:
                    raise Unsupported(
                        f"the container engine at {engine.transport.endpoint} is not on this machine, and "
                        f"jobs "
                        "share folders with it",
                        hint="use an engine that listens on a unix socket of this machine",
                    )
                engine.ping()
                self._engine = engine
            return self._engine

    def open(self, spec: SandboxSpec, *, cancellation: Cancellation, say: Say = quiet) -> DockerSandbox:
        try:
            return self._open(spec, cancellation, say)
        except BaseException:
            if spec.resumes:
                self._places.carry_over(spec)
            raise

    def _open(self, spec: SandboxSpec, cancellation: Cancellation, say: Say) -> DockerSandbox:
        if self._left_behind:
            self.sweep()
        container, options = self._wanted(spec)
        planned = [services.plan(service) for service in spec.services]
        around = self._around
        if spec.trust == "fork":
            around = self._around_fork(spec, options, planned)
        try:
            engine = self.engine
            opening = Opening(around, engine, spec, container, options, planned, cancellation, say)
            return opening.run()
        except EngineError as error:
            raise ExecutorError(error.message, hint=error.hint) from error
        except OSError as error:
            raise ExecutorError(f"cannot open a sandbox in {self._work}: {error}") from error

    def _around_fork(
        self, spec: SandboxSpec, options: CreateOptions, planned: Sequence[services.Service]
    ) -> Surroundings:
        """What a fork's job gets of ours. Raises ExecutorError when it asks for more."""
        for service in planned:
            where = f"services.{service.spec.name}"
            forks.check(where, service.options, service.mounts, service.ports)
        chosen, notes = forks.without_privilege(self.options)
        options.notes += notes
        return replace(self._around, options=chosen, tool_cache=tools_for(spec, self._around.tool_cache))

    def end_run(self) -> None:
        self._places.end_run()
        if self._left_behind:
            self.sweep()

    def finish(self) -> None:
        """See `akashic.executors.protocol.Executor`; a sandbox's folder goes when it is closed."""

    def kept_state(self, run_id: str, job_key: str, attempt: int) -> bytes | None:
        """See `akashic.executors.protocol.KeepingExecutor`."""
        return self._places.state(run_id, job_key, attempt)

    def sweep(self) -> Sequence[str]:
        pruned = self._places.prune()
        folders = sweeping.dead_folders(self._work)
        left_behind = set(self._left_behind)
        folders += [path for mark in left_behind if os.path.isdir(path := f"{self._work}/{mark}")]
        try:
            removed = list(sweeping.sweep_engine(self.engine, left_behind))
        except (EngineError, ExecutorError):
            # Who needs an engine is told when a job is opened. The folders tell the next sweep what is left.
            return pruned
        for mark in left_behind:
            if time.monotonic() - self._left_behind.get(mark, 0.0) > LATE_S:
                self._left_behind.pop(mark, None)
        for folder in folders:
            if self._places.is_kept(folder):
                continue
            self._remove_folder(folder, "")
            removed.append(f"removed the sandbox {os.path.basename(folder)}")
        with contextlib.suppress(EngineError, ExecutorError):
            self._places.sweep_images()
        return [*removed, *pruned]

    def _remove_folder(self, folder: str, image: str) -> None:
        """Remove a sandbox's folder, files of the container's users included."""
        if sweeping.remove_sandbox_folder(folder):
            return
        try:
            found = image or next((item.id for item in self.engine.images.list()), "")
            if found:
                sweeping.remove_with_engine(self.engine, folder, found, prepare_runtime(self._cache_dir))
        except (EngineError, ExecutorError):
            return  # The next sweep tries again.

    def _claim(self, spec: SandboxSpec) -> tuple[str, Kept | None]:
        """The folder for this sandbox, called as its mark: a new one, or a kept one with what is known of
        it."""
        if spec.resumes:
            kept = self._places.take_up(spec)
            return f"{self._work}/{kept.mark}", kept
        identity = f"{self._work}\0{spec.run_id}\0{spec.job_key}\0{spec.attempt}"
        mark = sha256(identity.encode()).hexdigest()[:12]
        folder = f"{self._work}/{mark}"
        os.makedirs(self._work, exist_ok=True)
        try:
            os.mkdir(folder)
        except FileExistsError:
            if folder not in sweeping.dead_folders(self._work):
                raise ExecutorError(
                    f"the sandbox of job {spec.job_key} (attempt {spec.attempt}) is open already",
                    hint="another process runs this job; wait for it, or start a new run",
                ) from None
            self.sweep()
            os.mkdir(folder)
        write_owner(folder, mark=mark, run_id=spec.run_id, job_key=spec.job_key)
        return folder, None

    def _wanted(self, spec: SandboxSpec) -> tuple[ContainerSpec, CreateOptions]:
        """The container of the job: its own, or that of its label's image. Raises ExecutorError."""
        if spec.container is not None:
            text = spec.container.options or self.options.options
            return spec.container, parse_create_options("container.options", text)
        image = image_for(spec.labels, self.options)
        if image == HOST_IMAGE:
            raise Unsupported(f"job {spec.job_key} is to run on this machine, not in a container")
        return ContainerSpec(image=image), parse_create_options("container options", self.options.options)
