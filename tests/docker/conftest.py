"""Workflows on `--executor docker`, from the command line, as people run them."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import tarfile
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from akashic.cancellation import Cancellation
from akashic.containers.engine import Engine
from akashic.executors.docker.actions import REPOSITORY
from akashic.executors.docker.kept import FOLDER
from akashic.executors.docker.labels import RUN
from tests.cli.cli_process import Cli
from tests.waiting import eventually

TIMEOUT_S = 120
PATIENCE_S = 20
ECHO = 'FROM {base}\nCOPY entrypoint /entrypoint\nENTRYPOINT ["/entrypoint"]\n'


@dataclass
class Run:
    """A run that has ended: its exit code and everything that was printed."""

    code: int
    text: str

    def lines(self, job: str) -> list[str]:
        """What a job's steps printed."""
        head = f"[{job}]   | "
        return [line.removeprefix(head) for line in self.text.splitlines() if line.startswith(head)]

    def value(self, job: str, name: str) -> str:
        """Of the lines `name=value` of a job the last one's value."""
        found = [line for line in self.lines(job) if line.startswith(f"{name}=")]
        assert found, f"{name} is not in:\n{self.text}"
        return found[-1].removeprefix(f"{name}=")


class Workshop:
    """A checkout whose workflow runs in containers of the base image."""

    def __init__(self, folder: Path, home: Path, base: str, engine: Engine) -> None:
        self.cli = Cli(folder, home)
        if "DOCKER_HOST" in os.environ:
            self.cli.env["DOCKER_HOST"] = os.environ["DOCKER_HOST"]
        self.base = base
        self._engine = engine
        self.built: set[str] = set()
        """The images of actions that this checkout's runs had the engine build."""

    def write(self, name: str, text: str, *, executable: bool = False) -> None:
        file = self.cli.write(name, text.replace("{base}", self.base))
        if executable:
            file.chmod(0o755)

    def run(self, workflow: str, *options: str, mapped: bool = True, code: int | None = 0) -> Run:
        """Run a workflow's jobs; `code` is how it must end."""
        process = self.start(workflow, *options, mapped=mapped)
        text, _ = process.communicate(timeout=TIMEOUT_S)
        assert "Traceback" not in text, text
        assert code is None or process.returncode == code, text
        self.built.update(re.findall(rf"Successfully tagged ({REPOSITORY}:\S+)", text))
        self.nothing_is_left()
        return Run(process.returncode, text)

    def start(self, workflow: str, *options: str, mapped: bool = True) -> subprocess.Popen[str]:
        text = textwrap.dedent(workflow).replace("{base}", self.base)
        self.cli.write(".github/workflows/ci.yml", f"on: push\njobs:\n{textwrap.indent(text, '  ')}")
        self.cli.commit("run")
        images = ("-P", f"ubuntu-latest={self.base}") if mapped else ()
        argv = ("run", "--executor", "docker", "--pull-policy", "never", *images, "-v", *options)
        started: subprocess.Popen[str] = self.cli.start(*argv, stderr=subprocess.STDOUT)
        return started

    def resume(self, *options: str, code: int = 0) -> Run:
        """Take the first run up where it failed."""
        result = self.cli("resume", "1", "-v", *options)
        text = result.stdout + result.stderr
        assert result.returncode == code, text
        self.nothing_is_left()
        return Run(result.returncode, text)

    def kept_images(self) -> list[str]:
        """The images that hold what failed jobs of this checkout changed outside of their folders."""
        folder = str(self.cli.path / ".akashic" / "containers" / "work")
        found = self._engine.images.list(labels=(FOLDER,))
        return [tag for image in found if image.labels[FOLDER].startswith(folder) for tag in image.tags]

    def interrupt(self, process: subprocess.Popen[str]) -> Run:
        process.send_signal(signal.SIGINT)
        text, _ = process.communicate(timeout=TIMEOUT_S)
        self.built.update(re.findall(rf"Successfully tagged ({REPOSITORY}:\S+)", text))
        self.nothing_is_left()
        return Run(process.returncode, text)

    def nothing_is_left(self) -> None:
        """No container, network or volume of a run of this checkout, and no folder of a sandbox but those of
        failed jobs that can be taken up."""
        runs = [item["run_id"] for item in self.cli.json("runs")]
        assert runs
        for run in runs:
            label = (f"{RUN}={run}",)
            for kind in (self._engine.containers, self._engine.networks, self._engine.volumes):
                # The engine removes a container that has ended in its own time.
                assert eventually(lambda kind=kind, label=label: not kind.list(labels=label)), (kind, run)
        folder = self.cli.path / ".akashic" / "containers"
        left = {place.name for place in (folder / "work").glob("*")}
        assert left == {file.stem for file in (folder / "kept").glob("*.json")}


@pytest.fixture(scope="session")
def docker_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all: what the executor prepares once is prepared once."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture
def shop(tmp_path: Path, docker_home: Path, base_image: str, engine: Engine) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path / "app", docker_home, base_image, engine)
    yield workshop
    for process in workshop.cli.started:
        if process.poll() is None:
            process.kill()
            process.wait()
    for name in (*workshop.kept_images(), *workshop.built):
        engine.images.remove(name)


@pytest.fixture
def make_action(shop: Workshop) -> Callable[..., None]:
    """Put a Docker action into the checkout: its metadata and its entrypoint's script."""

    def make(folder: str, metadata: str, script: str, dockerfile: str = ECHO) -> None:
        if metadata:
            shop.write(f"{folder}/action.yml", metadata)
        shop.write(f"{folder}/Dockerfile", dockerfile)
        shop.write(f"{folder}/entrypoint", "#!/bin/sh\nset -e\n" + textwrap.dedent(script), executable=True)

    return make


@pytest.fixture(scope="session")
def non_root_image(engine: Engine, base_image: str) -> str:
    """The base image with a user of its own that is not root."""
    dockerfile = f"FROM {base_image}\nRUN useradd --uid 1001 --create-home worker\nUSER 1001\n".encode()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("Dockerfile")
        info.size = len(dockerfile)
        archive.addfile(info, io.BytesIO(dockerfile))
    name = "akashic-test/worker:1"
    if not engine.images.exists(name):
        engine.images.build(
            iter((buffer.getvalue(),)), tags=(name,), say=lambda line: None, cancellation=Cancellation()
        )
    return name
