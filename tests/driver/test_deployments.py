"""The driver of deployments, killed at every point."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from akashic.cancellation import Cancellation
from akashic.driver.deployment_ports import EffectOutcome, Lookup
from akashic.driver.deployments import DeploymentDriver
from akashic.engine.deployment import Status
from akashic.engine.deployment_events import DeploymentGatePassed, DeploymentRequested, ReleaseRef
from akashic.engine.requests import GateBinding
from akashic.journal.sqlite import SqliteJournal


class Killed(BaseException):
    """Stands for `kill -9`: nothing in the driver may catch it."""


class Ticking:
    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        self.at += 0.001
        return self.at


class World:
    """A port that remembers what it did, and dies at the chosen moment: before or after an effect."""

    def __init__(self) -> None:
        self.done: dict[str, EffectOutcome] = {}
        self.started: list[str] = []
        self.order: list[str] = []
        self.fail: set[str] = set()
        self.die_before = ""
        self.die_after = ""
        self.serving = "old"

    def rules(self, deployment, now):
        return DeploymentGatePassed(deployment=deployment.id)

    def perform(self, effect, deployment, key, cancellation):
        if self.die_before == effect:
            raise Killed
        assert key not in self.started
        self.started.append(key)
        self.order.append(deployment.id)
        if effect == "apply":
            self.serving = deployment.id
        if effect == "rollback":
            self.serving = "old"
        error = "it broke" if effect in self.fail else ""
        self.done[key] = EffectOutcome(error=error)
        if self.die_after == effect:
            raise Killed
        return self.done[key]

    def look_up(self, effect, deployment, key):
        if key in self.done:
            return Lookup(state="done", outcome=self.done[key])
        return Lookup(state="absent")

    def told(self, event, deployment):
        if self.die_after == type(event).__name__:
            raise Killed


def request(id_: str, release: str = "r", run_id: str = "") -> DeploymentRequested:
    reference = ReleaseRef(id=release, version=release, commit="c", digest="sha256:d")
    binding = GateBinding(run_id=run_id, commit="c", workflow_sha256="manual", environment="prod")
    return DeploymentRequested(
        deployment=id_,
        number=1,
        environment="prod",
        kind="deploy",
        release=reference,
        by="eve",
        binding=binding,
        spec={},
        run_id=run_id,
    )


@pytest.fixture
def parts(tmp_path: Path):
    journal = SqliteJournal(tmp_path / "journal.db")
    world = World()

    def driver() -> DeploymentDriver:
        return DeploymentDriver(journal=journal, port=world, clock=Ticking(), locks=tmp_path / "locks")

    yield world, driver
    journal.close()


EFFECTS = ("prepare", "apply", "verify", "settle", "promote")
EVENTS = (
    "DeploymentRequested",
    "DeploymentGatePassed",
    "DeploymentStarted",
    "EffectIntended",
    "DeploymentPrepared",
    "DeploymentApplied",
    "DeploymentVerified",
    "DeploymentSettled",
    "RollbackStarted",
)


@pytest.mark.parametrize(
    "when", [*(f"before {e}" for e in EFFECTS), *(f"after {e}" for e in (*EFFECTS, *EVENTS))]
)
@pytest.mark.parametrize("broken", ["", "verify"])
def test_a_driver_killed_anywhere_leaves_a_deployment_that_ends_promoted_or_rolled_back(parts, when, broken):
    world, driver = parts
    place, _, what = when.partition(" ")
    setattr(world, f"die_{place}", what)
    world.fail = {broken} if broken else set()
    first = driver()
    try:
        first.append("prod", lambda state: request("d"))
        first.drive("prod", "d", Cancellation())
    except Killed:
        pass
    world.die_before = world.die_after = ""
    driver().recover("prod", Cancellation())
    found = driver().state("prod").deployments["d"]
    if broken:
        assert found.status is Status.ROLLED_BACK
        assert world.serving == "old"
    else:
        assert found.status is Status.PROMOTED
        assert world.serving == "d"
    assert len(world.started) == len(set(world.started)), "an effect was started twice"


def test_what_a_dead_job_asked_for_and_never_started_is_taken_back(parts):
    _, driver = parts
    driver().append("prod", lambda state: request("d", run_id="7"))
    driver().recover("prod", Cancellation())
    assert driver().state("prod").deployments["d"].status is Status.CANCELLED


def test_a_living_owner_is_left_alone(parts):
    _, driver = parts
    one = driver()
    one.append("prod", lambda state: request("d"))
    with one.own("prod", "d") as owned:
        assert owned
        assert driver().recover("prod", Cancellation()) == []
    assert driver().state("prod").deployments["d"].status is Status.REQUESTED


def test_two_drivers_deploy_one_after_the_other(parts):
    world, driver = parts
    driver().append("prod", lambda state: request("a", "r1"))
    driver().append("prod", lambda state: msgspec.structs.replace(request("b", "r2"), number=2))
    threads = [
        threading.Thread(target=lambda id_=id_: driver().drive("prod", id_, Cancellation())) for id_ in "ba"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert driver().state("prod").current == "b"
    # Each driver has a clock of its own here, so what they did is asked, not when.
    assert world.order == ["a"] * len(EFFECTS) + ["b"] * len(EFFECTS)


def test_a_dead_deployment_does_not_block_the_next(parts):
    world, driver = parts
    world.die_after = "prepare"
    driver().append("prod", lambda state: request("a"))
    with pytest.raises(Killed):
        driver().drive("prod", "a", Cancellation())
    world.die_after = ""
    driver().append("prod", lambda state: msgspec.structs.replace(request("b"), number=2))
    assert driver().drive("prod", "b", Cancellation()).status is Status.PROMOTED
    assert driver().state("prod").deployments["a"].ended


def test_a_cancelled_deployment_that_has_started_rolls_back(parts):
    world, driver = parts
    cancellation = Cancellation()
    perform = world.perform

    def cancelling(effect, deployment, key, given):
        if effect == "apply":
            cancellation.cancel(source="user", reason="SIGINT")
        return perform(effect, deployment, key, given)

    world.perform = cancelling
    driver().append("prod", lambda state: request("d"))
    found = driver().drive("prod", "d", cancellation)
    assert found.status is Status.ROLLED_BACK
    assert "SIGINT" in found.reason
    assert world.serving == "old"


def test_nobody_takes_a_request_for_a_dead_ones_in_the_instant_before_it_is_driven(parts):
    """Another process recovers between the append of the request and everything that follows it."""
    _, driver = parts
    asking, other = driver(), driver()
    append = asking.journal.append
    seen = []

    def append_and_be_overtaken(stream, records, **options):
        done = append(stream, records, **options)
        if not seen:
            seen.append(other.recover("prod", Cancellation()))
        return done

    asking.journal = _Overtaken(asking.journal, append_and_be_overtaken)
    asking.request("prod", "d", lambda state: request("d", run_id="7"))
    assert seen == [[]]
    assert other.recover("prod", Cancellation()) == []
    assert other.state("prod").deployments["d"].status is Status.REQUESTED
    assert asking.drive("prod", "d", Cancellation()).status is Status.PROMOTED


def test_a_request_whose_process_died_is_taken_on(parts):
    _, driver = parts
    asking = driver()
    asking.request("prod", "d", lambda state: request("d", run_id="7"))
    asking.let_go()
    assert [found.status for found in driver().recover("prod", Cancellation())] == [Status.CANCELLED]


def test_a_request_that_comes_to_nothing_leaves_no_lock(parts, tmp_path):
    _, driver = parts
    assert driver().request("prod", "d", lambda state: None) is None
    assert list((tmp_path / "locks").iterdir()) == []


class _Overtaken:
    """A journal whose append is another one."""

    def __init__(self, journal, append):
        self._journal = journal
        self.append = append

    def __getattr__(self, name):
        return getattr(self._journal, name)
