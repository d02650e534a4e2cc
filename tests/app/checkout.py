"""A real git checkout in a temporary folder, made in a few lines."""

from __future__ import annotations

import os
import subprocess
import textwrap
from pathlib import Path

from akashic.app.application import Application

CI = """
    name: ci
    on: push
    jobs:
      build:
        runs-on: ubuntu-latest
        steps:
          - run: echo built
"""


class Checkout:
    """Makes files, workflows and commits below `path`."""

    def __init__(self, path: Path, *, branch: str = "main") -> None:
        self.path = path
        path.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch", branch)

    def git(self, *argv: str) -> str:
        settings = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false")
        env = {key: value for key, value in os.environ.items() if not key.startswith("GIT_")}
        result = subprocess.run(
            ("git", *settings, *argv), cwd=self.path, env=env, check=True, capture_output=True, text=True
        )
        return result.stdout.strip()

    def write(self, name: str, text: str) -> Path:
        file = self.path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8")
        return file

    def workflow(self, text: str = CI, name: str = "ci.yml") -> Path:
        return self.write(f".github/workflows/{name}", text)

    def commit(self, message: str = "Begin") -> str:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


def open_application(checkout: Checkout) -> Application:
    """As its user would, with nobody's settings."""
    return Application.open(checkout.path, {"HOME": "/nonexistent", "PATH": os.environ["PATH"]})


def on(events: str, job: str = "build") -> str:
    """A workflow for events, with one job."""
    return f"on: {events}\njobs:\n  {job}:\n    runs-on: x\n    steps: [{{run: echo}}]\n"
