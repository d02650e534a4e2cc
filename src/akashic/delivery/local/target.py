"""The local target: asks the supervisor, which does the work."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from akashic.cancellation import Cancellation
from akashic.delivery.config import DockerTarget as DockerConfig
from akashic.delivery.config import LocalTarget as LocalConfig
from akashic.delivery.local.client import SupervisorClient
from akashic.delivery.local.model import PrepareRequest
from akashic.delivery.local.runtime import placeholders
from akashic.delivery.local.wire import UnreachableError
from akashic.delivery.targets import Plan, Progress, TargetStatus
from akashic.driver.deployment_ports import EffectOutcome, Lookup
from akashic.errors import AkashicError

STATUS_TIMEOUT_S = 10.0


class LocalTarget:
    """Implements Target for this machine."""

    def __init__(self, state_dir: Path) -> None:
        self.client = SupervisorClient(state_dir)

    def prepare(
        self, plan: Plan, key: str, *, progress: Progress, cancellation: Cancellation
    ) -> EffectOutcome:
        try:
            request = _prepare_request(plan)
        except AkashicError as error:
            return EffectOutcome(error=error.message)

        def cancel() -> None:
            ask = {"op": "cancel", "key": key}
            threading.Thread(target=self.client.ask_if_running, args=(ask,), daemon=True).start()

        forget = cancellation.on_cancel(cancel)
        try:
            message = {"op": "prepare", "key": key, "plan": msgspec.to_builtins(request)}
            return self._outcome(message, progress)
        finally:
            forget()

    def apply(self, plan: Plan, key: str, *, progress: Progress) -> EffectOutcome:
        return self._outcome(_about("apply", plan, key), progress)

    def alive(self, plan: Plan) -> str:
        ask = {"op": "trouble", "environment": plan.environment, "deployment": plan.deployment}
        try:
            return str(self.client.ask(ask, timeout_s=STATUS_TIMEOUT_S))
        except AkashicError as error:
            return error.message

    def promote(self, plan: Plan, key: str, *, progress: Progress) -> EffectOutcome:
        return self._outcome(_about("promote", plan, key), progress)

    def rollback(self, plan: Plan, key: str, *, progress: Progress) -> EffectOutcome:
        return self._outcome({**_about("rollback", plan, key), "previous": plan.previous}, progress)

    def look_up(self, plan: Plan, key: str, *, progress: Progress) -> Lookup:
        try:
            return msgspec.convert(self.client.ask({"op": "look_up", "key": key}, progress=progress), Lookup)
        except UnreachableError:
            return Lookup(state="unknown")

    def status(self, environment: str) -> TargetStatus:
        ask = {"op": "status", "environment": environment}
        answer = self.client.ask_if_running(ask, timeout_s=STATUS_TIMEOUT_S)
        if answer is None:
            problem = "its supervisor is not running" if self.client.left_alone() else "stopped"
            return TargetStatus(reachable=False, problems=(problem,))
        return msgspec.convert(answer, TargetStatus)

    def stop(self, environment: str, *, progress: Progress) -> None:
        if self.client.running():
            self.client.ask({"op": "stop", "environment": environment}, progress=progress)

    def remove(self, environment: str, *, progress: Progress) -> None:
        self.client.ask({"op": "remove", "environment": environment}, progress=progress)

    def wake(self) -> None:
        if self.client.left_alone():
            self.client.ensure_running()

    def _outcome(self, message: dict[str, Any], progress: Progress) -> EffectOutcome:
        """Ask; when the supervisor dies meanwhile its successor is asked what became of it."""
        for _ in range(2):
            try:
                return msgspec.convert(self.client.ask(message, progress=progress), EffectOutcome)
            except UnreachableError:
                progress("the supervisor died; asking its successor")
            except AkashicError as error:
                return EffectOutcome(error=error.message + (f" ({error.hint})" if error.hint else ""))
        return EffectOutcome(error="the supervisor died while it worked on this")


def _about(op: str, plan: Plan, key: str) -> dict[str, Any]:
    return {"op": op, "key": key, "environment": plan.environment, "deployment": plan.deployment}


def _prepare_request(plan: Plan) -> PrepareRequest:
    config = plan.config.target
    assert isinstance(config, LocalConfig | DockerConfig), config
    services = config.services if isinstance(config, LocalConfig) else {}
    strategy = plan.config.strategy
    names = {
        name.removeprefix("secrets.")
        for text in config.env.values()
        for name in placeholders(text)
        if name.startswith("secrets.")
    }
    return PrepareRequest(
        environment=plan.environment,
        deployment=plan.deployment,
        digest=plan.release.digest,
        version=plan.release.version,
        commit=plan.release.commit,
        release=plan.release.id,
        layout=plan.layout,
        port=config.port,
        url=plan.config.url,
        command=config.command,
        instances=config.instances,
        env=config.env,
        secrets={name: plan.secrets(name) for name in sorted(names)},
        services={n: (s.image, s.env, s.port) for n, s in services.items()},
        release_command=config.release_command,
        release_timeout_s=config.release_timeout_s,
        start_timeout_s=config.start_timeout_s,
        drain_timeout_s=config.drain_timeout_s,
        log_bytes_max=config.log_bytes_max,
        health=plan.config.health,
        unavailable_max=strategy.unavailable_max(config.instances),
        surge_max=strategy.surge_max(config.instances),
        host=urlsplit(plan.config.url).hostname or "" if plan.config.preview is not None else "",
        front=plan.environment.partition("/")[0],
        in_container=isinstance(config, DockerConfig),
        container_port=config.container_port if isinstance(config, DockerConfig) else 0,
        network=config.network if isinstance(config, DockerConfig) else "",
        restores=plan.restores,
        rollback=plan.rollback,
    )
