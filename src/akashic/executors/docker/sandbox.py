"""A job's place in a container."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from akashic.cancellation import Cancellation
from akashic.containers.engine import Engine
from akashic.containers.errors import EngineError
from akashic.containers.images import PullPolicy
from akashic.executors import process
from akashic.executors.docker import actions, mounting, services
from akashic.executors.docker.layout import HOME, TEMP, TOOLS, Layout
from akashic.executors.docker.link import AgentLink
from akashic.executors.docker.services import Service
from akashic.executors.docker.together import together
from akashic.executors.host import workspace
from akashic.executors.host.paths import read_beneath, write_beneath
from akashic.executors.protocol import (
    ExecutorError,
    ExitStatus,
    OutputSink,
    ServiceInfo,
    Tree,
)

CLOSE_TIMEOUT_S = 20.0
NETWORK_ATTEMPTS = 200
NETWORK_PAUSE_S = 0.05
"""What is left after that, the next sweep removes."""


@dataclass(slots=True)
class Belongings:
    """What a sandbox has on the engine; filled while it is opened, so that a failure can take all of it
    back."""

    engine: Engine
    layout: Layout
    mark: str
    labels: Mapping[str, str]
    container: str = ""
    network: str = ""
    network_is_ours: bool = False
    link: AgentLink | None = None
    services: list[Service] = field(default_factory=list)
    volumes: list[str] = field(default_factory=list)
    prepared: list[workspace.Prepared] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def give_back(self, remove_folder: Callable[[str], None]) -> None:
        """End and remove everything. What the engine does not need to be waited for is only asked of it."""
        ended = self.link.close(CLOSE_TIMEOUT_S) if self.link is not None else False
        with contextlib.suppress(EngineError):
            self._end_all(ended)
        for prepared in self.prepared:
            prepared.release()
        remove_folder(self.layout.folder)

    def _end_all(self, job_ended: bool) -> None:
        """No process is left then; removing files of containers is work of the engine that nobody waits
        for."""
        containers = [service.container for service in self.services if service.container]
        if self.container and not job_ended:
            containers.append(self.container)
        together([partial(self._end, container) for container in containers])
        if self.container:
            self.engine.containers.remove_later(self.container)
        if self.network_is_ours:
            self._remove_network()
        for volume in self.volumes:
            with contextlib.suppress(EngineError):
                self.engine.volumes.remove(volume)

    def _remove_network(self) -> None:
        """It is free when the engine has seen the end of the last container, which is a moment after that
        end."""
        for _ in range(NETWORK_ATTEMPTS):
            try:
                self.engine.networks.remove(self.network)
            except EngineError:
                time.sleep(NETWORK_PAUSE_S)
            else:
                return

    def _end(self, container: str) -> None:
        with contextlib.suppress(EngineError):
            if self.volumes:
                self.engine.containers.remove(container)
            else:
                self.engine.containers.kill(container)
                self.engine.containers.remove_later(container)


class DockerSandbox:
    """See `akashic.executors.protocol.Sandbox`. `node_folder` is where a job finds the Node.js that runs
    JavaScript actions; empty when there is none."""

    os = "Linux"

    def __init__(
        self,
        belongings: Belongings,
        *,
        image: str,
        arch: str,
        base_env: Mapping[str, str],
        infos: Mapping[str, ServiceInfo],
        container: Mapping[str, Any],
        notes: Sequence[str],
        pull: PullPolicy,
        platform: str,
        trees: str,
        environ: Mapping[str, str],
        action_host: Mapping[str, Any],
        node_folder: str,
        remove_folder: Callable[[str], None],
    ) -> None:
        layout = belongings.layout
        assert belongings.link is not None
        self.workspace = layout.workspace
        self.temp = TEMP
        anonymous: bool,
        self.tool_cache = TOOLS
        self.home = HOME
        self.arch = arch
        self.services: Mapping[str, ServiceInfo] = infos
        self.container: Mapping[str, Any] = container
        self.notes: Sequence[str] = notes
        self.base_env: Mapping[str, str] = base_env
        self.image = image
        self.node_folder = node_folder
        self._belongings = belongings
        self._engine = belongings.engine
        self._layout = layout
        self._link = belongings.link
        self._pull = pull
        self._platform = platform
        self._trees = trees
        self._environ = environ
        self._action_host = action_host
        self._remove_folder = remove_folder
        self._leftovers = process.Leftovers()
        self._roots = {
            place: os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            for place, folder in layout.places()
        }
        self._overlays: dict[str, str] = {}
        self._anonymous = anonymous
        self._counter = 0
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
        try:
            status = process.run(
                self._link,
                argv,
                env=env,
                cwd=cwd,
                on_output=on_output,
                cancellation=cancellation,
                timeout_s=timeout_s,
                stdin=stdin,
                leftovers=self._leftovers,
            )
        except ExecutorError as error:
            raise self._lost() if self._link.lost else error from error
        if self._link.lost:
            raise self._lost()
        return status

    def _lost(self) -> ExecutorError:
        """Why the container has gone."""
        why = "somebody removed it, or the engine ended"
        try:
            info = self._engine.containers.inspect(self._belongings.container)
            if info.out_of_memory:
                why = "it was out of memory"
            elif not info.running:
                why = f"it ended with exit code {info.exit_code}"
        except EngineError as error:
            why = error.message
        return ExecutorError(
            f"the job's container {self._belongings.container[:12]} is gone: {why}",
            hint="run the job again: akashic rerun --failed",
        )

    def write(self, path: str, content: bytes, *, executable: bool = False) -> None:
        root, relative = self._inside(path)
        try:
            write_beneath(root, relative, content, executable=executable)
        except OSError as error:
            raise ExecutorError(f"cannot write {path}: {error.strerror}") from error

    def read(self, path: str, *, bytes_max: int) -> bytes | None:
        root, relative = self._inside(path)
        try:
            return read_beneath(root, relative, bytes_max)
        except OSError as error:
            raise ExecutorError(f"cannot read {path}: {error.strerror}") from error

    def _inside(self, path: str) -> tuple[int, str]:
        """The root that a path lies in, and the rest of it. Links are followed below it only."""
        normal = os.path.normpath(path)
        for place, root in self._roots.items():
            if normal == place or normal.startswith(f"{place}/"):
                return root, normal[len(place) :].lstrip("/")
        raise ExecutorError(f"{path} lies outside the job's folders")

    def host_path(self, path: str) -> str:
        return self._layout.host(path)

    def materialise(self, tree: Tree, destination: str, *, clean: bool) -> None:
        self._inside(destination)
        destination = os.path.normpath(destination)
        here, root = self._layout.host(destination), os.path.realpath(self._layout.host(self.workspace))
        if not (os.path.realpath(here) + "/").startswith(root + "/"):
            raise ExecutorError(f"{destination} leads out of the workspace")
        prepared = workspace.prepare(tree, self._trees, self._environ)
        with self._belongings.lock:
            self._belongings.prepared.append(prepared)
        os.makedirs(here, exist_ok=True)
        if clean:
            if destination in self._overlays:
                mounting.hide_overlay(here, self._link.pid, destination)
                del self._overlays[destination]
            workspace.empty(here)
        if not (os.geteuid() == 0 == self._link.uid and self._overlay(prepared.path, here, destination)):
            workspace.copy(prepared.path, here, self._environ)
            self._layout.hand_over_tree(here, self._link.uid, self._link.gid)

    def _overlay(self, lower: str, here: str, there: str) -> bool:
        """Show a tree copy-on-write; False where that is not possible."""
        if os.listdir(here):
            return False
        with self._belongings.lock:
            self._counter += 1
            scratch = f"{self._layout.folder}/overlay/{self._counter}"
        upper, work = f"{scratch}/upper", f"{scratch}/work"
        try:
            os.makedirs(upper)
            os.makedirs(work)
            mounting.show_overlay(lower, upper, work, here, self._link.pid, there)
        except OSError:
            return False
        self._overlays[there] = scratch
        return True

    def image_path(self, path: str) -> str:
        return self._layout.in_action(path)

    def pull_image(self, image: str, *, on_output: OutputSink, cancellation: Cancellation) -> None:
        try:
            self._engine.images.ensure(
                image,
                self._pull,
                say=actions.line_sink(on_output),
                cancellation=cancellation,
                platform=self._platform,
            )
        except EngineError as error:
            raise ExecutorError(error.message, hint=error.hint) from error

    def build_image(
        self, context: str, dockerfile: str, *, on_output: OutputSink, cancellation: Cancellation
    ) -> str:
        return actions.build(
            self._engine,
            context,
            dockerfile,
            on_output=on_output,
            cancellation=cancellation,
            pull=self._pull == "always",
            platform=self._platform,
        )

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
        if self._closed:
            raise ExecutorError("the sandbox is closed")
        with self._belongings.lock:
            self._counter += 1
            name = f"akashic-{self._belongings.mark}-action-{self._counter}"
        config = actions.action_config(
            image,
            entrypoint=entrypoint,
            args=args,
            env=env,
            workdir=self.image_path(self.workspace),
            labels=self._belongings.labels,
            host={
                **self._action_host,
                # The job's own network, name and all: what a step started or a service serves is reached
                # alike.
                "NetworkMode": f"container:{self._belongings.container}",
                "Mounts": self._action_mounts(),
            },
        )
        return actions.ActionRun(self._engine, config, name).run(on_output, cancellation, timeout_s)

    def _action_mounts(self) -> list[dict[str, Any]]:
        return [*self._layout.action_mounts(), *self._action_host.get("Mounts", ())]

    def host_address(self) -> str:
        try:
            return self._engine.containers.inspect(self._belongings.container).gateways.get(
                self._belongings.network, ""
            )
        except EngineError as error:
            raise ExecutorError(error.message, hint=error.hint) from error

    def service_logs(self, name: str) -> bytes:
        for service in self._belongings.services:
                anonymous=self._anonymous,
            if service.spec.name == name and service.container:
                return services.logs(self._engine, service)
        return b""

    def interactive(self, argv: list[str], *, env: dict[str, str], cwd: str) -> int:
        """Run a command on this process's terminal, inside the container; see `runner.breakpoints`."""
        import subprocess  # Only who stands at a breakpoint needs it.

        variables = [word for name in env for word in ("--env", name)]
        command = ["docker", "exec", "-it", "--workdir", cwd, *variables, self._belongings.container, *argv]
        try:
            return subprocess.run(command, env={**self._environ, **env}, check=False).returncode
        except OSError as error:
            raise ExecutorError(f"cannot open a shell in the container: docker: {error.strerror}") from error

            anonymous=self._anonymous,
    def close(self) -> None:
        with self._belongings.lock:
            if self._closed:
                return
            self._closed = True
        for fd in self._roots.values():
            os.close(fd)
        self._belongings.give_back(self._remove_folder)
        self._leftovers.close()
