"""The protocol that every target obeys: take a release, serve it, go back.

For one deployment a target is called in the order prepare, apply, promote, or with rollback after any of
them; one call at a time for an environment. Every call carries a key: a key that was carried out once is not
carried out again, its outcome is returned. `look_up` may be asked by another process after the first one
died. Until `apply` nothing that people reach changes; `rollback` is repeatable and leaves nothing of the
deployment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import msgspec

from akashic.cancellation import Cancellation
from akashic.delivery.config import EnvironmentConfig
from akashic.driver.deployment_ports import EffectOutcome, Lookup
from akashic.engine.deployment_events import ReleaseRef

Progress = Callable[[str], None]
"""Called with a line for people."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What a target needs to know about one deployment. `secrets` are looked up when a value asks for one.
    `layout` is the folder of the OCI layout that holds the release. `previous` is the deployment that serves
    now, `restores` the earlier one that this one goes back to."""

    environment: str
    deployment: str
    number: int
    release: ReleaseRef
    config: EnvironmentConfig
    layout: str = ""
    previous: str = ""
    restores: str = ""
    rollback: bool = False
    secrets: Callable[[str], str] = lambda name: ""


class InstanceStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One process of a release. `state` is `running`, `starting`, `waiting` (for its next start) or
    `stopped`."""

    name: str
    state: str
    pid: int = 0
    port: int = 0
    restarts: int = 0
    last_exit: str = ""


class TargetStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What an environment serves according to its target. `serving` is a deployment's id, empty for none;
    `standby` the one that is ready for an instant rollback. `address` (`host:port`) is where this machine
    reaches `url`, when that differs. `problems` are sentences for people."""

    reachable: bool
    url: str = ""
    address: str = ""
    serving: str = ""
    standby: str = ""
    instances: tuple[InstanceStatus, ...] = ()
    services: Mapping[str, str] = {}
    problems: tuple[str, ...] = ()


class Target(Protocol):
    """A kind of place for releases."""

    def prepare(
        self, plan: Plan, key: str, *, progress: Progress, cancellation: Cancellation
    ) -> EffectOutcome:
        """Start the release beside what serves, healthy and without traffic. `url` of the outcome is where it
        can be checked meanwhile, empty when it cannot."""
        ...

    def apply(self, plan: Plan, key: str, *, progress: Progress) -> EffectOutcome:
        """Give it the traffic, dropping no request. `url` of the outcome is where people reach it."""
        ...

    def alive(self, plan: Plan) -> str:
        """Why the release that was applied is not in order right now; empty when it is."""
        ...

    def promote(self, plan: Plan, key: str, *, progress: Progress) -> EffectOutcome:
        """Keep it; what served before drains and stays ready, anything older is stopped."""
        ...

    def rollback(self, plan: Plan, key: str, *, progress: Progress) -> EffectOutcome:
        """`plan.previous` serves again (nothing, when empty), and nothing of the deployment is left."""
        ...

    def look_up(self, plan: Plan, key: str, *, progress: Progress) -> Lookup:
        """What became of a key; waits for one that is under way."""
        ...

    def status(self, environment: str) -> TargetStatus: ...

    def stop(self, environment: str, *, progress: Progress) -> None:
        """Stop everything that belongs to the environment; data is kept."""
        ...

    def remove(self, environment: str, *, progress: Progress) -> None:
        """Stop it and remove its data. Repeatable."""
        ...

    def wake(self) -> None:
        """Bring back what watches over the environments when it has died. Raises AkashicError."""
        ...


class MemoryTarget:
    """A target that starts nothing: for tests, and for trying out rules. `fail` maps an effect to the error
    that
    it ends with; an effect in `hidden` is carried out and its outcome is lost (its driver dies)."""

    def __init__(self, *, fail: Mapping[str, str] | None = None) -> None:
        self.fail = dict(fail or {})
        self.serving: dict[str, str] = {}
        self.standing: dict[str, list[str]] = {}
        self.outcomes: dict[str, EffectOutcome] = {}
        self.calls: list[tuple[str, str, str]] = []

    def prepare(
        self, plan: Plan, key: str, *, progress: Progress, cancellation: Cancellation
    ) -> EffectOutcome:
        def start() -> None:
            self.standing.setdefault(plan.environment, []).append(plan.deployment)

        return self._once("prepare", plan, key, start)

    def apply(self, plan: Plan, key: str, *, progress: Progress) -> EffectOutcome:
        return self._once("apply", plan, key, lambda: self._switch(plan.environment, plan.deployment))

    def alive(self, plan: Plan) -> str:
        return self.fail.get("alive", "")

    def promote(self, plan: Plan, key: str, *, progress: Progress) -> EffectOutcome:
        def keep() -> None:
            wanted = {plan.deployment, plan.previous}
            standing = self.standing.get(plan.environment, [])
            self.standing[plan.environment] = [d for d in standing if d in wanted]

        return self._once("promote", plan, key, keep)

    def rollback(self, plan: Plan, key: str, *, progress: Progress) -> EffectOutcome:
        def back() -> None:
            self._switch(plan.environment, plan.previous)
            standing = self.standing.get(plan.environment, [])
            self.standing[plan.environment] = [d for d in standing if d != plan.deployment]

        return self._once("rollback", plan, key, back)

    def look_up(self, plan: Plan, key: str, *, progress: Progress) -> Lookup:
        outcome = self.outcomes.get(key)
        return Lookup(state="absent") if outcome is None else Lookup(state="done", outcome=outcome)

    def status(self, environment: str) -> TargetStatus:
        serving = self.serving.get(environment, "")
        standby = [d for d in self.standing.get(environment, []) if d != serving]
        return TargetStatus(
            reachable=True,
            url=f"memory://{environment}" if serving else "",
            serving=serving,
            standby=standby[-1] if standby else "",
        )

    def stop(self, environment: str, *, progress: Progress) -> None:
        self.serving.pop(environment, None)
        self.standing.pop(environment, None)

    def remove(self, environment: str, *, progress: Progress) -> None:
        self.stop(environment, progress=progress)

    def wake(self) -> None:
        """Nobody watches here."""

    def _switch(self, environment: str, deployment: str) -> None:
        if deployment:
            self.serving[environment] = deployment
        else:
            self.serving.pop(environment, None)

    def _once(self, effect: str, plan: Plan, key: str, work: Callable[[], None]) -> EffectOutcome:
        if key in self.outcomes:
            return self.outcomes[key]
        self.calls.append((effect, plan.deployment, key))
        error = self.fail.get(effect, "")
        if not error:
            work()
        url = f"memory://{plan.environment}" if effect == "apply" and not error else ""
        outcome = EffectOutcome(error=error, url=url)
        self.outcomes[key] = outcome
        return outcome
