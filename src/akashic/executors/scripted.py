"""An executor for tests: keeps files in a folder, runs nothing, and fails where it is told to.

`answers` maps a command line (joined with spaces, or its last argument) to what it prints and its exit code;
everything else ends with 0 and prints nothing. `opened`, `commands`, `images` and `closed` say what happened;
an image answers by its name. With `containers` the job's paths are those of a job container on GitHub, and
not this machine's.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from akashic.cancellation import Cancellation
from akashic.executors.protocol import (
    Capabilities,
    ExecutorError,
    ExitStatus,
    OutputSink,
    SandboxSpec,
    Say,
    ServiceInfo,
    Tree,
    Unsupported,
    quiet,
)


class ScriptedExecutor:
    """See `Executor`. `fail_open` names job keys whose sandbox cannot be opened, with the reason; `hang`
    holds command lines (or images) that run until they are cancelled; `does` maps them to what they do with
    the sandbox and their environment."""

    def __init__(
        self,
        folder: str,
        *,
        answers: Mapping[str, tuple[bytes, int]] | None = None,
        fail_open: Mapping[str, str] | None = None,
        hang: Sequence[str] = (),
        does: Mapping[str, Callable[[ScriptedSandbox, Mapping[str, str]], None]] | None = None,
        containers: bool = False,
    ) -> None:
        self.folder = folder
        self.answers = dict(answers or {})
        self.fail_open = dict(fail_open or {})
        self.hang = frozenset(hang)
        self.does = dict(does or {})
        self.containers = containers
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.commands: list[tuple[str, tuple[str, ...]]] = []
        self.images: list[tuple[str, str | None, tuple[str, ...], dict[str, str]]] = []
        self.obtained: list[str] = []
        self.lock = threading.Lock()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            name="scripted",
            job_containers=self.containers,
            docker_actions=self.containers,
        )

    def open(self, spec: SandboxSpec, *, cancellation: Cancellation, say: Say = quiet) -> ScriptedSandbox:
        if spec.container is not None and not self.containers:
            raise Unsupported(
                f"job {spec.job_key} runs in the container {spec.container.image}", hint="use docker"
            )
        if spec.job_key in self.fail_open:
            raise ExecutorError(self.fail_open[spec.job_key])
        with self.lock:
            self.opened.append(spec.job_key)
        return ScriptedSandbox(self, spec)

    def end_run(self) -> None:
        return

    def finish(self) -> None:
        return

    def sweep(self) -> Sequence[str]:
        return ()


class ScriptedSandbox:
    """See `Sandbox`."""

    os = "Linux"
    arch = "X64"

    def __init__(self, executor: ScriptedExecutor, spec: SandboxSpec) -> None:
        self._executor = executor
        self._spec = spec
        self._folder = os.path.join(executor.folder, f"{len(executor.opened)}")
        name = spec.repository.rpartition("/")[2]
        work = "/__w" if executor.containers else f"{self._folder}/work"
        self._places = {
            work: f"{self._folder}/work",
            "/__t" if executor.containers else f"{self._folder}/tools": f"{self._folder}/tools",
            "/github/home" if executor.containers else f"{self._folder}/home": f"{self._folder}/home",
        }
        self.workspace = f"{work}/{name}/{name}"
        self.temp = f"{work}/_temp"
        self.tool_cache, self.home = list(self._places)[1:]
        for path in (self.workspace, self.temp, self.home, self.tool_cache):
            os.makedirs(self.host_path(path))
        self.services: Mapping[str, ServiceInfo] = {
            service.name: ServiceInfo(
                name=service.name, id=service.name, network="scripted", host="localhost", ports={}
            )
            for service in spec.services
        }
        self.container: Mapping[str, Any] = {}
        if spec.container is not None:
            self.container = {"id": "c0ffee", "network": "scripted"}
        self.notes: Sequence[str] = ()
        self.base_env: Mapping[str, str] = {"PATH": os.defpath, "HOME": self.home}

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
        with self._executor.lock:
            self._executor.commands.append((self._spec.job_key, tuple(argv)))
        return self._answer((" ".join(argv), argv[-1]), env, on_output, cancellation, timeout_s)

    def _answer(
        self,
        names: Sequence[str],
        env: Mapping[str, str],
        on_output: OutputSink,
        cancellation: Cancellation,
        timeout_s: float | None,
    ) -> ExitStatus:
        executor = self._executor
        for name in names:
            if name in executor.does:
                executor.does[name](self, env)
        output, code = next((executor.answers[name] for name in names if name in executor.answers), (b"", 0))
        if output:
            on_output(output)
        if any(name in executor.hang for name in names):
            cancelled = cancellation.wait(timeout_s)
            return ExitStatus(code=130, cancelled=cancelled, timed_out=not cancelled)
        return ExitStatus(code=code)

    def write(self, path: str, content: bytes, *, executable: bool = False) -> None:
        path = self.host_path(path)
        os.makedirs(path.rpartition("/")[0], exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)

    def read(self, path: str, *, bytes_max: int) -> bytes | None:
        try:
            with open(self.host_path(path), "rb") as file:
                return file.read(bytes_max)
        except OSError:
            return None

    def host_path(self, path: str) -> str:
        inside = "/github/workflow"
        if self._executor.containers and (path == inside or path.startswith(f"{inside}/")):
            path = f"{self.temp}/_github_workflow{path[len(inside) :]}"
        for place, folder in self._places.items():
            if path == place or path.startswith(f"{place}/"):
                return folder + path[len(place) :]
        if self._executor.containers:
            raise Unsupported(f"{path} lies inside of the container")
        return path

    def materialise(self, tree: Tree, destination: str, *, clean: bool) -> None:
        shutil.copytree(
            tree.root,
            self.host_path(destination),
            dirs_exist_ok=True,
            symlinks=True,
            ignore=lambda *_: {".git", ".akashic"},
        )

    def image_path(self, path: str) -> str:
        for place, inside in (
            (self.workspace, "/github/workspace"),
            (self.home, "/github/home"),
            (f"{self.temp}/_runner_file_commands", "/github/file_commands"),
            (f"{self.temp}/_github_workflow", "/github/workflow"),
            (self.temp, "/github/runner_temp"),
        ):
            if path == place or path.startswith(f"{place}/"):
                return inside + path[len(place) :]
        return path

    def pull_image(self, image: str, *, on_output: OutputSink, cancellation: Cancellation) -> None:
        self._executor.obtained.append(image)
        if image in self._executor.fail_open:
            raise ExecutorError(self._executor.fail_open[image])
        on_output(f"Pulled {image}\n".encode())

    def build_image(
        self, context: str, dockerfile: str, *, on_output: OutputSink, cancellation: Cancellation
    ) -> str:
        image = f"built:{os.path.basename(context)}/{dockerfile}"
        self._executor.obtained.append(image)
        on_output(f"Built {image}\n".encode())
        return image

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
        with self._executor.lock:
            self._executor.images.append((image, entrypoint, tuple(args), dict(env)))
        return self._answer((image,), env, on_output, cancellation, timeout_s)

    def service_logs(self, name: str) -> bytes:
        return b""

    def close(self) -> None:
        with self._executor.lock:
            if self._spec.job_key not in self._executor.closed:
                self._executor.closed.append(self._spec.job_key)
        shutil.rmtree(self._folder, ignore_errors=True)
