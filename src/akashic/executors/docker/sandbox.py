"""A job's place in a container."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from akashic.cancellation import Cancellation
from akashic.containers.errors import EngineError
from akashic.containers.images import PullPolicy
from akashic.executors import process
from akashic.executors.docker import actions, mounting, services
from akashic.executors.docker.belongings import Belongings
from akashic.executors.docker.kept import KeptPlaces
from akashic.executors.docker.layout import HOME, TEMP, TOOLS
from akashic.executors.host import workspace
from akashic.executors.host.keeping import Kept
from akashic.executors.host.paths import Roots
from akashic.executors.host.refreshing import refresh
from akashic.executors.protocol import (
    ExecutorError,
    ExitStatus,
    OutputSink,
    SandboxSpec,
    ServiceInfo,
    Tree,
)


class DockerSandbox:
    """See `akashic.executors.protocol.Sandbox`. `node_folder` is where a job finds the Node.js that runs
    JavaScript actions; empty when there is none."""

    os = "Linux"

    def __init__(
        self,
        belongings: Belongings,
        *,
        spec: SandboxSpec,
        places: KeptPlaces,
        variables: Sequence[str],
        mounted_at: Sequence[str],
        image: str,
        arch: str,
        base_env: Mapping[str, str],
        infos: Mapping[str, ServiceInfo],
        container: Mapping[str, Any],
        notes: Sequence[str],
        pull: PullPolicy,
        platform: str,
        anonymous: bool,
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
        self._anonymous = anonymous
        self._trees = trees
        self._environ = environ
        self._action_host = action_host
        self._remove_folder = remove_folder
        self._leftovers = process.Leftovers()
        self._roots = Roots(
            {
                place: os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                for place, folder in layout.places()
            }
        )
        self._spec = spec
        self._places = places
        self._variables = variables
        self._mounted_at = mounted_at
        self._to_keep: bytes | None = None
        self._checked_out: dict[str, str] = {}
        self._overlays: dict[str, str] = {}
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
            elif info.status == "paused":
                why = f"it is paused (`docker unpause {info.name}` lets it go on)"
            elif not info.running:
                why = f"it ended with exit code {info.exit_code}"
        except EngineError as error:
            why = error.message
        return ExecutorError(
            f"the job's container {self._belongings.container[:12]} is gone: {why}",
            hint="run the job again: akashic rerun --failed",
        )

    def write(self, path: str, content: bytes, *, executable: bool = False) -> None:
        self._roots.write(path, content, executable=executable)

    def read(self, path: str, *, bytes_max: int) -> bytes | None:
        return self._roots.read(path, bytes_max)

    def host_path(self, path: str) -> str:
        return self._layout.host(path)

    def materialise(self, tree: Tree, destination: str, *, clean: bool) -> None:
        self._roots.locate(destination)
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
        self._checked_out[destination] = prepared.path
        if not (os.geteuid() == 0 == self._link.uid and self._overlay(prepared.path, here, destination)):
            workspace.copy(prepared.path, here, self._environ)
            self._layout.hand_over_tree(here, self._link.uid, self._link.gid)

    def _overlay(self, lower: str, here: str, there: str) -> bool:
        """Show a tree copy-on-write; False where that is not possible."""
        if os.listdir(here):
            return False
        with self._belongings.lock:
            number = 1
            while os.path.lexists(scratch := f"{self._layout.folder}/overlay/{number}"):
                number += 1
            os.makedirs(f"{scratch}/upper")
            os.makedirs(f"{scratch}/work")
        return self._show(lower, scratch, here, there)

    def _show(self, lower: str, scratch: str, here: str, there: str) -> bool:
        try:
            mounting.show_overlay(lower, f"{scratch}/upper", f"{scratch}/work", here, self._link.pid, there)
        except OSError:
            return False
        self._overlays[there] = scratch
        return True

    def restore(self, trees: Mapping[str, str], overlays: Mapping[str, str]) -> None:
        """Show what was checked out before this place was kept. Raises ExecutorError."""
        for destination, path in trees.items():
            self._belongings.prepared.append(workspace.hold(path))
            self._checked_out[destination] = path
            scratch = overlays.get(destination)
            here = self._layout.host(destination)
            if scratch is not None and not self._show(path, scratch, here, destination):
                raise ExecutorError(
                    f"the kept workspace {destination} cannot be shown again",
                    hint="akashic rerun --failed runs the job from its beginning",
                )

    def keep(self, state: bytes | None) -> None:
        """See `akashic.executors.protocol.KeepingSandbox`."""
        self._to_keep = state

    def refresh(self, tree: Tree) -> Sequence[str]:
        """See `akashic.executors.protocol.KeepingSandbox`."""
        lines = refresh(tree, self._checked_out, self._trees, self._environ, self._roots.locate)
        if lines:
            for destination in self._checked_out:
                self._layout.hand_over_tree(self._layout.host(destination), self._link.uid, self._link.gid)
        return lines

    def _keep(self) -> bool:
        """Leave the folder, and what the job changed in its image; whether they stay."""
        if self._to_keep is None:
            return False
        kept = Kept(
            mark=self._belongings.mark,
            run_id=self._spec.run_id,
            job_key=self._spec.job_key,
            attempt=self._spec.attempt,
            repository=self._spec.repository,
            trees=self._checked_out,
            overlays=self._overlays,
            size_bytes=0,
            kept_at=time.time(),
            state=msgspec.Raw(self._to_keep),
        )
        return self._places.keep(kept, self._belongings.container, self._variables, self._mounted_at)

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
                anonymous=self._anonymous,
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
            pull=self._pull,
            platform=self._platform,
            anonymous=self._anonymous,
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
        run = actions.ActionRun(self._engine, config, name)
        try:
            return run.run(on_output, cancellation, timeout_s)
        finally:
            self._belongings.unsure = self._belongings.unsure or run.unsure

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
            if service.spec.name == name and service.container:
                return services.logs(self._engine, service)
        return b""

    def interactive(self, argv: list[str], *, env: dict[str, str], cwd: str) -> int:
        """Run a command on this process's terminal, inside the container; see `runner.breakpoints`."""
        import shutil  # Only who stands at a breakpoint needs these.
        import subprocess

        # The client on this machine must not see the job's variables by their names: LD_PRELOAD, PATH and
        # DOCKER_HOST would be its own. Nor may they stand on a command line, where others read them.
        told = {f"AKASHIC_VARIABLE_{number}": name for number, name in enumerate(filter(_is_name, env))}
        script = "".join(f'export {name}="${alias}"; unset {alias}; ' for alias, name in told.items())
        command = [
            shutil.which("docker", path=self._environ.get("PATH")) or "docker",
            *("exec", "-it", "--workdir", cwd, *(word for alias in told for word in ("--env", alias))),
            *(self._belongings.container, "sh", "-c", f'{script}exec "$@"', "sh", *argv),
        ]
        values = {alias: env[name] for alias, name in told.items()}
        try:
            return subprocess.run(command, env={**self._environ, **values}, check=False).returncode
        except OSError as error:
            raise ExecutorError(f"cannot open a shell in the container: docker: {error.strerror}") from error

    def close(self) -> None:
        with self._belongings.lock:
            if self._closed:
                return
            self._closed = True
        self._roots.close()
        # While the container is there: what it changed in its image goes with it.
        kept = self._keep()
        self._belongings.give_back(mounting.unmount_below if kept else self._remove_folder, keeps=kept)
        if kept:
            self._places.prune()
        self._leftovers.close()


def _is_name(text: str) -> bool:
    """Whether a shell can have a variable of this name."""
    return text.isascii() and text.isidentifier()
