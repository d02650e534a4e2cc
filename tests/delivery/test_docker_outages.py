"""Environments of type docker on an engine that goes away: what serves serves on, what fails says why, and
nothing stays behind when the engine is back."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from akashic.containers.engine import Engine
from tests.delivery.docker_world import Built, DockerWorld
from tests.engine_proxy import EngineProxy
from tests.waiting import eventually

pytestmark = pytest.mark.docker

SEED = int(os.environ.get("AKASHIC_TEST_SEED", "4711"))
OUTAGES = 24 if os.environ.get("AKASHIC_TEST_SLOW") else 3


@pytest.fixture(scope="module")
def built(
    engine: Engine, test_image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Built]:
    test_image("akashic-test/base:1")
    made = Built(engine, tmp_path_factory.mktemp("images") / "layout")
    yield made
    made.close()


@pytest.fixture
def proxy(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[EngineProxy]:
    found = EngineProxy(tmp_path / "engine.sock", engine)
    monkeypatch.setenv("DOCKER_HOST", found.environ["DOCKER_HOST"])
    yield found
    found.shut()


@pytest.fixture
def docker(tmp_path: Path, built: Built, proxy: EngineProxy) -> Iterator[DockerWorld]:
    made = DockerWorld(tmp_path, built)
    yield made
    proxy.on_request = lambda line: 0.0
    proxy.shut()
    proxy.open()
    made.close()


def test_what_serves_serves_on_without_its_engine(docker, proxy, fetch):
    docker.deploy(docker.release("1.0"))
    before = docker.containers()
    proxy.shut()
    assert fetch(docker.url()) == "1.0"
    status = docker.deployments.status("staging")
    assert not status.reachable and "container engine" in status.problems[0]
    refused = docker.deploy(docker.release("2.0"))
    assert refused.status == "rolled back" and proxy.environ["DOCKER_HOST"] in refused.reason
    assert fetch(docker.url()) == "1.0"
    proxy.open()
    assert eventually(lambda: docker.deployments.status("staging").reachable)
    assert docker.containers() == before
    assert docker.deploy(docker.release("2.0")).status == "promoted"
    assert fetch(docker.url()) == "2.0"


def test_an_engine_that_does_not_answer_holds_nobody(docker, proxy, fetch):
    docker.deploy(docker.release("1.0"))
    proxy.on_request = lambda line: 3600.0
    assert eventually(lambda: not docker.deployments.status("staging").reachable)
    assert "does not answer" in docker.deployments.status("staging").problems[0]
    assert fetch(docker.url()) == "1.0"


@pytest.mark.parametrize("number", range(OUTAGES))
def test_an_outage_at_any_moment_of_a_deployment_leaves_one_release(docker, proxy, fetch, number):
    chance = random.Random(SEED + number)
    docker.deploy(docker.release("1.0"))
    sound = chance.random() < 0.5
    release = docker.release("2.0", **({} if sound else {"start": "500"}))
    watched = ("/inspect", "/json")
    left = [chance.randrange(1, 14)]

    def count(line: str) -> float:
        if not any(word in line.partition("?")[0] for word in watched):
            left[0] -= 1
            if left[0] == 0:
                proxy.shut()
        return 0.0

    proxy.on_request = count
    done = docker.deploy(release)
    assert done.status in ("promoted", "rolled back", "failed"), done
    if done.status != "promoted":
        assert done.reason
    proxy.on_request = lambda line: 0.0
    proxy.shut()
    proxy.open()
    serving = "2.0" if done.status == "promoted" else "1.0"
    assert eventually(lambda: fetch(docker.url()) == serving)
    standing = 2 if done.status == "promoted" else 1
    assert eventually(lambda: len(docker.containers()) == standing), (done, docker.containers())
    assert docker.deploy(docker.release("3.0")).status == "promoted"
    assert fetch(docker.url()) == "3.0"
    assert eventually(lambda: len(docker.containers()) == 2)


def test_an_outage_while_the_traffic_goes_back_ends_with_the_former_release(docker, proxy, fetch):
    docker.deploy(docker.release("1.0"))
    docker.deploy(docker.release("2.0"))
    proxy.shut()
    back = docker.rollback()
    assert back.status in ("promoted", "rolled back"), back
    serving = "1.0" if back.status == "promoted" else "2.0"
    assert fetch(docker.url()) == serving
    proxy.open()
    if back.status != "promoted":
        assert proxy.environ["DOCKER_HOST"] in back.reason
        assert docker.rollback().status == "promoted"
    assert eventually(lambda: fetch(docker.url()) == "1.0")


def test_a_supervisor_that_starts_without_the_engine_sweeps_when_it_is_back(docker, proxy, fetch):
    docker.deploy(docker.release("1.0"))
    os.kill(docker.client.ask({"op": "ping"}), signal.SIGKILL)
    before = docker.containers()
    stray = docker.engine.containers.create(
        {
            "Image": "akashic-test/base:1",
            "Cmd": ["sleep", "1"],
            "Labels": docker.engine.containers.inspect(before[0]).labels,
        }
    )
    proxy.shut()
    docker.client.ensure_running()
    assert fetch(docker.url()) == "1.0"
    assert stray in docker.containers()
    proxy.open()
    assert eventually(lambda: stray not in docker.containers())
    assert docker.containers() == before
