"""An executor for tests: keeps files in a folder, runs nothing, and fails where it is told to.

`answers` maps a command line (joined with spaces, or its last argument) to what it prints and its exit code;
everything else ends with 0 and prints nothing. `opened`, `commands`, `images` and `closed` say what happened;
an image answers by its name.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from akashic.cancellation import Cancellation
from akashic.executors.protocol import (
    Capabilities,
    ExecutorError,
    ExitStatus,
    OutputSink,
    SandboxSpec,
    ServiceInfo,
    Tree,
    Unsupported,
)


class ScriptedExecutor:
    """See `Executor`. `fail_open` names job keys whose sandbox cannot be opened, with the reason; `hang`
    holds command lines that run until they are cancelled."""

    def __init__(
        self,
        folder: str,
        *,
        answers: Mapping[str, tuple[bytes, int]] | None = None,
        fail_open: Mapping[str, str] | None = None,
        hang: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.answers = dict(answers or {})
        self.fail_open = dict(fail_open or {})
        self.hang = frozenset(hang)
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.commands: list[tuple[str, tuple[str, ...]]] = []
        self.images: list[tuple[str, str | None, tuple[str, ...], dict[str, str]]] = []
        self.lock = threading.Lock()

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            name="scripted", job_containers=False, any_service_image=True, docker_actions=False
        )

    def open(self, spec: SandboxSpec, *, cancellation: Cancellation) -> ScriptedSandbox:
        if spec.container is not None:
            raise Unsupported(
                f"job {spec.job_key} runs in the container {spec.container.image}", hint="use docker"
            )
        if spec.job_key in self.fail_open:
            raise ExecutorError(self.fail_open[spec.job_key])
        with self.lock:
            self.opened.append(spec.job_key)
        return ScriptedSandbox(self, spec)

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
        self.workspace = f"{self._folder}/workspace"
        self.temp = f"{self._folder}/temp"
        self.home = f"{self._folder}/home"
        self.tool_cache = f"{self._folder}/tools"
        for path in (self.workspace, self.temp, self.home, self.tool_cache):
            os.makedirs(path)
        self.services: Mapping[str, ServiceInfo] = {
            service.name: ServiceInfo(
                name=service.name, id=service.name, network="scripted", host="localhost", ports={}
            )
            for service in spec.services
        }
        self.container: Mapping[str, Any] = {}
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
        line = " ".join(argv)
        if line in self._executor.hang or argv[-1] in self._executor.hang:
            cancelled = cancellation.wait(timeout_s)
            return ExitStatus(code=130, cancelled=cancelled, timed_out=not cancelled)
        output, code = self._executor.answers.get(line) or self._executor.answers.get(argv[-1]) or (b"", 0)
        if output:
            on_output(output)
        return ExitStatus(code=code)

    def write(self, path: str, content: bytes, *, executable: bool = False) -> None:
        os.makedirs(path.rpartition("/")[0], exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)

    def read(self, path: str, *, bytes_max: int) -> bytes | None:
        try:
            with open(path, "rb") as file:
                return file.read(bytes_max)
        except OSError:
            return None

    def host_path(self, path: str) -> str:
        return path

    def materialise(self, tree: Tree, destination: str, *, clean: bool) -> None:
        shutil.copytree(
            tree.root, destination, dirs_exist_ok=True, symlinks=True, ignore=lambda *_: {".git", ".akashic"}
        )

    def image_path(self, path: str) -> str:
        return path.replace(self._folder, "/github", 1)

    def pull_image(self, image: str, *, on_output: OutputSink, cancellation: Cancellation) -> None:
        on_output(f"Pulled {image}\n".encode())

    def build_image(
        self, context: str, dockerfile: str, *, on_output: OutputSink, cancellation: Cancellation
    ) -> str:
        on_output(b"Built\n")
        return f"built:{os.path.basename(context)}/{dockerfile}"

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
        output, code = self._executor.answers.get(image) or (b"", 0)
        if output:
            on_output(output)
        return ExitStatus(code=code)

    def service_logs(self, name: str) -> bytes:
        return b""

    def close(self) -> None:
        with self._executor.lock:
            if self._spec.job_key not in self._executor.closed:
                self._executor.closed.append(self._spec.job_key)
        shutil.rmtree(self._folder, ignore_errors=True)
