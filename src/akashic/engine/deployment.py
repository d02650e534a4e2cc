"""The state of an environment: a fold over its events, with every transition of a deployment in one table.

Words: a deployment *waits* while its gate is open, is *queued* when its rules hold, *holds* the environment
from `DeploymentStarted` to its end, and ends promoted, rolled back, rejected, cancelled or failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from akashic.engine.deployment_events import (
    BACK,
    AnyDeploymentEvent,
    DeploymentApplied,
    DeploymentCancelled,
    DeploymentEvent,
    DeploymentFailed,
    DeploymentGateOpened,
    DeploymentGatePassed,
    DeploymentPrepared,
    DeploymentPromoted,
    DeploymentRejected,
    DeploymentRequested,
    DeploymentReviewed,
    DeploymentRolledBack,
    DeploymentSettled,
    DeploymentStarted,
    DeploymentVerified,
    EffectForgotten,
    EffectIntended,
    EnvironmentRemoved,
    Evidence,
    RollbackFailed,
    RollbackStarted,
)

STACK_MAX = 50
"""How many releases back an environment remembers what it can be rolled back to."""


class Status(StrEnum):
    """Where a deployment is."""

    REQUESTED = "requested"
    WAITING = "waiting"
    QUEUED = "queued"
    STARTED = "started"
    PREPARED = "prepared"
    APPLIED = "applied"
    VERIFIED = "verified"
    SETTLED = "settled"
    ROLLING_BACK = "rolling back"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled back"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    FAILED = "failed"


HOLDING = (
    Status.STARTED,
    Status.PREPARED,
    Status.APPLIED,
    Status.VERIFIED,
    Status.SETTLED,
    Status.ROLLING_BACK,
)
"""The deployment holds its environment."""
BEFORE_START = (Status.REQUESTED, Status.WAITING, Status.QUEUED)
ENDED = (Status.PROMOTED, Status.ROLLED_BACK, Status.REJECTED, Status.CANCELLED, Status.FAILED)

TRANSITIONS: dict[tuple[Status, type[DeploymentEvent]], Status] = {
    (Status.REQUESTED, DeploymentGateOpened): Status.WAITING,
    (Status.REQUESTED, DeploymentGatePassed): Status.QUEUED,
    (Status.WAITING, DeploymentGateOpened): Status.WAITING,
    (Status.WAITING, DeploymentReviewed): Status.WAITING,
    (Status.WAITING, DeploymentGatePassed): Status.QUEUED,
    (Status.QUEUED, DeploymentStarted): Status.STARTED,
    (Status.STARTED, DeploymentPrepared): Status.PREPARED,
    (Status.PREPARED, DeploymentApplied): Status.APPLIED,
    (Status.APPLIED, DeploymentVerified): Status.VERIFIED,
    (Status.VERIFIED, DeploymentSettled): Status.SETTLED,
    (Status.SETTLED, DeploymentPromoted): Status.PROMOTED,
    (Status.ROLLING_BACK, RollbackFailed): Status.ROLLING_BACK,
    (Status.ROLLING_BACK, DeploymentRolledBack): Status.ROLLED_BACK,
    (Status.ROLLING_BACK, DeploymentFailed): Status.FAILED,
    **{(status, DeploymentRejected): Status.REJECTED for status in BEFORE_START},
    **{(status, DeploymentCancelled): Status.CANCELLED for status in BEFORE_START},
    **{(status, RollbackStarted): Status.ROLLING_BACK for status in HOLDING if status != Status.ROLLING_BACK},
    **{(status, EffectIntended): status for status in HOLDING},
    **{(status, EffectForgotten): status for status in HOLDING},
}


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """One deployment. `intended` is the key of an effect that was announced and has no outcome yet."""

    request: DeploymentRequested
    status: Status = Status.REQUESTED
    requested_at: float
    gate: DeploymentGateOpened | None = None
    reviews: tuple[DeploymentReviewed, ...] = ()
    approved_by: tuple[str, ...] = ()
    approval_source: str = ""
    previous: str = ""
    started_at: float = 0.0
    applied_at: float = 0.0
    ended_at: float = 0.0
    intended: str = ""
    effects: int = 0
    rollback_failures: int = 0
    reason: str = ""
    url: str = ""
    evidence: tuple[Evidence, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.request.deployment

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def holding(self) -> bool:
        return self.status in HOLDING


class EnvironmentState(msgspec.Struct, frozen=True, kw_only=True):
    """An environment: its deployments by id in order of request, the one that holds it, the one that serves
    (`current`), and the promoted ones that a rollback can go back to, the last one on top (`stack`).
    `removed_at` is set while there is nothing of it."""

    name: str
    deployments: dict[str, Deployment] = {}
    active: str = ""
    current: str = ""
    stack: tuple[str, ...] = ()
    removed_at: float = 0.0

    def queue(self) -> tuple[Deployment, ...]:
        """Those that wait for the environment, in order."""
        return tuple(d for d in self.deployments.values() if d.status is Status.QUEUED)

    def line(self) -> tuple[Deployment, ...]:
        """Those that were asked for and neither wait for people nor hold it yet, in order: one whose rules
        nobody has looked at yet keeps its place."""
        places = (Status.REQUESTED, Status.QUEUED)
        return tuple(d for d in self.deployments.values() if d.status in places)

    def open(self) -> tuple[Deployment, ...]:
        """Those that have not ended, in order."""
        return tuple(d for d in self.deployments.values() if not d.ended)

    def serving(self) -> Deployment | None:
        """The deployment that was promoted last and stands."""
        return self.deployments.get(self.current)

    def before_current(self) -> Deployment | None:
        """What a rollback goes back to: the last promoted deployment below the current one that has another
        release."""
        current = self.serving()
        if current is None:
            return None
        for id_ in reversed(self.stack[:-1]):
            if self.deployments[id_].request.release.id != current.request.release.id:
                return self.deployments[id_]
        return None


def allowed(state: EnvironmentState, event: AnyDeploymentEvent) -> bool:
    """Whether the event can happen now: what a driver asserts before it appends."""
    if isinstance(event, DeploymentRequested):
        return event.deployment not in state.deployments
    deployment = state.deployments.get(event.deployment)
    if isinstance(event, EnvironmentRemoved):
        return deployment is not None and not state.open()
    if deployment is None or (deployment.status, type(event)) not in TRANSITIONS:
        return False
    if isinstance(event, DeploymentStarted):
        return not state.active and state.queue()[0].id == event.deployment
    if isinstance(event, EffectIntended):
        return not deployment.intended
    if isinstance(event, EffectForgotten):
        return deployment.intended == event.key
    return True


def apply(state: EnvironmentState, event: AnyDeploymentEvent, at: float) -> EnvironmentState:
    """The state after an event at `at`. Total: an event that cannot happen changes nothing."""
    if not allowed(state, event):
        return state
    if isinstance(event, EnvironmentRemoved):
        return msgspec.structs.replace(state, current="", stack=(), removed_at=at)
    if isinstance(event, DeploymentRequested):
        deployment = Deployment(request=event, requested_at=at)
        state = msgspec.structs.replace(state, removed_at=0.0)
    else:
        before = state.deployments[event.deployment]
        deployment = msgspec.structs.replace(
            _change(before, event, at), status=TRANSITIONS[before.status, type(event)]
        )
    if deployment.ended:
        deployment = msgspec.structs.replace(deployment, ended_at=at, intended="")
    state = msgspec.structs.replace(
        state,
        deployments={**state.deployments, deployment.id: deployment},
        active=_active_after(state.active, deployment),
    )
    if deployment.status is Status.PROMOTED:
        stack = _stack_after(state, deployment)
        return msgspec.structs.replace(state, current=deployment.id, stack=stack)
    return state


def fold(name: str, events: Iterable[tuple[AnyDeploymentEvent, float]]) -> EnvironmentState:
    """The state after all events, each with its time."""
    state = EnvironmentState(name=name)
    for event, at in events:
        state = apply(state, event, at)
    return state


def _active_after(active: str, deployment: Deployment) -> str:
    if deployment.holding:
        return deployment.id
    return "" if active == deployment.id else active


def _stack_after(state: EnvironmentState, promoted: Deployment) -> tuple[str, ...]:
    """A rollback takes off what lies above the deployment that it restores, so that a second one goes further
    back; anything else is put on top."""
    stack = state.stack
    restored = promoted.request.restores
    if promoted.request.kind in BACK and restored in stack:
        return (*stack[: stack.index(restored)], promoted.id)
    return (*stack, promoted.id)[-STACK_MAX:]


def _change(deployment: Deployment, event: AnyDeploymentEvent, at: float) -> Deployment:
    """What an event tells about its deployment, besides the status."""
    change = msgspec.structs.replace
    match event:
        case DeploymentGateOpened():
            return change(deployment, gate=event, reviews=())
        case DeploymentReviewed():
            return change(deployment, reviews=(*deployment.reviews, event))
        case DeploymentGatePassed():
            return change(deployment, approved_by=event.approved_by, approval_source=event.source)
        case DeploymentRejected() | DeploymentCancelled() | DeploymentFailed():
            return change(deployment, reason=event.reason)
        case DeploymentStarted():
            return change(deployment, previous=event.previous, started_at=at)
        case EffectIntended():
            return change(deployment, intended=event.key, effects=deployment.effects + 1)
        case EffectForgotten():
            return change(deployment, intended="")
        case DeploymentPrepared():
            return _done(deployment, evidence=event.evidence, notes=event.notes)
        case DeploymentApplied():
            return change(_done(deployment, notes=event.notes), applied_at=at, url=event.url)
        case DeploymentVerified() | DeploymentSettled():
            return _done(deployment, evidence=event.evidence)
        case RollbackStarted():
            return change(_done(deployment, evidence=event.evidence), reason=event.reason)
        case RollbackFailed():
            return change(_done(deployment), rollback_failures=deployment.rollback_failures + 1)
        case DeploymentRolledBack():
            return _done(deployment, notes=event.notes)
        case _:
            return _done(deployment)


def _done(
    deployment: Deployment, *, evidence: tuple[Evidence, ...] = (), notes: tuple[str, ...] = ()
) -> Deployment:
    return msgspec.structs.replace(
        deployment,
        intended="",
        evidence=(*deployment.evidence, *evidence),
        notes=(*deployment.notes, *notes),
    )
