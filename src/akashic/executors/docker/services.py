"""A job's service containers: started together, awaited by their own checks, shown by their logs when they
fail.

Source: GitHub's runner (`ContainerOperationProvider`): a service is ready when its health check says so, or,
with none, when it runs. The checks are run here, not by the engine, whose first look comes only after a whole
interval.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from akashic.cancellation import Cancellation
from akashic.containers.auth import Credentials
from akashic.containers.engine import Engine
from akashic.containers.errors import Conflict, EngineError, NotFound
from akashic.containers.images import ImageInfo
from akashic.errors import Interrupted
from akashic.executors.docker.create_options import CreateOptions, parse_create_options
from akashic.executors.docker.ports import LOOPBACK, Port, parse_ports, parse_volume, published
from akashic.executors.protocol import ExecutorError, ServiceFailed, ServiceInfo, ServiceSpec
from akashic.executors.providers.protocol import HealthCheck

LOG_TAIL_BYTES = 4000
PROBE_FIRST_S = 0.02
PROBE_FACTOR = 1.5
PROBE_LAST_S = 0.3
"""Longer pauses would make a start that takes seconds longer by as much; a look costs a tenth of a second."""


@dataclass(slots=True)
class Service:
    """A service to start: everything that can be wrong with it has been said already."""

    spec: ServiceSpec
    options: CreateOptions
    ports: list[Port]
    mounts: list[dict[str, Any]]
    container: str = ""
    health: HealthCheck | None = None


def plan(spec: ServiceSpec) -> Service:
    """Check a service before anything is started. Raises ExecutorError."""
    where = f"services.{spec.name}"
    options = parse_create_options(f"{where}.options", spec.options)
    try:
        shlex.split(spec.command), shlex.split(spec.entrypoint)
    except ValueError as error:
        raise ExecutorError(f"{where}.command: {error}") from None
    mounts = [parse_volume(f"{where}.volumes", text) for text in (*spec.volumes, *options.volumes)]
    ports = parse_ports(f"{where}.ports", (*spec.ports, *options.ports))
    return Service(spec, options, ports, [*mounts, *options.mounts])


def credentials_of(given: Mapping[str, str], registry: str) -> Credentials | None:
    """`credentials:` of a container or service; None when there are none."""
    username, password = given.get("username", ""), given.get("password", "")
    return Credentials(username=username, password=password, registry=registry) if username else None


def start(
    engine: Engine,
    service: Service,
    image: ImageInfo,
    *,
    name: str,
    network: str,
    labels: Mapping[str, str],
    publish: bool,
) -> None:
    """Create and start it, without waiting for its health. With `publish` its ports are this machine's too;
    one that is taken becomes any other. Raises ServiceFailed."""
    config = _config(service, image, network, labels)
    # What the engine makes when nobody waits for its answer any more is found by its name.
    service.container = name
    if publish:
        config["HostConfig"]["PortBindings"] = published(service.ports)
        config["ExposedPorts"] = {port.key: {} for port in service.ports}
    try:
        service.container = engine.containers.create(config, name=name, platform=service.options.platform)
        try:
            engine.containers.start(service.container)
        except Conflict:
            if not publish:
                raise
            engine.containers.remove(service.container)
            free = [Port(port.inner, 0, port.protocol, port.address) for port in service.ports]
            config["HostConfig"]["PortBindings"] = published(free)
            service.container = engine.containers.create(config, name=name, platform=service.options.platform)
            engine.containers.start(service.container)
            service.options.notes.append(
                f"service {service.spec.name}: a port that it asks for is taken on this machine; it has "
                f"another one"
            )
    except EngineError as error:
        raise ServiceFailed(
            f"service {service.spec.name} ({service.spec.image}) cannot be started: {error.message}",
            hint=error.hint,
        ) from error


def _config(service: Service, image: ImageInfo, network: str, labels: Mapping[str, str]) -> dict[str, Any]:
    spec, options = service.spec, service.options
    env = {"GITHUB_ACTIONS": "true", "CI": "true"} | spec.env | options.env
    config: dict[str, Any] = {
        **options.config,
        "Image": image.id,
        "Env": [f"{name}={value}" for name, value in env.items()],
        "Labels": {**options.labels, **labels},
        # Ours replaces the engine's: one look a second from here finds a server ready sooner than its own.
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {**options.host, "NetworkMode": network, "Mounts": service.mounts},
        "NetworkingConfig": {"EndpointsConfig": {network: {"Aliases": [spec.name, *options.aliases]}}},
    }
    if options.mac_address:
        config["MacAddress"] = options.mac_address
    if spec.command:
        config["Cmd"] = shlex.split(spec.command)
    if spec.entrypoint:
        config["Entrypoint"] = shlex.split(spec.entrypoint)
        config.setdefault("Cmd", [])
    service.health = _health(options, image)
    return config


def _health(options: CreateOptions, image: ImageInfo) -> HealthCheck | None:
    """The check that the options or the image ask for, None for neither."""
    if options.health_disabled:
        return None
    test = [str(word) for word in (image.health or {}).get("Test") or ()]
    own: tuple[str, ...] | None = None
    if test[:1] == ["CMD"]:
        own = tuple(test[1:])
    elif test[:1] == ["CMD-SHELL"] and len(test) > 1:
        own = ("/bin/sh", "-c", test[1])
    found = options.health
    if found is None and own is None:
        return None
    facts = image.health or {}
    base = HealthCheck(
        argv=own,
        interval_s=(facts.get("Interval") or 30_000_000_000) / 1e9,
        timeout_s=(facts.get("Timeout") or 30_000_000_000) / 1e9,
        retries=facts.get("Retries") or 3,
        start_period_s=(facts.get("StartPeriod") or 0) / 1e9,
    )
    if found is None:
        return base
    if found.argv is None:
        if own is None:
            return None
        default = HealthCheck()
        values = {
            name: getattr(found if getattr(found, name) != getattr(default, name) else base, name)
            for name in ("interval_s", "timeout_s", "retries", "start_period_s")
        }
        return HealthCheck(argv=own, **values)
    return found


def wait_healthy(engine: Engine, service: Service, cancellation: Cancellation) -> None:
    """Until its check succeeds, within the time that Docker would give it. One without a check that has ended
    by now gets a note with its log. Raises ServiceFailed, Interrupted."""
    check = service.health
    if check is None or check.argv is None:
        try:
            _must_run(engine, service)
        except ServiceFailed as error:
            # As GitHub's runner has it: without a check nobody said that it has to run on.
            service.options.notes.append(error.message)
        return
    budget_s = check.start_period_s + check.retries * max(check.interval_s, 0.1) + check.timeout_s
    deadline = time.monotonic() + budget_s
    pause = PROBE_FIRST_S
    while True:
        said: list[bytes] = []
        code = _probe(engine, service, check.argv, said, cancellation, check.timeout_s or budget_s)
        if code == 0:
            return
        _must_run(engine, service)
        if time.monotonic() + pause > deadline:
            lines = b"".join(said).decode(errors="replace").strip().splitlines()
            last = f" (the check ended with {code})" if code >= 0 else " (the check did not end in time)"
            if lines:
                last = f" (the check said: {lines[-1]})"
            raise _failed(engine, service, f"did not become healthy{last}")
        if cancellation.wait(pause):
            raise Interrupted(f"stopped while waiting for service {service.spec.name}: {cancellation.reason}")
        pause = min(pause * PROBE_FACTOR, max(min(check.interval_s, PROBE_LAST_S), PROBE_FIRST_S))


def _probe(
    engine: Engine,
    service: Service,
    argv: Sequence[str],
    said: list[bytes],
    cancellation: Cancellation,
    timeout_s: float,
) -> int:
    try:
        return engine.containers.exec(
            service.container, argv, on_output=said.append, cancellation=cancellation, timeout_s=timeout_s
        )
    except (Conflict, NotFound):
        return -1  # It does not run: the caller looks why.


def _must_run(engine: Engine, service: Service) -> None:
    try:
        info = engine.containers.inspect(service.container)
    except NotFound:
        raise ServiceFailed(f"service {service.spec.name} ({service.spec.image}) is gone") from None
    if not info.running:
        memory = ", out of memory" if info.out_of_memory else ""
        raise _failed(engine, service, f"ended with exit code {info.exit_code}{memory}")


def _failed(engine: Engine, service: Service, what: str) -> ServiceFailed:
    tail = logs(engine, service)[-LOG_TAIL_BYTES:].decode(errors="replace").strip()
    shown = f"; its log ends with:\n{tail}" if tail else "; it has written no log"
    return ServiceFailed(f"service {service.spec.name} ({service.spec.image}) {what}{shown}")


def logs(engine: Engine, service: Service) -> bytes:
    """The service's output so far; empty when it is gone."""
    with contextlib.suppress(EngineError):
        return engine.containers.logs(service.container)
    return b""


def info_of(engine: Engine, service: Service, network: str, *, publish: bool) -> ServiceInfo:
    """The service as `job.services.<name>` shows it, with the ports that are published now."""
    found = engine.containers.inspect(service.container).ports if publish else {}
    ports = {str(port.inner): str(found[port.key][0]) for port in service.ports if found.get(port.key)}
    return ServiceInfo(
        name=service.spec.name,
        id=service.container,
        network=network,
        host=service.spec.name if publish else LOOPBACK,
        ports=ports,
        notes=tuple(service.options.notes),
    )
