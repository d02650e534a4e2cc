"""What deployments do in the world: rules are asked, targets work, checks look, people are told."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from akashic.cancellation import Cancellation
from akashic.delivery.checks import check, check_all, failures, health_check
from akashic.delivery.config import EnvironmentConfig
from akashic.delivery.config import Target as TargetConfig
from akashic.delivery.gates import EnvironmentGates
from akashic.delivery.messages import message_of
from akashic.delivery.targets import Plan, Target
from akashic.driver.deployment_ports import EffectOutcome, Lookup
from akashic.engine.deployment import Deployment
from akashic.engine.deployment_events import BACK, AnyDeploymentEvent, Effect, Evidence
from akashic.errors import AkashicError
from akashic.notify.message import Message


class DeploymentEffects:
    """Implements driver.deployments.DeploymentPort. `target` gives the implementation of a kind of target,
    `layout` is the folder of the OCI layout that holds the releases, `tell` gets a message and the names of
    its receivers (none: all), `progress` gets (environment, line)."""

    def __init__(
        self,
        *,
        gates: EnvironmentGates,
        target: Callable[[TargetConfig], Target],
        layout: Path,
        secrets: Callable[[str], Mapping[str, str]],
        tell: Callable[[Message, tuple[str, ...]], None],
        progress: Callable[[str, str], None],
    ) -> None:
        self.gates = gates
        self.target = target
        self.layout = layout
        self.secrets = secrets
        self.tell = tell
        self.progress = progress

    def rules(self, deployment: Deployment, now: float) -> AnyDeploymentEvent:
        return self.gates.rules(deployment, now)

    def perform(
        self, effect: Effect, deployment: Deployment, key: str, cancellation: Cancellation
    ) -> EffectOutcome:
        try:
            plan = self._plan(deployment)
            target = self.target(plan.config.target)
            progress = self._progress(deployment)
            match effect:
                case "prepare":
                    return self._prepare(target, plan, key, progress, cancellation)
                case "apply":
                    progress("switching traffic")
                    return target.apply(plan, key, progress=progress)
                case "verify":
                    return self._verify(target, plan, progress)
                case "settle":
                    return self._settle(target, plan, progress, cancellation)
                case "promote":
                    return target.promote(plan, key, progress=progress)
                case "rollback":
                    progress("rolling back")
                    return target.rollback(plan, key, progress=progress)
        except AkashicError as error:
            return EffectOutcome(error=error.message + (f" ({error.hint})" if error.hint else ""))
        except OSError as error:
            return EffectOutcome(error=f"{error.filename or 'this machine'}: {error.strerror or error}")

    def look_up(self, effect: Effect, deployment: Deployment, key: str) -> Lookup:
        if effect in ("verify", "settle"):
            # Looking changes nothing: it is simply done again.
            return Lookup(state="absent")
        try:
            plan = self._plan(deployment)
            target = self.target(plan.config.target)
            return target.look_up(plan, key, progress=self._progress(deployment))
        except AkashicError:
            return Lookup(state="unknown")

    def told(self, event: AnyDeploymentEvent, deployment: Deployment) -> None:
        config = _spec(deployment)
        link = config.url or deployment.url
        message = message_of(event, deployment, link=link)
        if message is None:
            return
        try:
            self.tell(message, config.notifications)
        except Exception as error:  # whatever a receiver does, what was deployed is deployed
            self.progress(deployment.request.environment, f"nobody could be told: {error}")

    def _prepare(
        self, target: Target, plan: Plan, key: str, progress: Any, cancellation: Cancellation
    ) -> EffectOutcome:
        outcome = target.prepare(plan, key, progress=progress, cancellation=cancellation)
        if cancellation.is_set() and not outcome.error:
            return EffectOutcome(error=f"cancelled: {cancellation.reason}")
        if outcome.error or not outcome.url.startswith("http") or plan.rollback:
            return outcome
        # What is wrong before the switch hurts nobody.
        evidence = check_all(outcome.url, plan.config.smoke)
        wrong = failures(evidence)
        error = f"a check failed before the switch: {wrong}" if wrong else ""
        return msgspec.structs.replace(outcome, error=error, evidence=(*outcome.evidence, *evidence))

    def _verify(self, target: Target, plan: Plan, progress: Any) -> EffectOutcome:
        status = target.status(plan.environment)
        url, address = status.url, status.address
        if not url.startswith("http"):
            trouble = target.alive(plan)
            return EffectOutcome(error=trouble)
        progress("checking")
        health = check(url, health_check(plan.config.health), address=address)
        evidence = (health, *check_all(url, plan.config.smoke, address=address))
        wrong = failures(evidence)
        return EffectOutcome(error=f"a check failed: {wrong}" if wrong else "", evidence=evidence)

    def _settle(self, target: Target, plan: Plan, progress: Any, cancellation: Cancellation) -> EffectOutcome:
        """Watch it for the settle time; `failures` bad answers in a row, or a restart, end it."""
        settle_s = 0.0 if plan.rollback else plan.config.strategy.settle_s
        health = plan.config.health
        status = target.status(plan.environment)
        url, address = status.url, status.address
        deadline = time.monotonic() + settle_s
        if settle_s:
            progress(f"settling for {settle_s:g} s")
        in_a_row = 0
        last: tuple[Evidence, ...] = ()
        while True:
            trouble = target.alive(plan)
            if trouble:
                return EffectOutcome(error=f"it did not settle: {trouble}", evidence=last)
            if url.startswith("http"):
                found = check(url, health_check(health), address=address)
                last = (found,)
                in_a_row = 0 if found.passed else in_a_row + 1
                if in_a_row >= health.failures:
                    return EffectOutcome(error=f"it did not settle: {found.message}", evidence=last)
            if cancellation.is_set():
                return EffectOutcome(error=f"cancelled: {cancellation.reason}")
            left_s = deadline - time.monotonic()
            if left_s <= 0 and not in_a_row:
                return EffectOutcome(evidence=last)
            cancellation.wait(min(health.interval_s, max(left_s, 0.05)))

    def _plan(self, deployment: Deployment) -> Plan:
        request = deployment.request
        values = self.secrets(request.environment) if request.trust == "trusted" else {}

        def secret(name: str) -> str:
            if name not in values:
                raise AkashicError(
                    f"the secret {name} of the environment {request.environment} is not set",
                    hint=f"akashic secret set {name} --env {request.environment}",
                )
            return values[name]

        return Plan(
            environment=request.environment,
            deployment=deployment.id,
            number=request.number,
            release=request.release,
            config=_spec(deployment),
            layout=str(self.layout.resolve()),
            previous=deployment.previous,
            restores=request.restores,
            rollback=request.kind in BACK,
            secrets=secret,
        )

    def _progress(self, deployment: Deployment) -> Callable[[str], None]:
        return lambda text: self.progress(deployment.request.environment, text)


def _spec(deployment: Deployment) -> EnvironmentConfig:
    """The configuration as it was when the deployment was asked for."""
    return msgspec.convert(deployment.request.spec, EnvironmentConfig)
