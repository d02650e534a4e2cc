"""Deployments from the request to the end, with a target that starts nothing."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from akashic.cancellation import Cancellation
from akashic.delivery.config import MemoryTarget as MemoryTargetConfig
from akashic.delivery.config_file import parse_config
from akashic.delivery.service import Origin
from akashic.errors import UsageError
from akashic.notify.notifier import Notifier
from tests.delivery.memory_world import Dying, Killed, MemoryWorld

EFFECTS = ("prepare", "apply", "promote")


@pytest.fixture
def world(tmp_path: Path) -> MemoryWorld:
    return MemoryWorld(tmp_path)


# Deploy.


def test_a_deployment_serves_and_is_remembered(world: MemoryWorld) -> None:
    release = world.release()
    found = world.deploy(release)
    assert (found.status, found.url, found.request.number) == ("promoted", "memory://staging", 1)
    assert world.target.serving == {"staging": found.id}
    assert [effect for effect, _, _ in world.target.calls] == list(EFFECTS)
    serving = world.deployments.state("staging").serving()
    assert serving is not None
    assert serving.request.release == release.reference


def test_an_environment_is_one_however_its_name_is_written(world: MemoryWorld) -> None:
    found = world.deploy(world.release(), "STAGING")
    assert found.request.environment == "staging"
    assert world.deployments.known() == ["staging", "production"]


def test_a_deployment_has_one_owner_however_its_environment_is_written(world: MemoryWorld) -> None:
    id_ = world.start(world.release())
    driver = world.deployments.driver
    driver.let_go()
    with driver.own("staging", id_) as first, driver.own("STAGING", id_) as second:
        assert (first, second) == (True, False)


def test_an_unknown_environment_is_refused_with_the_nearest_name(world: MemoryWorld) -> None:
    with pytest.raises(UsageError, match="no environment 'stagin'") as caught:
        world.start(world.release(), "stagin")
    assert caught.value.hint.startswith("did you mean staging? it has: staging, production")
    assert world.journal.streams("environment/") == []


@pytest.mark.parametrize("effect", ["prepare", "apply", "promote", "alive"])
def test_what_fails_is_rolled_back_and_what_served_serves_again(world: MemoryWorld, effect: str) -> None:
    before = world.deploy(world.release("1.0"))
    world.target.fail[effect] = "it broke"
    found = world.deploy(world.release("2.0"))
    assert found.status == "rolled back"
    assert "it broke" in found.reason
    assert world.target.serving == {"staging": before.id}
    assert world.deployments.state("staging").current == before.id
    assert world.target.standing["staging"] == [before.id]


def test_a_first_deployment_that_fails_leaves_nothing(world: MemoryWorld) -> None:
    world.target.fail["apply"] = "it broke"
    assert world.deploy(world.release()).status == "rolled back"
    assert world.target.serving == {}
    assert world.deployments.state("staging").serving() is None


def test_a_rollback_that_cannot_be_done_needs_somebody(world: MemoryWorld) -> None:
    world.target.fail.update(apply="it broke", rollback="nor back")
    found = world.deploy(world.release())
    assert found.status == "failed"
    assert "could not be rolled back in 3 attempts" in found.reason
    assert world.kinds() == ["failure"]


def test_a_cancelled_deployment_is_taken_back_before_it_starts(world: MemoryWorld) -> None:
    id_ = world.start(world.release())
    cancellation = Cancellation()
    cancellation.cancel(source="user", reason="SIGINT")
    found = world.deployments.follow("staging", id_, cancellation)
    assert (found.status, world.target.calls) == ("cancelled", [])


# Promote and roll back.


def test_promotion_takes_exactly_what_the_source_serves(world: MemoryWorld) -> None:
    served = world.deploy(world.release("1.0"))
    world.release("2.0")
    id_ = world.deployments.request_promotion("staging", "production", Origin(by="eve"))
    found = world.approve(world.follow("production", id_))
    assert (found.status, found.request.kind) == ("promoted", "promote")
    assert found.request.release == served.request.release
    assert found.request.promoted_from == "staging"


def test_promotion_of_nothing_and_from_the_wrong_place_is_refused(world: MemoryWorld) -> None:
    who = Origin(by="eve")
    with pytest.raises(UsageError, match="staging serves nothing"):
        world.deployments.request_promotion("staging", "production", who)
    with pytest.raises(UsageError, match="takes releases from staging, not from production"):
        world.deployments.request_promotion("production", "production", who)


def test_rollbacks_go_further_back_each_time(world: MemoryWorld) -> None:
    for version in ("1.0", "2.0", "3.0"):
        world.deploy(world.release(version))
    assert [world.rollback().request.release.version for _ in range(2)] == ["2.0", "1.0"]
    with pytest.raises(UsageError, match="no release before the current one"):
        world.rollback()


def test_a_rollback_can_name_any_release_that_served_here(world: MemoryWorld) -> None:
    for version in ("1.0", "2.0", "3.0"):
        world.deploy(world.release(version))
    assert world.rollback(to="1.0").request.release.version == "1.0"
    world.release("4.0")
    with pytest.raises(UsageError, match=r"4\.0 never served in staging"):
        world.rollback(to="4.0")


def test_there_is_no_way_back_from_nothing_or_from_the_first(world: MemoryWorld) -> None:
    with pytest.raises(UsageError, match="no release before"):
        world.rollback()
    world.deploy(world.release())
    with pytest.raises(UsageError, match="no release before"):
        world.rollback()


# Order.


def test_two_deployments_happen_one_after_the_other_in_the_order_of_asking(world: MemoryWorld) -> None:
    first = world.start(world.release("1.0"))
    second = world.start(world.release("2.0"))
    # The first is queued by a process that lives and waits: the second may not overtake it.
    held = threading.Event()
    release = threading.Event()
    original = world.target.prepare

    def slow(*arguments: object, **options: object) -> object:
        held.set()
        release.wait(10)
        return original(*arguments, **options)  # type: ignore[arg-type]

    world.target.prepare = slow  # type: ignore[method-assign,assignment]
    thread = threading.Thread(target=world.follow, args=("staging", first))
    thread.start()
    assert held.wait(10)
    waits = world.follow("staging", second)
    assert waits.status == "queued"
    release.set()
    thread.join(10)
    assert world.follow("staging", second).status == "promoted"
    assert [id_ for effect, id_, _ in world.target.calls if effect == "apply"] == [first, second]
    state = world.deployments.state("staging")
    assert state.deployments[first].ended_at < state.deployments[second].started_at


def test_the_same_attempt_of_a_job_asks_once_and_the_next_attempt_again(world: MemoryWorld) -> None:
    world.run()
    release = world.release(run_id="7")
    ids = [world.start(release, run_id="7", job="deploy", attempt=n) for n in (1, 1, 2)]
    assert ids[0] == ids[1] != ids[2]
    assert len(world.deployments.history("staging")) == 2


def test_people_who_ask_twice_get_two(world: MemoryWorld) -> None:
    release = world.release()
    assert world.start(release) != world.start(release)


# Crashes.


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("effect", EFFECTS)
def test_what_a_dead_driver_left_ends_well_and_nothing_happens_twice(
    world: MemoryWorld, effect: str, after: bool
) -> None:
    before = world.deploy(world.release("1.0"))
    dying = Dying(effect, after=after)
    dying.serving, dying.standing = dict(world.target.serving), {"staging": [before.id]}
    world.target = dying
    world.restart()
    id_ = world.start(world.release("2.0"))
    with pytest.raises(Killed):
        world.follow("staging", id_)
    world.restart()
    (found,) = world.deployments.recover()
    assert (found.id, found.status) == (id_, "promoted")
    assert dying.serving == {"staging": id_}
    assert [name for name, _, _ in dying.calls] == list(EFFECTS)
    assert world.deployments.recover() == []


@pytest.mark.parametrize("after", [False, True])
def test_a_driver_killed_while_going_back_still_went_back(world: MemoryWorld, after: bool) -> None:
    before = world.deploy(world.release("1.0"))
    dying = Dying("rollback", after=after, fail={"apply": "it broke"})
    dying.serving, dying.standing = dict(world.target.serving), {"staging": [before.id]}
    world.target = dying
    world.restart()
    with pytest.raises(Killed):
        world.deploy(world.release("2.0"))
    world.restart()
    (found,) = world.deployments.recover()
    assert found.status == "rolled back"
    assert dying.serving == {"staging": before.id}


def test_what_waits_for_approval_goes_on_waiting_after_a_crash(world: MemoryWorld) -> None:
    found = world.deploy(world.release(), "production")
    world.restart()
    assert world.deployments.recover() == []
    assert [d.id for d in world.deployments.waiting()] == [found.id]


# Looking.


def test_history_is_newest_first_and_status_asks_the_target(world: MemoryWorld) -> None:
    world.deploy(world.release("1.0"))
    found = world.deploy(world.release("2.0"))
    numbers = [(d.request.number, str(d.status)) for d in world.deployments.history("staging")]
    assert numbers == [(2, "promoted"), (1, "promoted")]
    status = world.deployments.status("staging")
    assert (status.reachable, status.serving, status.url) == (True, found.id, "memory://staging")
    assert world.deployments.history("production") == []


def test_an_environment_that_left_the_configuration_is_still_known(world: MemoryWorld) -> None:
    world.deploy(world.release())
    del world.config.environments["staging"]
    assert world.deployments.known() == ["production", "staging"]


# Telling.


def test_people_hear_of_success_failure_rollback_and_a_wanted_approval(world: MemoryWorld) -> None:
    world.deploy(world.release("1.0"))
    world.deploy(world.release("2.0"))
    world.rollback()
    found = world.deploy(world.release("3.0"), "production")
    world.approve(found, approved=False)
    assert world.kinds() == ["success", "success", "rollback", "approval_wanted", "failure"]
    first, wanted = world.messages[0], world.messages[3]
    assert (first.version, first.environment, first.who) == ("1.0 (ccccccc)", "staging", "eve")
    assert first.duration_s is not None
    assert first.duration_s > 0
    assert wanted.text == "akashic approve production"


def test_an_automatic_rollback_is_told(world: MemoryWorld) -> None:
    world.target.fail["apply"] = "it broke"
    world.deploy(world.release())
    assert world.kinds() == ["rollback"]
    assert "it broke" in world.messages[0].text


def test_a_notifier_that_raises_fails_no_deployment(world: MemoryWorld) -> None:
    def broken(message: object) -> None:
        raise RuntimeError("no network")

    world.restart(notify=broken)
    assert world.deploy(world.release()).status == "promoted"


def test_secrets_reach_a_target_only_for_trusted_requests(world: MemoryWorld) -> None:
    world.secrets = {"TOKEN": "value"}
    world.run(trust="fork")
    found = world.deploy(world.release(run_id="7"), run_id="7", job="deploy")
    assert (found.status, world.target.calls) == ("rejected", [])
    plan = world.deployments.port._plan(found)
    with pytest.raises(Exception, match="TOKEN of the environment staging is not set"):
        plan.secrets("TOKEN")


def test_the_targets_of_tests_are_used(world: MemoryWorld) -> None:
    assert world.deployments.target(MemoryTargetConfig()) is world.target


def test_one_that_was_just_asked_for_keeps_its_place_before_its_rules_are_known(world: MemoryWorld) -> None:
    first = world.start(world.release("1.0"))
    second = world.start(world.release("2.0"))
    assert world.follow("staging", second).status == "queued"
    assert world.target.calls == []
    assert world.follow("staging", first).status == "promoted"
    assert world.follow("staging", second).status == "promoted"


def test_one_whose_process_died_before_its_rules_were_asked_blocks_nobody(world: MemoryWorld) -> None:
    first = world.start(world.release("1.0"))
    world.deployments.driver.let_go()
    second = world.start(world.release("2.0"))
    found = world.deployments.follow("staging", second, Cancellation())
    assert found.status == "promoted"
    assert [id_ for effect, id_, _ in world.target.calls if effect == "apply"] == [first, second]


def test_a_dead_webhook_fails_no_deployment(world: MemoryWorld) -> None:
    said: list[str] = []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{probe.getsockname()[1]}/hook"
    config = parse_config(
        "notifications: {deadline_s: 1, receivers: [{type: slack, url_secret: HOOK, allow_private: true}]}"
    )
    notifier = Notifier(config.notifications, secret=lambda name: dead, say=said.append, backoff_first_s=0.01)
    world.restart(notify=notifier.send)
    assert world.deploy(world.release()).status == "promoted"
    (delivery,) = notifier.close()
    assert delivery.status != "delivered"
