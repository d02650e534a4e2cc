"""A job of the real runner on the real host executor, from a few lines of YAML."""

from __future__ import annotations

import os
import subprocess
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from akashic.cancellation import Cancellation
from akashic.engine.requests import JobRequest, JobResult, StepReport
from akashic.executors.host.executor import HostExecutor
from akashic.executors.protocol import Tree
from akashic.journal.artifacts import ArtifactStore
from akashic.journal.blobs import BlobStore
from akashic.journal.caches import CacheStore
from akashic.journal.logs import LogStore
from akashic.runner.actions.cache import ActionCache
from akashic.runner.actions.lockfile import LockFile
from akashic.runner.actions.resolve import ActionResolver
from akashic.runner.job import JobRunner
from akashic.runner.parts import RunnerParts
from akashic.workflow.model import Job
from akashic.workflow.parse import parse_workflow


class SystemClock:
    def now(self) -> float:
        return time.time()


@dataclass
class Recorder:
    """A reporter that keeps what it is told."""

    started: list[tuple[int, str]] = field(default_factory=list)
    reports: list[StepReport] = field(default_factory=list)
    shown: list[tuple[int, str]] = field(default_factory=list)
    on_line: Callable[[str], None] = lambda text: None

    def job_ready(self, notes: tuple[str, ...]) -> None: ...

    def step_started(self, number: int, name: str) -> None:
        self.started.append((number, name))

    def line(self, number: int, text: str) -> None:
        self.shown.append((number, text))
        self.on_line(text)

    def step_finished(self, report: StepReport) -> None:
        self.reports.append(report)


@dataclass
class Outcome:
    """What a job left: its result, the reports of its steps, and its log as it is stored."""

    result: JobResult
    recorder: Recorder
    log: str
    parts: RunnerParts

    def step(self, name: str) -> StepReport:
        found = [report for report in self.recorder.reports if name in (report.name, report.id)]
        assert len(found) == 1, (name, [report.name for report in self.recorder.reports])
        return found[0]

    @property
    def names(self) -> list[str]:
        return [report.name for report in self.recorder.reports]


def make_job(text: str) -> Job:
    """A job from the YAML that stands below its id, or from its steps alone."""
    text = textwrap.dedent(text).strip("\n")
    if text.startswith("-"):
        text = "steps:\n" + textwrap.indent(text, "  ")
    if not text.startswith("runs-on"):
        text = "runs-on: ubuntu-latest\n" + text
    whole = "on: push\njobs:\n  build:\n" + textwrap.indent(text, "    ")
    return parse_workflow(whole, "ci.yml").jobs["build"]


GITHUB = {
    "event": {"head_commit": {"message": "hello"}},
    "event_name": "push",
    "ref": "refs/heads/main",
    "ref_name": "main",
    "ref_type": "branch",
    "sha": "0" * 40,
    "repository": "octo/app",
    "repository_owner": "octo",
    "actor": "mona",
    "triggering_actor": "mona",
    "workflow": "CI",
    "run_id": "7",
    "run_number": "3",
    "run_attempt": "1",
    "server_url": "https://github.com",
    "api_url": "https://api.github.com",
    "graphql_url": "https://api.github.com/graphql",
}


class House:
    """Everything a job needs, in one temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "repository"
        self.root.mkdir()
        self.state = folder / "state"
        self.state.mkdir()
        self.secrets: dict[str, dict[str, str]] = {"": {}}
        self.server = folder / "server"
        self.overrides: dict[str, str] = {}
        self.parts_options: dict[str, Any] = {}
        self.count = 0

    def parts(self) -> RunnerParts:
        def secrets(environment: str, trust: str) -> dict[str, str]:
            assert trust == "trusted"
            return {**self.secrets[""], **self.secrets.get(environment, {})}

        options: dict[str, Any] = {
            "executor": HostExecutor(
                state_dir=str(self.state),
                cache_dir=str(self.folder / "cache"),
                tool_cache=str(self.folder / "tools"),
                environ=os.environ,
            ),
            "tree": Tree(root=str(self.root), commit="0" * 40, dirty=True),
            "repository": "octo/app",
            "logs": LogStore(self.state / "logs"),
            "blobs": BlobStore(self.state / "blobs"),
            "artifacts": ArtifactStore(self.state / "artifacts"),
            "caches": CacheStore(self.state / "caches"),
            "secrets": secrets,
            "clock": SystemClock(),
            "state_dir": self.state,
            "actions": self.resolver(),
            "sandbox_mode": "off",
        }
        return RunnerParts(**{**options, **self.parts_options})

    def resolver(self, **options: Any) -> ActionResolver:
        cache = ActionCache(self.folder / "actions", server_url=f"file://{self.server}", environ=os.environ)
        lock = LockFile.read(self.root)
        return ActionResolver(cache=cache, overrides=self.overrides, lock=lock, **options)

    def run(
        self,
        job: str | Job,
        *,
        cancellation: Cancellation | None = None,
        recorder: Recorder | None = None,
        **request: Any,
    ) -> Outcome:
        self.count += 1
        recorder = recorder or Recorder()
        parts = self.parts()
        fields: dict[str, Any] = {
            "run_id": "run",
            "key": "build",
            "attempt": self.count,
            "idempotency_key": f"run/build/{self.count}",
            "name": "build",
            "job": make_job(job) if isinstance(job, str) else job,
            "workflow_path": ".github/workflows/ci.yml",
            "github": dict(GITHUB),
        }
        full = JobRequest(**{**fields, **request})
        result = JobRunner(parts).run(full, recorder, cancellation or Cancellation())
        # As at the end of a run: what tests look for on the disk must not be on its way out.
        parts.executor.finish()
        lines = parts.logs.read("run", full.key, full.attempt)
        return Outcome(result, recorder, "\n".join(line.text for line in lines), parts)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


@pytest.fixture
def make_recorder() -> Callable[[Callable[[str], None]], Recorder]:
    """A reporter that calls back for each line."""
    return lambda on_line: Recorder(on_line=on_line)


def run_git(folder: Path, *arguments: str) -> str:
    """git with an identity of its own; what it printed."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.test", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def git() -> Callable[..., str]:
    return run_git


@pytest.fixture
def publish(house: House) -> Callable[..., str]:
    """Put files into a repository at the test's server and (re)tag it; the commit."""

    def publish(name: str, files: dict[str, str], tag: str = "v1") -> str:
        folder = house.server / name
        for file, text in files.items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        if not (folder / ".git").exists():
            run_git(folder, "init", "-q")
            run_git(folder, "config", "uploadpack.allowAnySHA1InWant", "true")
        run_git(folder, "add", "-A")
        run_git(folder, "commit", "-q", "-m", "x", "--allow-empty")
        run_git(folder, "tag", "-f", tag)
        return run_git(folder, "rev-parse", "HEAD")

    return publish
