"""From a request to instances that are healthy: unpack the release, fill in its settings, run its release
command, start it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from pathlib import Path

import msgspec

from akashic.cancellation import Cancellation
from akashic.delivery.checks import failures
from akashic.delivery.local.backing import Backing
from akashic.delivery.local.front import Front
from akashic.delivery.local.instances import secret_texts
from akashic.delivery.local.ledger import Ledger
from akashic.delivery.local.logs import log_of, open_log
from akashic.delivery.local.model import Environment, Instance, PrepareRequest, Slot
from akashic.delivery.local.processes import MARK, kill_group, spawn, stop, tail, wait_gone
from akashic.delivery.local.runtime import Start, fill, placeholders, start_of
from akashic.delivery.local.slots import SlotRunner, address
from akashic.delivery.targets import Progress
from akashic.driver.deployment_ports import EffectOutcome
from akashic.errors import AkashicError

STOP_GRACE_S = 10.0
LOG_END_TIMEOUT_S = 3.0


class Starter:
    """Makes slots of releases that run as processes of this machine."""

    def __init__(self, ledger: Ledger, runner: SlotRunner, front: Front, backing: Backing, mark: str) -> None:
        self.ledger = ledger
        self.paths = ledger.paths
        self.runner = runner
        self.front = front
        self.backing = backing
        self.mark = mark

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
        values = self.backing.ensure(environment, request, progress)
        root = self._unpack(request, progress)
        values |= self._values(environment, request)
        start = self._command(request, root, values)
        if start.owner is not None:
            os.chown(self.paths.data(environment.name), *start.owner)
        slot = self._slot(environment, request, root, start)
        if request.release_command and not request.rollback:
            progress(f"running {' '.join(request.release_command)}")
            self._run_release_command(environment, request, root, values)
        with self.ledger.lock:
            environment.slots[slot.deployment] = slot
            environment.served_by[slot.deployment] = slot.deployment
            self.ledger.save()
        self.runner.remember(slot, start.env)
        return self._first(environment, slot, start, progress, cancellation)

    def _first(
        self,
        environment: Environment,
        slot: Slot,
        start: Start,
        progress: Progress,
        cancellation: Cancellation,
    ) -> tuple[Slot | None, EffectOutcome]:
        """Start the instances that come before the switch: those that are not idle."""
        first = [instance for instance in slot.instances if not instance.idle]
        count = len(slot.instances)
        of = f" of {count}" if len(first) < count else ""
        progress(f"starting {len(first)}{of} instance{'s' if count != 1 else ''}")
        evidence = self.runner.start_healthy(
            environment.name, slot, first, self.paths.logs(environment.name), cancellation
        )
        wrong = failures(evidence)
        if wrong:
            error = f"the release did not become healthy: {wrong}"
            return None, EffectOutcome(error=error, evidence=evidence)
        return slot, EffectOutcome(evidence=evidence, notes=start.notes, url=address(first[0]))

    def _slot(self, environment: Environment, request: PrepareRequest, root: Path, start: Start) -> Slot:
        first = first_instances(self.runner, environment, request)
        return Slot(
            deployment=request.deployment,
            release=request.digest,
            version=request.version,
            commit=request.commit,
            root=str(root),
            argv=start.argv,
            cwd=start.cwd,
            user=start.user,
            health=request.health,
            start_timeout_s=request.start_timeout_s,
            drain_timeout_s=request.drain_timeout_s,
            log_bytes_max=request.log_bytes_max,
            secret_env=secret_env(request),
            unavailable_max=request.unavailable_max,
            surge_max=request.surge_max,
            instances=[Instance(index=index, idle=index >= first) for index in range(request.instances)],
        )

    def _command(self, request: PrepareRequest, root: Path, values: dict[str, str]) -> Start:
        from akashic.images.read import read_config

        image = read_config(Path(request.layout), request.digest)
        return start_of(image, root, command=request.command, env=filled_env(request, values))

    def _unpack(self, request: PrepareRequest, progress: Progress) -> Path:
        from akashic.images.read import read_config, unpack

        root = self.paths.release(request.digest)
        if root.is_dir():
            return root
        if not read_config(Path(request.layout), request.digest).runtime:
            raise AkashicError(
                f"the release {request.version} was built with a container engine: its processes need that "
                "image's own system, and a local target runs them on this machine's",
                hint="give the environment a target of type docker, or build the release with: "
                "akashic image build --engine none",
            )
        progress(f"unpacking {request.version}")
        root.parent.mkdir(parents=True, exist_ok=True)
        temporary = root.with_name(f".{root.name}.{os.getpid()}.{threading.get_ident()}")
        shutil.rmtree(temporary, ignore_errors=True)
        unpack(Path(request.layout), request.digest, temporary)
        temporary.chmod(0o755)
        with contextlib.suppress(OSError):
            temporary.rename(root)
        shutil.rmtree(temporary, ignore_errors=True)
        return root

    def _values(self, environment: Environment, request: PrepareRequest) -> dict[str, str]:
        data = self.paths.data(environment.name)
        data.mkdir(parents=True, exist_ok=True)
        return {
            "port": str(environment.port),
            "environment": environment.name,
            "url": request.url or self.front.url(environment),
            "version": request.version,
            "commit": request.commit,
            "release": request.release,
            "data": str(data),
            **{f"secrets.{name}": value for name, value in request.secrets.items()},
        }

    def _run_release_command(
        self, environment: Environment, request: PrepareRequest, root: Path, values: dict[str, str]
    ) -> None:
        """Migrations: once, before the new instances start. Raises AkashicError with the end of its log."""
        start = self._command(msgspec.structs.replace(request, command=request.release_command), root, values)
        log = log_of(self.paths.logs(environment.name), request.deployment, "release")
        env = {**start.env, MARK: f"{self.mark}/{environment.name}/{request.deployment}"}
        what = f"the release command {' '.join(request.release_command)!r}"
        secrets = secret_texts(secret_env(request), start.env)
        try:
            output, writer = open_log(log, bytes_max=request.log_bytes_max, secrets=secrets)
            process, popen = spawn(start.argv, env=env, cwd=start.cwd, log=output, user=start.user)
        except OSError as error:
            raise AkashicError(f"{what} cannot be started: {error.strerror}") from error
        late = False
        try:
            code = popen.wait(timeout=request.release_timeout_s)
        except subprocess.TimeoutExpired:
            late, code = True, -1
            stop(process, grace_s=STOP_GRACE_S)
        kill_group(process)
        wait_gone(writer, LOG_END_TIMEOUT_S)
        if late:
            raise AkashicError(
                f"{what} did not end within {request.release_timeout_s:g} s; its last lines:\n{tail(log)}"
            )
        if code != 0:
            raise AkashicError(f"{what} failed with exit code {code}; its last lines:\n{tail(log)}")


def first_instances(runner: SlotRunner, environment: Environment, request: PrepareRequest) -> int:
    """How many instances start before the switch: all, unless they roll in place of some that serve."""
    slot = environment.slots.get(environment.serving)
    serves = slot is not None and any(runner.alive(slot, instance) for instance in slot.instances)
    return min(request.instances, request.surge_max) if serves and request.surge_max else request.instances


def filled_env(request: PrepareRequest, values: dict[str, str]) -> dict[str, str]:
    """The release's variables. Raises AkashicError for a placeholder without a value."""
    return {
        name: fill(text, values, where=f"environments.{request.environment}.target.env.{name}")
        for name, text in request.env.items()
    }


def secret_env(request: PrepareRequest) -> tuple[str, ...]:
    """The variables that hold secrets, or passwords of services."""
    return tuple(
        name
        for name, text in request.env.items()
        if any(one.startswith(("secrets.", "services.")) for one in placeholders(text))
    )
