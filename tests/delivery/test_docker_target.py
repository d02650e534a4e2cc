"""Environments of type docker: the contract of all targets, and what containers add to it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from akashic.cancellation import Cancellation
from akashic.containers.engine import Engine
from akashic.delivery.local.target import LocalTarget
from akashic.delivery.service import Origin
from akashic.delivery.targets import Plan
from tests.delivery.conftest import World
from tests.delivery.docker_world import DOCKER, Built, DockerWorld
from tests.delivery.target_contract import TargetContract
from tests.delivery.test_rollout import Clients, versions
from tests.waiting import eventually

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def built(
    engine: Engine, test_image: Callable[[str], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Built]:
    test_image("akashic-test/base:1")
    made = Built(engine, tmp_path_factory.mktemp("images") / "layout")
    yield made
    made.close()


@pytest.fixture
def docker(tmp_path: Path, built: Built) -> Iterator[DockerWorld]:
    made = DockerWorld(tmp_path, built)
    yield made
    made.close()


class TestDockerTarget(TargetContract):
    @pytest.fixture
    def place(self, docker: DockerWorld) -> Iterator[LocalTarget]:
        self.world = docker
        yield LocalTarget(docker.state_dir)

    def plan(self, number: int, previous: str = "") -> Plan:
        return Plan(
            environment="staging",
            deployment=f"d{number}",
            number=number,
            release=self.world.release(str(number)).reference,
            config=self.world.config.environments["staging"],
            layout=str(self.world.releases.layout.resolve()),
            previous=previous,
        )


def test_switches_and_rollback_drop_no_request(docker, fetch):
    assert docker.deploy(docker.release("1.0")).status == "promoted"
    second = docker.release("2.0")
    clients = Clients(docker.url())
    done = docker.deploy(second)
    assert done.status == "promoted", done.reason
    back = docker.rollback()
    assert back.status == "promoted", back.reason
    assert clients.end() == {(200, "1.0"), (200, "2.0")}
    assert fetch(docker.url()) == "1.0"


def test_containers_roll_as_processes_do(docker, fetch):
    docker.configure(
        DOCKER.replace("type: docker", "type: docker\n      instances: 4").replace(
            "{settle_s: 0}", "{type: rolling, settle_s: 0}"
        )
    )
    docker.deploy(docker.release("1.0"))
    clients = Clients(docker.url())
    done = docker.deploy(docker.release("2.0"))
    assert done.status == "promoted", done.reason
    assert clients.end() == {(200, "1.0"), (200, "2.0")}
    assert versions(docker, fetch) == {"2.0": 24}
    assert len(docker.containers()) == 4 + 1


@pytest.mark.parametrize(
    ("ways", "reason"),
    [
        ({"start": "exit"}, "exit code 3"),
        ({"start": "exit"}, "no database for you"),
        ({"start": "500"}, "expected status 200, found 500"),
    ],
)
def test_a_release_that_does_not_work_is_taken_back(docker, fetch, ways, reason):
    docker.configure(DOCKER.replace("start_timeout_s: 20", "start_timeout_s: 3"))
    docker.deploy(docker.release("1.0"))
    found = docker.deploy(docker.release("2.0", **ways))
    assert (found.status, reason in found.reason) == ("rolled back", True), found.reason
    assert fetch(docker.url()) == "1.0"
    assert len(docker.containers()) == 1


def test_the_release_command_runs_in_a_container_with_the_environments_data(docker, fetch):
    docker.configure(DOCKER.replace("env:", "release_command: [python3, migrate.py]\n      env:"))
    done = docker.deploy(docker.release("1.0"))
    assert done.status == "promoted", done.reason
    assert (docker.client.paths.data("staging") / "migrated").read_text() == "1.0"
    failed = docker.deploy(docker.release("2.0", migrate=4))
    assert "failed with exit code 4" in failed.reason and "migrating" in failed.reason
    assert fetch(docker.url()) == "1.0"


def test_a_secret_reaches_the_container_and_no_log(docker, fetch):
    docker.configure(DOCKER.replace('env: {DATA: "${data}"}', 'env: {KEY: "${secrets.KEY}"}'))
    docker.secrets["KEY"] = "canary-4711"
    done = docker.deploy(docker.release("1.0", says="my key is $KEY"))
    assert done.status == "promoted", done.reason
    assert fetch(docker.url() + "/env/KEY") == "canary-4711"
    log = docker.client.paths.logs("staging") / f"{done.id}.0.log"
    assert eventually(lambda: "my key is" in log.read_text())
    assert "my key is ***" in log.read_text()
    for path in docker.state_dir.rglob("*"):
        if path.is_file():
            assert b"canary-4711" not in path.read_bytes(), path


def test_a_container_that_dies_is_started_again(docker, fetch):
    docker.deploy(docker.release("1.0"))
    (container,) = docker.containers()
    docker.engine.containers.kill(container)
    assert eventually(lambda: docker.containers() not in ([], [container]))
    assert eventually(lambda: fetch(docker.url()) == "1.0")


def test_containers_outlive_the_supervisor_and_strays_are_swept(docker, fetch):
    docker.deploy(docker.release("1.0"))
    url = docker.url()
    os.kill(docker.client.ask({"op": "ping"}), signal.SIGKILL)
    assert fetch(url) == "1.0"
    before = docker.containers()
    stray = docker.engine.containers.create(
        {
            "Image": "akashic-test/base:1",
            "Cmd": ["sleep", "1"],
            "Labels": docker.engine.containers.inspect(before[0]).labels,
        }
    )
    docker.client.ensure_running()
    assert eventually(lambda: stray not in docker.containers())
    assert docker.containers() == before
    assert docker.deploy(docker.release("2.0")).status == "promoted"
    assert fetch(url) == "2.0"


def test_a_supervisor_killed_while_it_prepares_leaves_no_container(docker, fetch):
    docker.deploy(docker.release("1.0"))
    id_ = docker.deployments.request("staging", docker.release("2.0", start="never"), Origin(by="eve"))
    found: list[Any] = []
    thread = threading.Thread(
        target=lambda: found.append(docker.deployments.follow("staging", id_, Cancellation()))
    )
    thread.start()
    assert eventually(lambda: len(docker.containers()) == 2)
    os.kill(docker.client.ask({"op": "ping"}), signal.SIGKILL)
    thread.join(timeout=60)
    assert found and found[0].status == "rolled back"
    assert eventually(lambda: len(docker.containers()) == 1)
    assert fetch(docker.url()) == "1.0"


def test_a_release_without_a_system_of_its_own_is_refused_with_what_to_do(docker):
    found = docker.deploy(World.release(docker, "1.0"))
    assert found.status == "rolled back"
    assert "akashic image build --engine docker" in found.reason
    assert docker.containers() == []


def test_without_an_engine_the_error_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    world = World(tmp_path, DOCKER)
    found = world.deploy(world.release("1.0"))
    world.close()
    assert found.status == "rolled back"
    assert found.reason
