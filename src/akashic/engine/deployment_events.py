"""What can happen to an environment: the events of its deployments. They hold no secret.

Streams: `environment/<name>`, one each. Times are seconds since the epoch and come with the record (`at`)
unless said. Every event names the deployment that it is about.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from akashic.engine.requests import GateBinding, Trust

Kind = Literal["deploy", "promote", "rollback", "start"]
"""`rollback` goes back to a release that served before; `start` starts the one that serves again, after it
was stopped or the machine was."""
BACK: tuple[Kind, ...] = ("rollback", "start")
"""The kinds that bring back what was promoted here before: no rule is asked again."""
Effect = Literal["prepare", "apply", "verify", "settle", "promote", "rollback"]


class DeploymentEvent(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all events of an environment; `deployment` is the deployment's id."""

    deployment: str


class ReleaseRef(msgspec.Struct, frozen=True, kw_only=True):
    """A release as a deployment needs it: its content is fixed by `digest`."""

    id: str
    version: str
    commit: str
    digest: str


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What one check saw: the request, whether it held, and what was expected and found."""

    check: str
    url: str
    passed: bool
    message: str = ""
    status: int = 0
    duration_s: float = 0.0


class DeploymentRequested(DeploymentEvent, frozen=True, kw_only=True):
    """Somebody or a job wants a release in the environment. `spec` is the environment's configuration at this
    moment, so that what is carried out later does not depend on a file. `request_key` is unique to run, job,
    attempt and environment: asking again with it gives this deployment. `restores` is the earlier deployment
    that a rollback goes back to. `binding` is what an approval of this deployment would hold for. `ref` is
    the run's branch or tag (without a run the release's), `release_ref` the one that the release was built
    from, where that was not this run."""

    number: int
    environment: str
    kind: Kind
    release: ReleaseRef
    by: str
    binding: GateBinding
    spec: dict[str, Any]
    request_key: str = ""
    run_id: str = ""
    job: str = ""
    trust: Trust = "trusted"
    ref: str = ""
    release_ref: str | None = None
    restores: str = ""
    promoted_from: str = ""
    reason: str = ""


class DeploymentGateOpened(DeploymentEvent, frozen=True, kw_only=True):
    """The environment's protection rules, as they were at this moment."""

    binding: GateBinding
    reviewers: tuple[str, ...] = ()
    approvals_needed: int = 0
    self_review: bool = True
    wait_until: float = 0.0
    author: str = ""
    reason: str = ""


class DeploymentReviewed(DeploymentEvent, frozen=True, kw_only=True):
    """Somebody approved or rejected, having seen exactly `binding`."""

    by: str
    approved: bool
    comment: str = ""
    binding: GateBinding


class DeploymentGatePassed(DeploymentEvent, frozen=True, kw_only=True):
    """All protection rules hold: the deployment waits for its turn. `source` says where the approvals were
    given when it was not here (the gate of a run's job)."""

    approved_by: tuple[str, ...] = ()
    source: str = ""


class DeploymentRejected(DeploymentEvent, frozen=True, kw_only=True):
    """A reviewer said no, or the environment refuses it (branch policy, a fork)."""

    by: str
    reason: str


class DeploymentCancelled(DeploymentEvent, frozen=True, kw_only=True):
    """Taken back before it started."""

    by: str
    reason: str


class DeploymentStarted(DeploymentEvent, frozen=True, kw_only=True):
    """It is this deployment's turn: it holds the environment. `previous` is the deployment that serves now
    and that a rollback goes back to; empty for the first one."""

    previous: str = ""


class EffectIntended(DeploymentEvent, frozen=True, kw_only=True):
    """Appended before the target is asked to do something."""

    effect: Effect
    key: str


class EffectForgotten(DeploymentEvent, frozen=True, kw_only=True):
    """After a crash the target says that it never began the intended effect: it may be asked again."""

    effect: Effect
    key: str


class DeploymentPrepared(DeploymentEvent, frozen=True, kw_only=True):
    """The new instances run and are healthy; they get no traffic yet."""

    evidence: tuple[Evidence, ...] = ()
    notes: tuple[str, ...] = ()


class DeploymentApplied(DeploymentEvent, frozen=True, kw_only=True):
    """The new instances get the traffic."""

    url: str = ""
    notes: tuple[str, ...] = ()


class DeploymentVerified(DeploymentEvent, frozen=True, kw_only=True):
    """The checks hold where people reach the release."""

    evidence: tuple[Evidence, ...] = ()


class DeploymentSettled(DeploymentEvent, frozen=True, kw_only=True):
    """The release stayed healthy for the settle time."""

    evidence: tuple[Evidence, ...] = ()


class DeploymentPromoted(DeploymentEvent, frozen=True, kw_only=True):
    """The release is what the environment runs from now on. The end."""


class RollbackStarted(DeploymentEvent, frozen=True, kw_only=True):
    """Something did not hold: the environment goes back to what served before."""

    reason: str
    evidence: tuple[Evidence, ...] = ()


class RollbackFailed(DeploymentEvent, frozen=True, kw_only=True):
    """The target could not go back; it is asked again, up to a limit."""

    reason: str


class DeploymentRolledBack(DeploymentEvent, frozen=True, kw_only=True):
    """What served before serves again, and nothing of the deployment is left. The end."""

    notes: tuple[str, ...] = ()


class DeploymentFailed(DeploymentEvent, frozen=True, kw_only=True):
    """It could not even be rolled back: somebody has to look. The end."""

    reason: str


class EnvironmentRemoved(DeploymentEvent, frozen=True, kw_only=True):
    """The environment and its data are gone (a preview whose branch or time is over). `deployment` is the
    last one that was asked for. Nothing can be rolled back to."""

    by: str
    reason: str


AnyDeploymentEvent = (
    DeploymentRequested
    | DeploymentGateOpened
    | DeploymentReviewed
    | DeploymentGatePassed
    | DeploymentRejected
    | DeploymentCancelled
    | DeploymentStarted
    | EffectIntended
    | EffectForgotten
    | DeploymentPrepared
    | DeploymentApplied
    | DeploymentVerified
    | DeploymentSettled
    | DeploymentPromoted
    | RollbackStarted
    | RollbackFailed
    | DeploymentRolledBack
    | DeploymentFailed
    | EnvironmentRemoved
)
