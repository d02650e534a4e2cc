"""The driver of deployments dies at each append, the one that recovers too; the third gets through."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from akashic.cancellation import Cancellation
from akashic.driver.deployment_ports import EffectOutcome, Lookup
from akashic.driver.deployments import DeploymentDriver
from akashic.engine.deployment import Deployment, EnvironmentState, Status, apply
from akashic.engine.deployment_codec import decode, environment_stream
from akashic.engine.deployment_events import (
    AnyDeploymentEvent,
    DeploymentGateOpened,
    DeploymentGatePassed,
    DeploymentReviewed,
    Effect,
)
from akashic.errors import AkashicError
from akashic.testing.clock import ManualClock
from akashic.testing.journal import MemoryJournal
from tests.driver.test_deployments import request
from tests.driver.test_driver_runs import CrashingJournal


class Target:
    """What stands in the world, whoever drives: it outlives the drivers. `fail` names effects of deployments
    as `b verify`; `forgets` says that it does not know what became of an effect."""

    def __init__(self, fail: frozenset[str] = frozenset(), *, forgets: bool = False) -> None:
        self.fail = fail
        self.forgets = forgets
        self.done: dict[str, EffectOutcome] = {}
        self.serving = ""
        self.before: dict[str, str] = {}

    def rules(self, deployment: Deployment, now: float) -> AnyDeploymentEvent:
        if deployment.request.reason == "gated":
            return DeploymentGateOpened(
                deployment=deployment.id, binding=deployment.request.binding, approvals_needed=1
            )
        return DeploymentGatePassed(deployment=deployment.id)

    def perform(
        self, effect: Effect, deployment: Deployment, key: str, cancellation: Cancellation
    ) -> EffectOutcome:
        assert key not in self.done, f"{key} is done twice"
        failing = {f"{deployment.id} {effect}", f"{deployment.id} {effect} {deployment.rollback_failures}"}
        error = "it broke" if failing & self.fail else ""
        self.done[key] = EffectOutcome(error=error)
        if effect == "apply":
            self.before[deployment.id], self.serving = self.serving, deployment.id
        if effect == "rollback" and not error and self.serving == deployment.id:
            self.serving = self.before[deployment.id]
        return self.done[key]

    def look_up(self, effect: Effect, deployment: Deployment, key: str) -> Lookup:
        if self.forgets:
            return Lookup(state="unknown")
        if key in self.done:
            return Lookup(state="done", outcome=self.done[key])
        return Lookup(state="absent")

    def told(self, event: AnyDeploymentEvent, deployment: Deployment) -> None:
        return


def asked(journal: MemoryJournal, folder: Path, target: Target, wanted: tuple[str, ...]) -> None:
    """A process that asks for what was not asked for yet, drives it, and approves where it waits."""
    driver = DeploymentDriver(
        journal=journal, port=target, clock=ManualClock(step_s=0.001), locks=folder / "locks"
    )

    def approve(found: Deployment, state: EnvironmentState) -> bool:
        said = DeploymentReviewed(deployment=found.id, by="ann", approved=True, binding=found.request.binding)
        if found.status is Status.WAITING and not found.reviews:
            driver.append("prod", lambda _: said)
        return True

    with contextlib.suppress(AkashicError):
        driver.recover("prod", Cancellation())
        for number, name in enumerate(wanted, 1):
            id_, _, what = name.partition(" ")
            event = msgspec.structs.replace(
                request(id_, f"r-{id_}"),
                number=number,
                kind="rollback" if what == "back" else "deploy",
                restores=wanted[0] if what == "back" else "",
                reason=what,
            )
            if id_ not in driver.state("prod").deployments:
                driver.request("prod", id_, lambda _, event=event: event)
        for name in wanted:
            cancellation = Cancellation()
            if name.endswith(" cancelled"):
                cancellation.cancel(source="user", reason="enough")
            driver.drive("prod", name.partition(" ")[0], cancellation, waiting=approve)
    driver.let_go()


SCENARIOS = {
    "one": (("a",), Target),
    "two in a queue": (("a", "b"), Target),
    "a gate, then a queue": (("a gated", "b", "c gated"), Target),
    "checks fail": (("a", "b", "c"), lambda: Target(frozenset({"b verify"}))),
    "does not come up": (("a", "b"), lambda: Target(frozenset({"b prepare"}))),
    "goes back at the second attempt": (
        ("a", "b"),
        lambda: Target(frozenset({"b settle", "b rollback 0"})),
    ),
    "cannot go back": (("a", "b", "c"), lambda: Target(frozenset({"b settle", "b rollback"}))),
    "back to the first": (("a", "b", "c back"), Target),
    "cancelled before it starts": (("a", "b cancelled", "c"), Target),
    "a target that remembers nothing": (("a", "b"), lambda: Target(forgets=True)),
}


@pytest.mark.parametrize("name", SCENARIOS)
@pytest.mark.parametrize("after", [False, True])
def test_every_deployment_ends_and_the_world_is_as_the_journal_says(
    name: str, after: bool, tmp_path: Path
) -> None:
    wanted, make = SCENARIOS[name]
    at, died = 0, True
    while died:
        target = make()
        first = CrashingJournal([], at, after=after)
        asked(first, tmp_path, target, wanted)
        died = first.dead
        second = CrashingJournal(first.records, at * 5 % 7, after=not after)
        asked(second, tmp_path, target, wanted)
        third = CrashingJournal(second.records, 10**9, after=False)
        asked(third, tmp_path, target, wanted)
        check(third, target, wanted, f"{name}, crash at {at}")
        at += 1
    assert at > 12


def check(journal: MemoryJournal, target: Target, wanted: tuple[str, ...], where: str) -> None:
    assert journal.verify() == [], where
    state = EnvironmentState(name="prod")
    for record in journal.read(environment_stream("prod")):
        state = apply(state, decode(record), record.at)
        holding = [found.id for found in state.deployments.values() if found.holding]
        assert len(holding) <= 1 and holding == ([state.active] if state.active else []), where
    assert list(state.deployments) == [name.partition(" ")[0] for name in wanted], where
    between = [f"{found.id} {found.status}" for found in state.deployments.values() if not found.ended]
    assert not between, f"{where}: {between}"
    done = Counter(key.rpartition("/")[0] for key in target.done if "/rollback/" not in key)
    assert not [key for key, count in done.items() if count > 1], f"{where}: {done}"
    if not any(found.status is Status.FAILED for found in state.deployments.values()):
        assert target.serving == state.current, where
    for found in state.deployments.values():
        if found.request.reason == "gated" and found.started_at:
            assert found.approved_by == ("ann",), where
