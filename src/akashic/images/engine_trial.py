"""Starts an image in a container engine with the services of a compose file, waits for its health, asks its
smoke paths, and removes everything again.

Whatever is made bears a label with its owner's process: the next trial sweeps away one that was killed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from akashic.cancellation import Cancellation
from akashic.containers.containers import ContainerInfo
from akashic.containers.engine import Engine
from akashic.containers.errors import EngineError
from akashic.containers.streams import json_objects
from akashic.errors import UsageError
from akashic.images.archive import export_archive
from akashic.images.compose import Service
from akashic.images.config import HEALTH_PATH, SMOKE_PATHS
from akashic.images.read import read_manifest
from akashic.images.trial import POLL_S, Trial, check_smoke, get

LABEL = "akashic.image-test"
LOG_LINES = 200
STOP_TIMEOUT_S = 10
_NANOSECONDS = 1_000_000_000


def try_in_engine(
    engine: Engine,
    image: str,
    *,
    services: Sequence[Service] = (),
    env: Mapping[str, str],
    timeout_s: float,
    smoke_paths: Sequence[str] = (),
    cancellation: Cancellation,
) -> Trial:
    """Run one trial of an image that the engine has. Of `services` those with this image are it: the one that
    no other waits for is watched; without any the image runs alone. Raises UsageError when the image has no
    health check, EngineError, Interrupted."""
    sweep(engine)
    about = engine.images.inspect(image)
    health_path = about.labels.get(HEALTH_PATH, "")
    if not health_path and not about.health:
        raise UsageError(f"{image}: the image has no health check", hint="give image.healthcheck a path")
    watched = _watched(services, image)
    trial = _Trial(engine, image, env, timeout_s, cancellation)
    try:
        return trial.run(
            [*(service for service in services if service.name != watched.name), watched],
            health_path,
            tuple(smoke_paths) or tuple(about.labels.get(SMOKE_PATHS, "").split()),
            about.ports,
        )
    finally:
        trial.clean_up()


def _watched(services: Sequence[Service], image: str) -> Service:
    mine = [service for service in services if service.image == image]
    if not mine:
        return Service(
            name="app", image=image, needs={service.name: "service_started" for service in services}
        )
    needed = {need for service in services for need in service.needs}
    leaves = [service for service in mine if service.name not in needed]
    if len(leaves) != 1:
        names = ", ".join(service.name for service in mine)
        raise UsageError(f"which service is to be tried is not clear: {names} have the image {image}")
    return leaves[0]


class _Failed(Exception):
    """The trial ends badly; the container's log is to be shown."""

    def __init__(self, problem: str, container: str) -> None:
        super().__init__(problem)
        self.container = container


class _Trial:
    """One trial: what it made, and how long it may take."""

    def __init__(
        self, engine: Engine, image: str, env: Mapping[str, str], timeout_s: float, cancellation: Cancellation
    ) -> None:
        self._engine = engine
        self._image = image
        self._env = dict(env)
        self._cancellation = cancellation
        self._ends = time.monotonic() + timeout_s
        self._timeout_s = timeout_s
        self._name = f"akashic-image-test-{secrets.token_hex(6)}"
        self._labels = {LABEL: _owner()}
        self._network = ""
        self._containers: dict[str, str] = {}

    def run(
        self, services: Sequence[Service], health_path: str, smoke: Sequence[str], ports: Sequence[str]
    ) -> Trial:
        self._network = self._engine.networks.create(self._name, labels=self._labels)
        begun = time.monotonic()
        checked: list[str] = []
        try:
            for service in services:
                for need, condition in service.needs.items():
                    self._await(need, condition)
                begun = time.monotonic()
                self._start(service, ports if service is services[-1] else ())
            port = self._await_health(services[-1].name, health_path, ports)
            took_s = time.monotonic() - begun
            problem = check_smoke(port, smoke, checked) if smoke else ""
            if problem:
                raise _Failed(problem, services[-1].name)
        except _Failed as failed:
            log = self._engine.containers.logs(self._containers[failed.container], tail=LOG_LINES)
            text = log.decode("utf-8", "replace")
            return Trial(healthy=False, problem=str(failed), log=text, smoke=tuple(checked))
        return Trial(healthy=True, started_in_s=took_s, smoke=tuple(checked))

    def _start(self, service: Service, ports: Sequence[str]) -> None:
        mine = service.image == self._image
        if not mine:
            self._engine.images.ensure(
                service.image, "missing", say=lambda _: None, cancellation=self._cancellation
            )
        env = service.env | (self._env if mine else {})
        # An image asks for its own health every 30 s or so: here once a second, so that nobody waits for it.
        health = service.health if service.health is not None else {"Interval": _NANOSECONDS}
        config: dict[str, Any] = {
            "Image": service.image,
            "Env": [f"{name}={value}" for name, value in env.items()],
            "Labels": self._labels,
            "Healthcheck": health,
            "ExposedPorts": {port: {} for port in ports},
            "HostConfig": {
                "NetworkMode": self._name,
                "Tmpfs": dict.fromkeys(service.tmpfs, ""),
                "PortBindings": {port: [{"HostIp": "127.0.0.1", "HostPort": ""}] for port in ports},
                "Init": True,
                "SecurityOpt": ["no-new-privileges"],
            },
            "NetworkingConfig": {"EndpointsConfig": {self._name: {"Aliases": [service.name]}}},
        }
        if service.command is not None:
            config["Cmd"] = list(service.command)
        if service.entrypoint is not None:
            config["Entrypoint"] = list(service.entrypoint)
        for name, value in (("User", service.user), ("WorkingDir", service.workdir)):
            if value:
                config[name] = value
        made = self._engine.containers.create(config, name=f"{self._name}-{service.name}")
        self._containers[service.name] = made
        self._engine.containers.start(made)

    def _await(self, name: str, condition: str) -> None:
        """Until a service is as another needs it."""
        while condition != "service_started":
            found = self._look(name)
            if (
                condition == "service_completed_successfully"
                and not found.running
                and found.status == "exited"
            ):
                if found.exit_code:
                    raise _Failed(f"{name} ended with exit code {found.exit_code}", name)
                return
            if condition == "service_healthy" and found.health == "healthy":
                return
            if condition == "service_healthy" and not found.running:
                raise _Failed(f"{name} ended with exit code {found.exit_code} before it was healthy", name)
            state = found.health or found.status
            self._pause(name, f"{name} is not ready within {self._timeout_s:g} s: {state}")

    def _await_health(self, name: str, path: str, ports: Sequence[str]) -> int:
        """Until the image is well; the port of this machine that it is reached at, 0 for none."""
        last = "it did not answer"
        while True:
            found = self._look(name)
            if not found.running:
                code = found.exit_code
                raise _Failed(f"the image's process ended with exit code {code}", name)
            port = next((hosts[0] for key in ports if (hosts := found.ports.get(key))), 0)
            if path and port:
                status = get(port, path, 3.0)
                if status == 200:
                    return port
                last = f"{path} answered {status}" if status else last
            elif found.health == "healthy":
                return port
            else:
                last = f"its health check says {found.health or 'nothing'}"
            self._pause(name, f"not healthy within {self._timeout_s:g} s: {last}")

    def _look(self, name: str) -> ContainerInfo:
        return self._engine.containers.inspect(self._containers[name])

    def _pause(self, name: str, problem: str) -> None:
        if time.monotonic() >= self._ends:
            raise _Failed(problem, name)
        self._cancellation.wait(POLL_S)
        if self._cancellation.is_set():
            raise _Failed("it was interrupted", name)

    def clean_up(self) -> None:
        """Remove all that was made; goes on when one thing cannot be removed."""
        for container in reversed(self._containers.values()):
            with contextlib.suppress(EngineError):
                self._engine.containers.remove(container)
        if self._network:
            with contextlib.suppress(EngineError):
                self._engine.networks.remove(self._network)


def engine_name(engine: Engine, layout: Path, digest: str, *, platform: str = "") -> tuple[str, bool]:
    """The image of a layout as the engine knows it, and whether it was loaded for this: then it is to be
    removed. Raises ImageError, EngineError."""
    manifest = read_manifest(layout, digest, platform=platform)
    identity = str(manifest["config"]["digest"])
    for known in (identity, digest):
        # By the configuration's digest engines know it, by the manifest's those with the containerd store.
        if engine.images.exists(known):
            return known, False
    name = f"akashic-image-test:{identity.removeprefix('sha256:')[:12]}"
    archive = export_archive(layout, digest, name, platform=platform)
    headers = {"Content-Type": "application/x-tar"}
    with engine.transport.stream("POST", "/images/load", body=archive, headers=headers) as answer:
        for found in json_objects(answer):
            if "error" in found:
                raise EngineError(f"the engine does not take the image: {found['error']}")
    return name, True


def sweep(engine: Engine) -> int:
    """Remove what trials left whose process is gone; how many things. A trial that runs is not touched."""
    removed = 0
    for container in engine.containers.list(labels=[LABEL]):
        if not _runs(container.labels.get(LABEL, "")):
            engine.containers.remove(container.id)
            removed += 1
    for network in engine.networks.list(labels=[LABEL]):
        if not _runs(network.labels.get(LABEL, "")):
            with contextlib.suppress(EngineError):
                engine.networks.remove(network.id)
                removed += 1
    return removed


def _owner() -> str:
    return f"{os.getpid()}.{_started_at(os.getpid())}"


def _runs(owner: str) -> bool:
    number, _, started_at = owner.partition(".")
    return number.isdecimal() and bool(started_at) and _started_at(int(number)) == started_at


def _started_at(pid: int) -> str:
    """When a process began, in the kernel's ticks: a number that is used again is another process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
