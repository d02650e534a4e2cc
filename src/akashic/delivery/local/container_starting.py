"""From a request to containers that are healthy: the image in the engine, settings filled in, the release
command run, instances started."""

from __future__ import annotations

import os
from pathlib import Path

from akashic.cancellation import Cancellation
from akashic.delivery.checks import failures
from akashic.delivery.local.containers import DATA, ContainerRunner
from akashic.delivery.local.front import Front
from akashic.delivery.local.ledger import Ledger
from akashic.delivery.local.logs import log_of
from akashic.delivery.local.model import Environment, Instance, PrepareRequest, Slot
from akashic.delivery.local.processes import tail
from akashic.delivery.local.slots import SlotRunner, address
from akashic.delivery.local.starting import filled_env, first_instances, secret_env
from akashic.delivery.targets import Progress
from akashic.driver.deployment_ports import EffectOutcome
from akashic.errors import AkashicError


class ContainerStarter:
    """Makes slots of releases that run as containers."""

    def __init__(self, ledger: Ledger, runner: SlotRunner, containers: ContainerRunner, front: Front) -> None:
        self.ledger = ledger
        self.paths = ledger.paths
        self.runner = runner
        self.containers = containers
        self.front = front

    def start(
        self,
        environment: Environment,
        request: PrepareRequest,
        progress: Progress,
        cancellation: Cancellation,
    ) -> tuple[Slot | None, EffectOutcome]:
        """As `Starter.start`."""
        from akashic.images.read import read_config

        environment.stopped = False
        self.front.claim(environment, request.port, host=request.host, front=request.front, url=request.url)
        progress(f"giving the image of {request.version} to the container engine")
        image = self.containers.load(Path(request.layout), request.digest, cancellation)
        config = read_config(Path(request.layout), request.digest)
        slot = self._slot(environment, request, image, request.container_port or next(iter(config.ports), 0))
        env = filled_env(request, self._values(environment, request))
        if slot.root:
            self._give_data(Path(slot.root), config.user)
        if request.release_command and not request.rollback:
            progress(f"running {' '.join(request.release_command)}")
            self._run_release_command(environment, request, slot, env)
        with self.ledger.lock:
            environment.slots[slot.deployment] = slot
            environment.served_by[slot.deployment] = slot.deployment
            self.ledger.state.containers = True
            self.ledger.save()
        self.runner.remember(slot, env)
        first = [instance for instance in slot.instances if not instance.idle]
        progress(f"starting {len(first)} container{'s' if len(first) != 1 else ''}")
        logs = self.paths.logs(environment.name)
        evidence = self.runner.start_healthy(environment.name, slot, first, logs, cancellation)
        wrong = failures(evidence)
        if wrong:
            error = f"the release did not become healthy: {wrong}"
            return None, EffectOutcome(error=error, evidence=evidence)
        return slot, EffectOutcome(evidence=evidence, url=address(first[0]))

    def _slot(self, environment: Environment, request: PrepareRequest, image: str, port: int) -> Slot:
        if not port:
            raise AkashicError(
                "the image says no port that it listens on",
                hint=f"set environments.{request.environment}.target.container_port",
            )
        first = first_instances(self.runner, environment, request)
        wants_data = any("${data}" in text for text in request.env.values())
        return Slot(
            deployment=request.deployment,
            release=request.digest,
            version=request.version,
            commit=request.commit,
            root=str(self.paths.data(environment.name).resolve()) if wants_data else "",
            argv=request.command,
            image=image,
            network=request.network,
            container_port=port,
            health=request.health,
            start_timeout_s=request.start_timeout_s,
            drain_timeout_s=request.drain_timeout_s,
            log_bytes_max=request.log_bytes_max,
            secret_env=secret_env(request),
            unavailable_max=request.unavailable_max,
            surge_max=request.surge_max,
            instances=[Instance(index=index, idle=index >= first) for index in range(request.instances)],
        )

    def _values(self, environment: Environment, request: PrepareRequest) -> dict[str, str]:
        return {
            "port": str(environment.port),
            "environment": environment.name,
            "url": request.url or self.front.url(environment),
            "version": request.version,
            "commit": request.commit,
            "release": request.release,
            "data": DATA,
            **{f"secrets.{name}": value for name, value in request.secrets.items()},
        }

    def _give_data(self, folder: Path, user: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        uid, _, gid = user.partition(":")
        if os.geteuid() == 0 and uid.isdigit():
            os.chown(folder, int(uid), int(gid) if gid.isdigit() else int(uid))

    def _run_release_command(
        self, environment: Environment, request: PrepareRequest, slot: Slot, env: dict[str, str]
    ) -> None:
        """Migrations: once, before the new instances start. Raises AkashicError with the end of its log."""
        log = log_of(self.paths.logs(environment.name), request.deployment, "release")
        what = f"the release command {' '.join(request.release_command)!r}"
        code = self.containers.run_once(
            environment.name, slot, request.release_command, env, log, request.release_timeout_s
        )
        if code is None:
            raise AkashicError(
                f"{what} did not end within {request.release_timeout_s:g} s; its last lines:\n{tail(log)}"
            )
        if code != 0:
            raise AkashicError(f"{what} failed with exit code {code}; its last lines:\n{tail(log)}")
