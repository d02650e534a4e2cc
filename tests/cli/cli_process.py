"""`akashic` as people start it: a process of its own in a checkout of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.app.checkout import Checkout
from tests.waiting import eventually, living

SOURCES = Path(__file__).parents[2] / "src"
TIMEOUT_S = 60


class Cli(Checkout):
    """A checkout, and `akashic` in it. `env` is the whole environment of the processes."""

    def __init__(self, path: Path, home: Path) -> None:
        super().__init__(path)
        home.mkdir(exist_ok=True)
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(SOURCES),
            "LANG": "C.UTF-8",
            "AKASHIC_WARM": "off",
        }
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *argv: str, env: dict[str, str] | None = None, **options: Any) -> subprocess.Popen[str]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        options = {"cwd": self.path} | pipes | options
        process = subprocess.Popen(
            (sys.executable, "-m", "akashic", *argv),
            env=self.env | (env or {}),
            text=True,
            encoding="utf-8",
            **options,
        )
        self.started.append(process)
        return process

    def __call__(
        self, *argv: str, given: str | None = None, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        if given is not None:
            options["stdin"] = subprocess.PIPE
        process = self.start(*argv, **options)
        stdout, stderr = process.communicate(given, timeout=TIMEOUT_S)
        assert "Traceback" not in stderr, stderr
        return subprocess.CompletedProcess(argv, process.returncode, stdout, stderr)

    def json(self, *argv: str) -> list[dict[str, Any]]:
        """What a command prints with --json, line by line."""
        return [json.loads(line) for line in self("--json", *argv).stdout.splitlines()]

    @property
    def journal_bytes(self) -> bytes:
        """Everything that is kept beside the checkout."""
        files = (self.path / ".akashic").rglob("*")
        return b"".join(file.read_bytes() for file in files if file.is_file() and not file.is_symlink())


def steps(*scripts: str, job: str = "build", more: str = "", head: str = "on: push") -> str:
    """A workflow of one job whose steps are scripts."""
    lines = "".join(f"      - run: {json.dumps(script)}\n" for script in scripts)
    return f"name: ci\n{head}\njobs:\n  {job}:\n    runs-on: ubuntu-latest\n{more}    steps:\n{lines}"


@contextmanager
def warm_server(cli: Cli) -> Iterator[None]:
    """Let its commands leave a server, which is gone afterwards."""
    # The path of a socket is short, pytest's folders are not.
    with tempfile.TemporaryDirectory(prefix="w") as folder:
        cli.env |= {"AKASHIC_WARM": "on", "XDG_RUNTIME_DIR": folder}
        yield
        cli("warm", "stop")
        # One that has just begun listens to nobody yet.
        for pid in living(f"XDG_RUNTIME_DIR={folder}\0", where="environ"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        gone = eventually(lambda: not living(f"XDG_RUNTIME_DIR={folder}\0", where="environ"))
    assert gone, "a server was left behind"
