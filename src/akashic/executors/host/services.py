"""A job's service containers, served by native providers inside the job's own place."""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from akashic.cancellation import Cancellation
from akashic.executors.launching import Launcher
from akashic.executors.protocol import ExecutorError, ServiceInfo, ServiceSpec, Unsupported
from akashic.executors.providers.options import ServiceOptions, parse_options
from akashic.executors.providers.ports import ReservedPort, reserve
from akashic.executors.providers.protocol import Provider, ServicePlan
from akashic.executors.providers.registry import find_provider
from akashic.executors.providers.service import RunningService, launch, wait_healthy
from akashic.executors.providers.users import service_user

_STOP_TIMEOUT_S = 1.0
"""Throw-away data needs no tidy end; what does not go in time goes with the job's processes."""


class _Wanted(msgspec.Struct, frozen=True):
    spec: ServiceSpec
    provider: Provider
    options: ServiceOptions
    port: int | None


class Services:
    """The services of one sandbox. Everything about them is checked before the first one starts."""

    def __init__(self, launcher: Launcher, folder: str, cache_dir: str) -> None:
        self.notes: list[str] = []
        self._launcher = launcher
        self._folder = folder
        self._cache_dir = cache_dir
        self._running: dict[str, RunningService] = {}

    def start(self, specs: Sequence[ServiceSpec], cancellation: Cancellation) -> dict[str, ServiceInfo]:
        """Start all of them, then wait for all. Raises Unsupported, ServiceFailed, Interrupted; what was
        started is then ended by `stop`."""
        wanted = [_check(spec) for spec in specs]
        reserved: list[ReservedPort] = []
        try:
            infos = {}
            for wish in wanted:
                port, note = reserve(wish.port)
                reserved.append(port)
                infos[wish.spec.name] = self._launch(wish, port.number, note)
            for wish in wanted:
                if not wish.options.health_disabled:
                    wait_healthy(self._running[wish.spec.name], wish.options.health, cancellation)
            return infos
        finally:
            for port in reserved:
                port.release()

    def _launch(self, wish: _Wanted, port: int, note: str) -> ServiceInfo:
        spec = wish.spec
        index = len(self._running)
        folder = f"{self._folder}/{index}"
        os.makedirs(folder)
        plan = ServicePlan(
            name=spec.name,
            image=spec.image,
            data_dir=f"{folder}/data",
            socket_dir=f"{folder}/s",
            port=port,
            env={**spec.env, **wish.options.env},
            command=spec.command,
            user=service_user(wish.provider.name),
        )
        running, notes = launch(
            wish.provider,
            plan,
            cache_dir=self._cache_dir,
            log_path=f"{folder}/log",
            launcher=self._launcher,
        )
        self._running[spec.name] = running
        moved = (f"service {spec.name}: {note}",) if note else ()
        every = (*moved, *wish.options.notes, *notes)
        self.notes += every
        return ServiceInfo(
            name=spec.name,
            id=f"{os.path.basename(os.path.dirname(self._folder))}-{spec.name}",
            network="host",
            host="localhost",
            ports={str(wish.provider.container_port): str(port)},
            notes=every,
        )

    def logs(self, name: str) -> bytes:
        service = self._running.get(name)
        return b"" if service is None else service.logs()

    def stop(self) -> None:
        for service in self._running.values():
            service.stop(_STOP_TIMEOUT_S)


def _check(spec: ServiceSpec) -> _Wanted:
    provider = find_provider(spec.image)
    for key, value in (("volumes", spec.volumes), ("entrypoint", spec.entrypoint)):
        if value:
            raise Unsupported(
                f"services.{spec.name}.{key}: a native {provider.name} server has no {key}",
                hint="remove it, or use an executor that runs containers: docker, kubernetes",
            )
    return _Wanted(spec, provider, parse_options(spec.name, spec.options), _wanted_port(spec, provider))


def _wanted_port(spec: ServiceSpec, provider: Provider) -> int | None:
    """The port of this machine that is asked for; None when any will do, as without a mapping."""
    wanted = None
    for mapping in spec.ports:
        text, _, protocol = mapping.partition("/")
        *outer, inner = text.split(":")
        host = outer[-1] if outer else ""
        numbers = [part for part in (host, inner) if part]
        if protocol not in ("", "tcp") or not all(part.isascii() and part.isdigit() for part in numbers):
            raise ExecutorError(
                f"services.{spec.name}.ports: {mapping!r} is not a port that a native server can listen on",
                hint="expected CONTAINER or HOST:CONTAINER with TCP port numbers, such as 5432:5432",
            )
        if not all(0 < int(part) < 65536 for part in numbers):
            raise ExecutorError(f"services.{spec.name}.ports: {mapping!r} is out of the range 1 to 65535")
        if int(inner) != provider.container_port:
            raise ExecutorError(
                f"services.{spec.name}.ports: {spec.image} listens on "
                f"{provider.container_port}, not on {inner}"
            )
        if host:
            wanted = int(host)
    return wanted
