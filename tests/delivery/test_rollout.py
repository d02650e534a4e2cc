"""Rolling releases on this machine: a few instances at a time, no request lost, back when one is not well."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections import Counter

import pytest

from akashic.delivery.config import StrategyConfig
from akashic.delivery.local.processes import marked
from tests.waiting import eventually

ROLLING = """
environments:
  staging:
    target: {instances: 4, start_timeout_s: 4, drain_timeout_s: 3}
    strategy: {type: rolling, settle_s: 0}
    health: {path: /api/health, interval_s: 0.1, timeout_s: 1}
"""


class Clients:
    """Keep-alive clients of an environment, and what they were answered."""

    def __init__(self, url: str, count: int = 6) -> None:
        self.host = url.removeprefix("http://")
        self.failed: list[str] = []
        self.answers: list[tuple[int, str]] = []
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        connection = http.client.HTTPConnection(self.host, timeout=10)
        while not self._over.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                self.answers.append((answer.status, answer.read().decode()))
            except Exception as error:
                self.failed.append(repr(error))
                return
            time.sleep(0.005)

    def end(self) -> set[tuple[int, str]]:
        self._over.set()
        for thread in self._threads:
            thread.join()
        assert self.failed == []
        return set(self.answers)


def instances(world, deployment: str) -> int:
    """How many processes of a deployment live."""
    return len(marked(f"{world.state_dir.resolve()}/staging/{deployment}"))


def goes(world, deployment: str) -> bool:
    """Whether all processes of a deployment end: they have their time to drain."""
    deadline = time.monotonic() + 20
    while instances(world, deployment) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not instances(world, deployment)


def versions(world, fetch, asked: int = 24) -> Counter[str]:
    return Counter(fetch(world.url()) for _ in range(asked))


@pytest.mark.parametrize(
    ("count", "unavailable", "surge"), [(1, 0, 1), (2, 0, 1), (3, 0, 1), (4, 1, 1), (5, 1, 2), (8, 2, 2)]
)
def test_a_quarter_is_rounded_as_kubernetes_does(count: int, unavailable: int, surge: int) -> None:
    strategy = StrategyConfig(type="rolling")
    assert (strategy.unavailable_max(count), strategy.surge_max(count)) == (unavailable, surge)
    assert StrategyConfig().surge_max(count) == 0


def test_a_release_rolls_without_a_lost_request_and_within_its_limits(world, fetch):
    world.configure(ROLLING)
    first = world.deploy(world.release("1.0"))
    assert instances(world, first.id) == 4
    clients = Clients(world.url())
    release = world.release("2.0")
    seen: list[int] = []
    over = threading.Event()

    def count() -> None:
        while not over.is_set():
            seen.append(len(marked(f"{world.state_dir.resolve()}/staging/1")))
            time.sleep(0.05)

    counter = threading.Thread(target=count)
    counter.start()
    second = world.deploy(release)
    over.set()
    counter.join()
    assert second.status == "promoted", second.reason
    assert clients.end() == {(200, "1.0"), (200, "2.0")}
    # All and a quarter more, and the old one that stays to go back to.
    assert max(seen) <= 4 + 1 + 1
    assert versions(world, fetch) == {"2.0": 24}
    assert (instances(world, first.id), instances(world, second.id)) == (1, 4)
    assert {one.state for one in world.deployments.status("staging").instances} == {"running"}


def test_going_back_starts_what_was_stopped_and_loses_no_request(world, fetch):
    world.configure(ROLLING)
    first = world.deploy(world.release("1.0"))
    world.deploy(world.release("2.0"))
    clients = Clients(world.url())
    back = world.rollback()
    assert back.status == "promoted", back.reason
    assert clients.end() == {(200, "1.0"), (200, "2.0")}
    assert versions(world, fetch) == {"1.0": 24}
    assert instances(world, first.id) == 4


def test_a_release_that_breaks_while_it_rolls_is_taken_back_whole(world, fetch):
    """Its first instance is well; the second one answers 500, when a part of the traffic is on it already."""
    world.configure(ROLLING)
    first = world.deploy(world.release("1.0"))
    clients = Clients(world.url())
    found = world.deploy(world.release("2.0", only_first=True))
    assert found.status == "rolled back"
    assert "instance 1 did not become healthy" in found.reason
    assert {status for status, _ in clients.end()} == {200}
    assert versions(world, fetch) == {"1.0": 24}
    assert instances(world, first.id) == 4
    assert goes(world, found.id)


def test_a_release_that_falls_ill_after_it_rolled_is_taken_back_whole(world, fetch):
    world.configure(ROLLING)
    first = world.deploy(world.release("1.0"))
    world.configure(ROLLING.replace("settle_s: 0", "settle_s: 60"))
    deploying = world.deploying(world.release("2.0"))
    assert eventually(lambda: world.deployments.history("staging")[0].status == "verified")
    for _ in range(12):
        fetch(world.url() + "/fall-ill")
    found = deploying.result()
    assert found.status == "rolled back", found.reason
    assert versions(world, fetch) == {"1.0": 24}
    assert instances(world, first.id) == 4


def test_a_supervisor_killed_while_it_rolls_leaves_the_old_release_whole(world, fetch):
    world.configure(ROLLING)
    first = world.deploy(world.release("1.0"))
    release = world.release("2.0")
    found = []
    thread = threading.Thread(target=lambda: found.append(world.deploy(release)))
    thread.start()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and "2.0" not in versions(world, fetch, 8):
        time.sleep(0.02)
    os.kill(world.client.ask({"op": "ping"}), signal.SIGKILL)
    thread.join(60)
    assert found[0].status == "rolled back", found[0].reason
    assert versions(world, fetch) == {"1.0": 24}
    assert instances(world, first.id) == 4
    assert goes(world, found[0].id)
