"""What the driver of deployments asks of the world, the answers, and the events that they become."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec

from akashic.cancellation import Cancellation
from akashic.engine.deployment import Deployment
from akashic.engine.deployment_events import (
    AnyDeploymentEvent,
    DeploymentApplied,
    DeploymentPrepared,
    DeploymentPromoted,
    DeploymentRolledBack,
    DeploymentSettled,
    DeploymentVerified,
    Effect,
    EffectForgotten,
    Evidence,
    RollbackFailed,
    RollbackStarted,
)


class EffectOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an effect. `error` is empty when it succeeded."""

    error: str = ""
    evidence: tuple[Evidence, ...] = ()
    notes: tuple[str, ...] = ()
    url: str = ""


class Lookup(msgspec.Struct, frozen=True, kw_only=True):
    """What a target knows of an effect that a dead driver intended: `absent` means that it never began."""

    state: Literal["done", "absent", "unknown"]
    outcome: EffectOutcome = EffectOutcome()


class DeploymentPort(Protocol):
    """The world of deployments. Nothing here raises for what a release, a target or a check can cause; an
    error is an outcome."""

    def rules(self, deployment: Deployment, now: float) -> AnyDeploymentEvent:
        """The protection rules for a deployment: DeploymentGateOpened, -GatePassed or -Rejected."""
        ...

    def perform(
        self, effect: Effect, deployment: Deployment, key: str, cancellation: Cancellation
    ) -> EffectOutcome:
        """Do it, and return when it is done or has failed. A key that was done before has no second
        effect."""
        ...

    def look_up(self, effect: Effect, deployment: Deployment, key: str) -> Lookup:
        """What became of an effect that was intended; waits for one that is still under way."""
        ...

    def told(self, event: AnyDeploymentEvent, deployment: Deployment) -> None:
        """An event was appended by this process: tell people."""
        ...


def outcome_event(effect: Effect, deployment: Deployment, outcome: EffectOutcome) -> AnyDeploymentEvent:
    """The event that says what became of an effect."""
    id_ = deployment.id
    if outcome.error:
        if effect == "rollback":
            return RollbackFailed(deployment=id_, reason=outcome.error)
        return RollbackStarted(deployment=id_, reason=outcome.error, evidence=outcome.evidence)
    match effect:
        case "prepare":
            return DeploymentPrepared(deployment=id_, evidence=outcome.evidence, notes=outcome.notes)
        case "apply":
            return DeploymentApplied(deployment=id_, url=outcome.url, notes=outcome.notes)
        case "verify":
            return DeploymentVerified(deployment=id_, evidence=outcome.evidence)
        case "settle":
            return DeploymentSettled(deployment=id_, evidence=outcome.evidence)
        case "promote":
            return DeploymentPromoted(deployment=id_)
        case "rollback":
            return DeploymentRolledBack(deployment=id_, notes=outcome.notes)


def lookup_event(effect: Effect, deployment: Deployment, key: str, lookup: Lookup) -> AnyDeploymentEvent:
    """The event that says what became of an effect that a dead driver intended."""
    if lookup.state == "done":
        return outcome_event(effect, deployment, lookup.outcome)
    if lookup.state == "absent" or effect == "rollback":
        # Going back is repeatable: whatever became of the first attempt, a second one ends in the same place.
        return EffectForgotten(deployment=deployment.id, effect=effect, key=key)
    return RollbackStarted(
        deployment=deployment.id,
        reason=f"the process that drove it died during {effect!r}, and what became of it is unknown",
    )
