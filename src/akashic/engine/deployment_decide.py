"""What has to happen next in an environment: commands, from its state and the time. Pure and total."""

from __future__ import annotations

import msgspec

from akashic.engine.deployment import Deployment, EnvironmentState, Status
from akashic.engine.deployment_events import (
    AnyDeploymentEvent,
    DeploymentFailed,
    DeploymentGateOpened,
    DeploymentGatePassed,
    DeploymentRejected,
    DeploymentReviewed,
    DeploymentStarted,
    Effect,
)

ROLLBACK_ATTEMPTS_MAX = 3

EFFECTS: dict[Status, Effect] = {
    Status.STARTED: "prepare",
    Status.PREPARED: "apply",
    Status.APPLIED: "verify",
    Status.VERIFIED: "settle",
    Status.SETTLED: "promote",
    Status.ROLLING_BACK: "rollback",
}
"""What a deployment that holds its environment needs done, by where it is."""


class DeploymentCommand(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all commands; `deployment` is the deployment's id."""

    deployment: str


class Record(DeploymentCommand, frozen=True, kw_only=True):
    """Append this event: a consequence of what has happened, with nothing to do in the world."""

    event: AnyDeploymentEvent


class AskRules(DeploymentCommand, frozen=True, kw_only=True):
    """Ask which protection rules hold, and append DeploymentGateOpened, -GatePassed or -Rejected."""


class Perform(DeploymentCommand, frozen=True, kw_only=True):
    """Append EffectIntended, ask the target, and append the outcome."""

    effect: Effect
    key: str


class LookUp(DeploymentCommand, frozen=True, kw_only=True):
    """The effect was intended and has no outcome, so its driver died: ask the target what became of `key`,
    and append the outcome, EffectForgotten (it never began) or RollbackStarted (nobody knows)."""

    effect: Effect
    key: str


class WakeAt(DeploymentCommand, frozen=True, kw_only=True):
    """Decide again at this time (seconds since the epoch)."""

    at: float


AnyDeploymentCommand = Record | AskRules | Perform | LookUp | WakeAt


def decide(state: EnvironmentState, now: float) -> tuple[AnyDeploymentCommand, ...]:
    """The commands for all deployments that have not ended, in order of request. At most one of them is to
    append DeploymentStarted, and only while nobody holds the environment."""
    commands: list[AnyDeploymentCommand] = []
    line = state.line()
    for deployment in state.open():
        if deployment.holding:
            commands.append(_hold(deployment))
        elif deployment.status is Status.REQUESTED:
            commands.append(AskRules(deployment=deployment.id))
        elif deployment.status is Status.WAITING:
            commands.extend(_gate(deployment, now))
        elif not state.active and line[0].id == deployment.id:
            event = DeploymentStarted(deployment=deployment.id, previous=state.current)
            commands.append(Record(deployment=deployment.id, event=event))
    return tuple(commands)


def approvals(gate: DeploymentGateOpened, reviews: tuple[DeploymentReviewed, ...]) -> tuple[str, ...]:
    """Who approved, each once, in order: reviewers of the gate who saw exactly what it is bound to, and the
    author only where that is allowed."""
    names: dict[str, str] = {}
    for review in reviews:
        if review.approved and counts(gate, review):
            names.setdefault(review.by.casefold(), review.by)
    return tuple(names.values())


def counts(gate: DeploymentGateOpened, review: DeploymentReviewed) -> bool:
    """Whether a review counts for a gate."""
    return (
        review.binding == gate.binding
        and (not gate.reviewers or review.by.casefold() in {name.casefold() for name in gate.reviewers})
        and (gate.self_review or not review.approved or review.by.casefold() != gate.author.casefold())
    )


def _gate(deployment: Deployment, now: float) -> tuple[AnyDeploymentCommand, ...]:
    gate = deployment.gate
    assert gate is not None, deployment.id
    for review in deployment.reviews:
        if not review.approved and counts(gate, review):
            rejected = DeploymentRejected(
                deployment=deployment.id, by=review.by, reason=review.comment or f"rejected by {review.by}"
            )
            return (Record(deployment=deployment.id, event=rejected),)
    approved_by = approvals(gate, deployment.reviews)
    if len(approved_by) < gate.approvals_needed:
        return ()
    if now < gate.wait_until:
        return (WakeAt(deployment=deployment.id, at=gate.wait_until),)
    passed = DeploymentGatePassed(deployment=deployment.id, approved_by=approved_by)
    return (Record(deployment=deployment.id, event=passed),)


def _hold(deployment: Deployment) -> AnyDeploymentCommand:
    effect = EFFECTS[deployment.status]
    if deployment.intended:
        return LookUp(deployment=deployment.id, effect=effect, key=deployment.intended)
    if deployment.rollback_failures >= ROLLBACK_ATTEMPTS_MAX:
        reason = f"{deployment.reason}; and it could not be rolled back in {ROLLBACK_ATTEMPTS_MAX} attempts"
        failed = DeploymentFailed(deployment=deployment.id, reason=reason)
        return Record(deployment=deployment.id, event=failed)
    key = f"{deployment.id}/{effect}/{deployment.effects + 1}"
    return Perform(deployment=deployment.id, effect=effect, key=key)
