"""From a request to instances that are healthy, whatever they are: the address claimed, a slot made of the
release, its release command run, its first instances started."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from akashic.cancellation import Cancellation
from akashic.delivery.checks import failures
from akashic.delivery.local.front import Front
from akashic.delivery.local.ledger import Ledger
from akashic.delivery.local.logs import log_of
from akashic.delivery.local.model import Environment, Instance, PrepareRequest, Slot
from akashic.delivery.local.processes import tail
from akashic.delivery.local.runtime import fill, placeholders
from akashic.delivery.local.slots import SlotRunner, address
from akashic.delivery.targets import Progress
from akashic.driver.deployment_ports import EffectOutcome
from akashic.errors import AkashicError


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A slot in which nothing runs yet. `env` is its instances' environment; it may hold secrets.
    `run_release_command` runs the request's to its end, its output in a file that it is given, and returns
    its exit code, None when it did not end in time; then nothing of it is left. It raises OSError when it
    cannot be started."""

    slot: Slot
    env: dict[str, str]
    run_release_command: Callable[[Path], int | None]
    notes: tuple[str, ...] = ()


class SlotMaker(Protocol):
    """What slots are made of: processes of this machine, or containers."""

    unit: str
    """What an instance is called."""

    def make(
        self,
        environment: Environment,
        request: PrepareRequest,
        slot: Slot,
        values: Mapping[str, str],
        progress: Progress,
        cancellation: Cancellation,
    ) -> Made:
        """Complete `slot` by what its instances are started from. `values` are what placeholders of the
        request's variables stand for, but for `data` and those of services. Raises AkashicError."""
        ...


class Starter:
    """Makes slots of releases and starts them."""

    def __init__(self, ledger: Ledger, runner: SlotRunner, front: Front, maker: SlotMaker) -> None:
        self.ledger = ledger
        self.paths = ledger.paths
        self.runner = runner
        self.front = front
        self.maker = maker

    def start(
        self,
        environment: Environment,
        request: PrepareRequest,
        progress: Progress,
        cancellation: Cancellation,
    ) -> tuple[Slot | None, EffectOutcome]:
        """A slot whose first instances are healthy, not yet among the environment's; without one the outcome
        says why, and nothing of it is left. Raises AkashicError, with nothing left."""
        environment.stopped = False
        self.front.claim(environment, request.port, host=request.host, front=request.front, url=request.url)
        values = self._values(environment, request)
        made = self.maker.make(environment, request, _blank(request), values, progress, cancellation)
        slot = made.slot
        first = self._first_instances(environment, request)
        slot.instances = [Instance(index=index, idle=index >= first) for index in range(request.instances)]
        if request.release_command and not request.rollback:
            progress(f"running {' '.join(request.release_command)}")
            self._run_release_command(environment, request, made)
        with self.ledger.lock:
            environment.slots[slot.deployment] = slot
            environment.served_by[slot.deployment] = slot.deployment
            if slot.image:
                self.ledger.state.containers = True
            self.ledger.save()
        self.runner.remember(slot, made.env)
        return self._start_first(environment, made, progress, cancellation)

    def _start_first(
        self, environment: Environment, made: Made, progress: Progress, cancellation: Cancellation
    ) -> tuple[Slot | None, EffectOutcome]:
        """Start the instances that come before the switch: those that are not idle."""
        slot = made.slot
        first = [instance for instance in slot.instances if not instance.idle]
        count = len(slot.instances)
        of = f" of {count}" if len(first) < count else ""
        progress(f"starting {len(first)}{of} {self.maker.unit}{'s' if count != 1 else ''}")
        evidence = self.runner.start_healthy(
            environment.name, slot, first, self.paths.logs(environment.name), cancellation
        )
        wrong = failures(evidence)
        if wrong:
            error = f"the release did not become healthy: {wrong}"
            return None, EffectOutcome(error=error, evidence=evidence)
        return slot, EffectOutcome(evidence=evidence, notes=made.notes, url=address(first[0]))

    def _values(self, environment: Environment, request: PrepareRequest) -> dict[str, str]:
        return {
            "port": str(environment.port),
            "environment": environment.name,
            "url": request.url or self.front.url(environment),
            "version": request.version,
            "commit": request.commit,
            "release": request.release,
            **{f"secrets.{name}": value for name, value in request.secrets.items()},
        }

    def _first_instances(self, environment: Environment, request: PrepareRequest) -> int:
        """How many instances start before the switch: all, unless they roll in place of some that serve."""
        slot = environment.slots.get(environment.serving)
        serves = slot is not None and any(self.runner.alive(slot, instance) for instance in slot.instances)
        rolls = serves and request.surge_max
        return min(request.instances, request.surge_max) if rolls else request.instances

    def _run_release_command(self, environment: Environment, request: PrepareRequest, made: Made) -> None:
        """Migrations: once, before the new instances start. Raises AkashicError with the end of its log."""
        log = log_of(self.paths.logs(environment.name), request.deployment, "release")
        what = f"the release command {' '.join(request.release_command)!r}"
        try:
            code = made.run_release_command(log)
        except OSError as error:
            raise AkashicError(f"{what} cannot be started: {error.strerror}") from error
        if code is None:
            raise AkashicError(
                f"{what} did not end within {request.release_timeout_s:g} s; its last lines:\n{tail(log)}"
            )
        if code != 0:
            raise AkashicError(f"{what} failed with exit code {code}; its last lines:\n{tail(log)}")


def filled_env(request: PrepareRequest, values: Mapping[str, str]) -> dict[str, str]:
    """The release's variables. Raises AkashicError for a placeholder without a value."""
    return {
        name: fill(text, values, where=f"environments.{request.environment}.target.env.{name}")
        for name, text in request.env.items()
    }


def _blank(request: PrepareRequest) -> Slot:
    return Slot(
        deployment=request.deployment,
        release=request.digest,
        version=request.version,
        commit=request.commit,
        root="",
        health=request.health,
        start_timeout_s=request.start_timeout_s,
        drain_timeout_s=request.drain_timeout_s,
        log_bytes_max=request.log_bytes_max,
        secret_env=_secret_env(request),
        unavailable_max=request.unavailable_max,
        surge_max=request.surge_max,
    )


def _secret_env(request: PrepareRequest) -> tuple[str, ...]:
    """The variables that hold secrets, or passwords of services."""
    return tuple(
        name
        for name, text in request.env.items()
        if any(one.startswith(("secrets.", "services.")) for one in placeholders(text))
    )
