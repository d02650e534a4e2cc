"""What every target owes those who call it. A subclass says how a place is made."""

from __future__ import annotations

from typing import Any

import pytest

from akashic.cancellation import Cancellation
from akashic.delivery.targets import Plan, Target

QUIET = {"progress": lambda text: None}


class TargetContract:
    """`target` is a fixture; `plan(number, previous)` a plan for deployment `d<number>` of `staging`."""

    target: Any

    def plan(self, number: int, previous: str = "") -> Plan:
        raise NotImplementedError

    def prepare(self, target: Target, plan: Plan, key: str = "") -> Any:
        key = key or f"{plan.deployment}/prepare"
        return target.prepare(plan, key, cancellation=Cancellation(), **QUIET)

    def deploy(self, target: Target, plan: Plan) -> None:
        assert self.prepare(target, plan).error == ""
        assert target.apply(plan, f"{plan.deployment}/apply", **QUIET).error == ""
        assert target.alive(plan) == ""
        assert target.promote(plan, f"{plan.deployment}/promote", **QUIET).error == ""

    def test_nothing_serves_at_first(self, place: Target) -> None:
        status = place.status("staging")
        assert (status.serving, status.standby, status.url) == ("", "", "")

    def test_what_was_deployed_serves_at_an_address(self, place: Target) -> None:
        self.deploy(place, self.plan(1))
        status = place.status("staging")
        assert (status.reachable, status.serving, status.problems) == (True, "d1", ())
        assert status.url

    def test_until_apply_nothing_that_people_reach_changes(self, place: Target) -> None:
        self.deploy(place, self.plan(1))
        assert self.prepare(place, self.plan(2, "d1")).error == ""
        assert place.status("staging").serving == "d1"

    def test_what_served_before_stays_ready(self, place: Target) -> None:
        self.deploy(place, self.plan(1))
        self.deploy(place, self.plan(2, "d1"))
        status = place.status("staging")
        assert (status.serving, status.standby) == ("d2", "d1")

    @pytest.mark.parametrize("applied", [False, True])
    def test_a_rollback_restores_what_served_and_is_repeatable(self, place: Target, applied: bool) -> None:
        self.deploy(place, self.plan(1))
        second = self.plan(2, "d1")
        self.prepare(place, second)
        if applied:
            place.apply(second, "d2/apply", **QUIET)
        for number in (1, 2):
            assert place.rollback(second, f"d2/rollback/{number}", **QUIET).error == ""
            status = place.status("staging")
            assert (status.serving, status.standby) == ("d1", "")

    def test_a_rollback_of_the_first_leaves_nothing(self, place: Target) -> None:
        first = self.plan(1)
        self.prepare(place, first)
        place.apply(first, "d1/apply", **QUIET)
        assert place.rollback(first, "d1/rollback", **QUIET).error == ""
        assert place.status("staging").serving == ""

    def test_a_key_is_carried_out_once_and_can_be_looked_up(self, place: Target) -> None:
        first = self.plan(1)
        assert place.look_up(first, "d1/prepare", **QUIET).state == "absent"
        outcome = self.prepare(place, first)
        assert self.prepare(place, first) == outcome
        found = place.look_up(first, "d1/prepare", **QUIET)
        assert (found.state, found.outcome.error) == ("done", "")

    def test_stopping_ends_it_and_can_be_repeated(self, place: Target) -> None:
        self.deploy(place, self.plan(1))
        for _ in range(2):
            place.stop("staging", **QUIET)
            assert not any(one.state == "running" for one in place.status("staging").instances)
