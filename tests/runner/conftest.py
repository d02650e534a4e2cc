"""A job of the real runner on the real host executor, from a few lines of YAML."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
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
from akashic.source.position import Position
from akashic.source.yaml import Mapping as YamlMapping
from akashic.source.yaml import Sequence, load, to_data
from akashic.workflow.model import EnvironmentRef, Job, RunDefaults, Step, Template

PLACE = Position("ci.yml", 1, 1)


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


def template(value: Any) -> Template | None:
    return None if value is None else Template(value, PLACE)


def make_step(index: int, data: Mapping[str, Any]) -> Step:
    """A step from its YAML keys."""
    wait = data.get("wait")
    parallel = data.get("parallel")
    return Step(
        index=index,
        position=PLACE,
        id=data.get("id", ""),
        name=template(data.get("name")),
        if_=template(data.get("if")),
        run=template(data.get("run")),
        uses=data.get("uses"),
        with_=template(data.get("with")),
        env=template(data.get("env")),
        shell=template(data.get("shell")),
        working_directory=template(data.get("working-directory")),
        continue_on_error=template(data.get("continue-on-error")),
        timeout_minutes=template(data.get("timeout-minutes")),
        background=data.get("background", False),
        wait=(wait,) if isinstance(wait, str) else tuple(wait) if wait is not None else None,
        wait_all="wait-all" in data,
        cancel=data.get("cancel"),
        parallel=tuple(make_step(i, s) for i, s in enumerate(parallel)) if parallel is not None else None,
    )


def make_job(text: str) -> Job:
    """A job from the YAML that stands below its id."""
    node = load(text, "ci.yml")
    assert isinstance(node, (YamlMapping, Sequence))
    data = to_data(node)
    if isinstance(data, list):
        data = {"steps": data}
    defaults = data.get("defaults", {}).get("run", {})
    environment = data.get("environment")
    return Job(
        id="build",
        position=PLACE,
        steps=tuple(make_step(i, s) for i, s in enumerate(data["steps"])),
        env=template(data.get("env")),
        outputs={name: Template(value, PLACE) for name, value in data.get("outputs", {}).items()},
        defaults=RunDefaults(
            shell=template(defaults.get("shell")), working_directory=template(defaults.get("working-directory"))
        ),
        environment=EnvironmentRef(
            name=Template(environment["name"], PLACE), url=template(environment.get("url")), position=PLACE
        )
        if environment
        else None,
        container=template(data.get("container")),
        services=template(data.get("services")),
    )


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
        cache = ActionCache(
            self.folder / "actions", server_url=f"file://{self.server}", environ=os.environ
        )
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
        lines = parts.logs.read("run", full.key, full.attempt)
        return Outcome(result, recorder, "\n".join(line.text for line in lines), parts)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


