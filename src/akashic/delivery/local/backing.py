"""The backing services of environments: started when a release needs them, kept running, stopped with the
environment; their data stays."""

from __future__ import annotations

import contextlib
import signal

from akashic.delivery.local.ledger import Ledger
from akashic.delivery.local.model import Environment, PrepareRequest, Service
from akashic.delivery.local.ports import free_port, holder, is_free
from akashic.delivery.local.processes import MARK, alive, stop
from akashic.delivery.local.services import placeholders_of, service_command, start_service
from akashic.delivery.targets import Progress
from akashic.errors import AkashicError
from akashic.executors.providers.protocol import ServiceCommand

STOP_GRACE_S = 10.0
PAUSE_FIRST_S, PAUSE_MAX_S = 0.5, 30.0


class Backing:
    """The services of all environments."""

    def __init__(self, ledger: Ledger, mark: str) -> None:
        self.ledger = ledger
        self.paths = ledger.paths
        self.mark = mark

    def ensure(self, environment: Environment, request: PrepareRequest, progress: Progress) -> dict[str, str]:
        """All services that a release needs run; the values of their placeholders. Raises AkashicError."""
        values: dict[str, str] = {}
        for name, (image, env, wanted_port) in request.services.items():
            service = environment.services.get(name)
            if service is None or service.image != image:
                service = self._add(environment, name, image, env, wanted_port)
            if not alive(service.process):
                progress(f"starting {name}")
                self._run(environment, name, service)
            values |= placeholders_of(name, self._command(environment, name, service))
        return values

    def stop(self, environment: Environment, progress: Progress) -> None:
        for name, service in dict(environment.services).items():
            progress(f"{environment.name}: stopping {name}")
            if service.process is not None:
                number = int(signal.SIGTERM)
                with contextlib.suppress(AkashicError):
                    number = self._command(environment, name, service).stop_signal
                stop(service.process, grace_s=STOP_GRACE_S, number=number)
            with self.ledger.lock:
                environment.services.pop(name, None)

    def watch(self, environment: Environment, now: float) -> None:
        """Start again what died, with growing pauses."""
        for name, service in list(environment.services.items()):
            if not alive(service.process) and now >= service.next_start:
                service.restarts += 1
                service.next_start = now + min(PAUSE_MAX_S, PAUSE_FIRST_S * 2**service.restarts)
                with contextlib.suppress(AkashicError):
                    self._run(environment, name, service)

    def _add(
        self, environment: Environment, name: str, image: str, env: dict[str, str], wanted_port: int
    ) -> Service:
        port = wanted_port or environment.service_ports.get(name) or free_port()
        if not is_free(port):
            if wanted_port:
                raise AkashicError(
                    f"service {name}: port {port} is taken by {holder(port)}",
                    hint=f"stop it, or give another port to environments.{environment.name}.target.services",
                )
            port = free_port()
        service = Service(image=image, env=env, port=port)
        with self.ledger.lock:
            environment.services[name] = service
            environment.service_ports[name] = port
            self.ledger.save()
        return service

    def _run(self, environment: Environment, name: str, service: Service) -> None:
        command = self._command(environment, name, service)
        mark = {MARK: f"{self.mark}/{environment.name}/service"}
        log = self.paths.logs(environment.name) / f"service-{name}.log"
        service.process = start_service(name, command, mark=mark, log=log)
        self.ledger.save()

    def _command(self, environment: Environment, name: str, service: Service) -> ServiceCommand:
        return service_command(
            name,
            service.image,
            env=service.env,
            data_dir=self.paths.service(environment.name, name),
            port=service.port,
            cache_dir=self.paths.state_dir / "environments" / "_services",
        )
