"""Drives runs: builds the runner for a run and gives its jobs a port."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from msgspec.structs import replace as evolve

from akashic.app.application import Application
from akashic.app.retention import remove_expired
from akashic.app.services import RunServices
from akashic.cancellation import Cancellation
from akashic.driver.locks import FileRunLocks
from akashic.driver.observer import RunObserver
from akashic.driver.ports import JobReporter
from akashic.driver.runs import RunDriver
from akashic.engine.events import GateOpened, RunCreated
from akashic.engine.requests import JobRequest, JobResult
from akashic.engine.runstate import RunState
from akashic.executors.container_options import HOST_IMAGE, IMAGES_OPTION, NO_OPTIONS, ContainerOptions
from akashic.executors.host import isolation
from akashic.executors.protocol import Executor, Tree
from akashic.executors.registry import executor as find_executor
from akashic.executors.registry import sweep_containers
from akashic.runner.actions.cache import ActionCache
from akashic.runner.actions.lockfile import LockFile
from akashic.runner.actions.resolve import ActionResolver
from akashic.runner.job import JobRunner
from akashic.runner.parts import Breakpoint, RunnerParts

SandboxMode = Literal["auto", "strict", "off"]
GITHUB_URL = "https://github.com"
JOBS_AT_ONCE_MIN, JOBS_FOR_EACH_CORE = 4, 2


class DriveOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a person chose for this process; not part of the run's record. `secrets` come on top of those of
    the secrets file, for every environment. `break_at` names steps as `job/step`."""

    sandbox: SandboxMode = "auto"
    secrets: Mapping[str, str] = msgspec.field(default_factory=dict)
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    overrides: Mapping[str, str] = msgspec.field(default_factory=dict)
    builtins: bool = True
    offline: bool = False
    jobs_max: int = 0
    step_debug: bool = False
    breakpoint: Breakpoint | None = None
    break_on_failure: bool = False
    break_at: frozenset[str] = frozenset()
    containers: ContainerOptions = NO_OPTIONS
    memory_bytes_max: int | None = None
    processes_max: int | None = None
    keep: bool = True
    """Whether the place of a failed job is kept, so that `resume` can take the job up there."""


def drive(
    application: Application,
    created: RunCreated,
    options: DriveOptions,
    observers: Sequence[RunObserver],
    cancellation: Cancellation,
) -> RunState:
    """Drive a run to its end in this thread. Raises RunBusy when another process drives it."""
    services = RunServices(application)
    jobs = _JobPort(application, created, options, services)
    driver = RunDriver(
        journal=application.journal,
        job_port=jobs,
        gate_port=_GatePort(application),
        clock=application.clock,
        locks=FileRunLocks(application.state_dir / "locks"),
        executor=created.executor,
        observers=observers,
        jobs_max=options.jobs_max or jobs_max_default(),
        driver_name=f"{application.user} (process {os.getpid()})",
    )
    try:
        state = driver.drive(created.run_id, cancellation)
    finally:
        services.close()
        jobs.executor.end_run()
        application.later(jobs.executor.finish)
    for line in remove_expired(application):
        application.say(line)
    for error in driver.observer_errors:
        # A reader that has gone (`| head`) changes nothing about how the run ended.
        if not isinstance(error, BrokenPipeError):
            raise error
    return state


def jobs_max_default() -> int:
    """How many jobs run at once: more than the cores, because jobs also wait; not all, because dozens that
    compete for two cores run into their own time-outs."""
    return max(JOBS_AT_ONCE_MIN, JOBS_FOR_EACH_CORE * len(os.sched_getaffinity(0)))


def prepare_isolation(mode: SandboxMode) -> None:
    """Call it while this process has one thread: without root, namespaces can only be entered then."""
    if mode != "off":
        isolation.probe()


def look_ahead() -> None:
    """Find out what holds for every run of this user on this machine; for a process that runs will be forked
    from. Who is not root would move into a namespace by it, so only root's can know."""
    if os.geteuid() == 0:
        isolation.probe()


class _JobPort:
    """The runner, with the local environments' supervisor awake before a job that may deploy to them: what a
    job starts dies with the job, so the supervisor must not be started inside."""

    def __init__(
        self, application: Application, created: RunCreated, options: DriveOptions, services: RunServices
    ) -> None:
        self._application = application
        parts = runner_parts(application, created, options)
        self._runner = JobRunner(evolve(parts, open_services=services.open_job))
        self.executor = parts.executor

    def run(self, request: JobRequest, reporter: JobReporter, cancellation: Cancellation) -> JobResult:
        if request.environment:
            self._application.prepare_environment(request.environment)
        return self._runner.run(request, reporter, cancellation)

    def recover(self, idempotency_key: str) -> JobResult | None:
        return self._runner.recover(idempotency_key)


class _GatePort:
    """The rules of environments, loaded when the first job has one: most runs have none."""

    def __init__(self, application: Application) -> None:
        self._application = application

    def open(self, request: JobRequest, now: float) -> GateOpened | str:
        return self._application.gates.open(request, now)


def runner_parts(application: Application, created: RunCreated, options: DriveOptions) -> RunnerParts:
    """What the jobs of a run share."""
    executor = executor_of(application, created, options.containers)
    _sweep(application, executor)
    settings = application.run_settings
    return RunnerParts(
        executor=executor,
        tree=Tree(root=created.repository_root, commit=created.commit, dirty=created.dirty),
        repository=created.repository,
        logs=application.logs,
        blobs=application.blobs,
        artifacts=application.artifacts,
        caches=application.caches,
        secrets=_secret_source(application, options.secrets),
        clock=application.clock,
        state_dir=application.state_dir,
        actions=ActionResolver(
            cache=action_cache(application),
            overrides=options.overrides,
            lock=LockFile.read(application.root),
            builtins=options.builtins,
            offline=options.offline,
        ),
        sandbox_mode=options.sandbox,
        extra_env=options.env,
        executable_folder=str(Path(sys.executable).parent),
        step_debug=options.step_debug,
        breakpoint=options.breakpoint,
        break_on_failure=options.break_on_failure,
        break_at=options.break_at,
        keep_failed=options.keep,
        memory_bytes_max=options.memory_bytes_max or settings.memory_bytes_max,
        processes_max=options.processes_max or settings.processes_max,
        newest_tree=lambda: _newest_tree(application),
    )


def sweep_places(application: Application) -> None:
    """Remove what killed processes left of their jobs on this machine: processes, folders, containers. A run
    does it when it begins; for who drives none."""
    folders = _executor_folders(application)
    _sweep(
        application,
        find_executor("host", **folders, environ=application.environ, containers=NO_OPTIONS),
    )


def _sweep(application: Application, executor: Executor) -> None:
    executor.sweep()
    # An executor that uses an engine has seen to that; then this finds nothing.
    sweep_containers(**_executor_folders(application), environ=application.environ)


def executor_of(
    application: Application, created: RunCreated, containers: ContainerOptions = NO_OPTIONS
) -> Executor:
    """The executor of a run. Of images `containers` knows best, then the run's record, then akashic.yaml."""
    if created.executor != "host":
        labels = {label.lower(): image for label, image in application.run_settings.labels.items()}
        recorded = created.options.get(IMAGES_OPTION, {})
        containers = evolve(containers, images={**labels, **recorded, **containers.images})
    elif _wants_containers(containers):
        application.say(
            "images and options of containers have no effect on jobs of this machine: --executor docker"
            " uses them"
        )
    return find_executor(
        created.executor,
        **_executor_folders(application),
        environ=application.environ,
        containers=containers,
    )


def _executor_folders(application: Application) -> dict[str, str]:
    return {
        "state_dir": str(application.state_dir),
        "cache_dir": str(application.user_cache / "services"),
        "tool_cache": str(application.user_cache / "tools"),
    }


def _wants_containers(options: ContainerOptions) -> bool:
    return evolve(options, images={}) != NO_OPTIONS or bool(set(options.images.values()) - {HOST_IMAGE})


def _newest_tree(application: Application) -> Tree:
    repository = application.repository
    return Tree(root=str(application.root), commit=repository.commit, dirty=repository.dirty)


def action_cache(application: Application, *, server_url: str = GITHUB_URL) -> ActionCache:
    """Where fetched actions are kept."""
    return ActionCache(application.user_cache / "actions", server_url=server_url, environ=application.environ)


def _secret_source(
    application: Application, given: Mapping[str, str]
) -> Callable[[str, str], Mapping[str, str]]:
    def secrets(environment: str, trust: str) -> Mapping[str, str]:
        if trust == "fork":
            return {}
        return {**application.secrets_of(environment), **{name.upper(): given[name] for name in given}}

    return secrets
