"""The container engine goes away in the middle of a run: the run ends with words that name it, the journal is
whole, and the next command finds nothing to trip over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from akashic.containers.engine import Engine
from akashic.executors.docker.actions import REPOSITORY
from akashic.executors.docker.labels import RUN
from tests.engine_proxy import EngineProxy
from tests.waiting import eventually

pytestmark = pytest.mark.docker

ONE = """
build:
  runs-on: ubuntu-latest
  container: {image: akashic-test/base:1, volumes: ["kept:/kept"]}
  services: {cache: {image: REDIS, options: --health-cmd "redis-cli ping"}}
  steps:
    - uses: actions/checkout@v4
    - run: echo ran >> count.txt; echo "times=$(wc -l < count.txt)"
    - {uses: ./act}
    - run: echo reached=yes
"""


@pytest.fixture
def proxy(tmp_path: Path, engine: Engine) -> Iterator[EngineProxy]:
    found = EngineProxy(tmp_path / "engine.sock", engine)
    yield found
    found.shut()


@pytest.fixture
def workshop(shop: Any, proxy: EngineProxy, make_action: Any) -> Any:
    shop.cli.env["DOCKER_HOST"] = proxy.environ["DOCKER_HOST"]
    # Its image is made anew for each test: one of the same files would be there already.
    make_action(
        "act", "runs: {using: docker, image: Dockerfile}", f"echo acted=yes in {proxy.environ['DOCKER_HOST']}"
    )
    return shop


def end(workshop: Any, process: Any) -> str:
    text, _ = process.communicate(timeout=120)
    assert "Traceback" not in text, text
    workshop.built.update(re.findall(rf"Successfully tagged ({REPOSITORY}:\S+)", text))
    return str(text)


def shut_at(proxy: EngineProxy, words: str, *, count: int = 1) -> None:
    """Shut the door when such a request comes."""
    left = [count]

    def ask(line: str) -> float:
        if words in line:
            left[0] -= 1
            if left[0] == 0:
                proxy.shut()
        return 0.0

    proxy.on_request = ask


def back(proxy: EngineProxy) -> None:
    proxy.on_request = lambda line: 0.0
    proxy.shut()
    proxy.open()


def whole(workshop: Any) -> None:
    checked = workshop.cli("journal", "verify")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def settled(workshop: Any, engine: Engine) -> None:
    """After the next command nothing of any run is left on the engine."""
    runs = [item["run_id"] for item in workshop.cli.json("runs")]
    for run in runs:
        for kind in (engine.containers, engine.networks, engine.volumes):
            assert eventually(lambda kind=kind, run=run: not kind.list(labels=(f"{RUN}={run}",))), (kind, run)


@pytest.mark.parametrize(
    "words",
    [
        "/images/",
        "/networks/create",
        "/volumes/create",
        "/containers/create",
        "/start",
        "/exec",
        "/build",
        "/attach",
    ],
)
def test_a_run_that_loses_its_engine_says_so_and_the_next_one_is_clean(
    workshop: Any, proxy: EngineProxy, engine: Engine, redis_image: str, words: str
) -> None:
    shut_at(proxy, words)
    jobs = ONE.replace("REDIS", redis_image)
    process = workshop.start(jobs)
    text = end(workshop, process)
    assert process.returncode == 1, text
    assert proxy.environ["DOCKER_HOST"] in text and "container engine" in text, text
    assert "| reached=yes" not in text
    whole(workshop)
    back(proxy)
    process = workshop.start(jobs)
    text = end(workshop, process)
    assert process.returncode == 0, text
    assert "times=1" in text and "reached=yes" in text
    whole(workshop)
    settled(workshop, engine)


def test_an_engine_that_is_away_between_jobs_fails_the_second_and_a_rerun_takes_only_that(
    workshop: Any, proxy: EngineProxy, engine: Engine
) -> None:
    shut_at(proxy, "/containers/create", count=2)
    workshop.cli.write("marks/.keep", "")
    process = workshop.start(
        """
        first: {runs-on: ubuntu-latest, steps: [{run: echo first=ran}]}
        second: {runs-on: ubuntu-latest, needs: first, steps: [{run: echo second=ran}]}
        """
    )
    text = end(workshop, process)
    assert process.returncode == 1 and "first=ran" in text and "| second=ran" not in text, text
    assert proxy.environ["DOCKER_HOST"] in text
    whole(workshop)
    refused = workshop.cli("rerun", "1", "--failed", "-v")
    said = refused.stdout + refused.stderr
    assert refused.returncode == 1 and proxy.environ["DOCKER_HOST"] in said, said
    back(proxy)
    again = workshop.cli("rerun", "1", "--failed", "-v")
    said = again.stdout + again.stderr
    assert again.returncode == 0, said
    assert "second=ran" in said and "| first=ran" not in said
    whole(workshop)
    settled(workshop, engine)


def test_a_failed_job_is_resumed_when_the_engine_is_back(
    workshop: Any, proxy: EngineProxy, engine: Engine
) -> None:
    workshop.write("app.txt", "bad\n")
    jobs = """
    build:
      runs-on: ubuntu-latest
      steps:
        - uses: actions/checkout@v4
        - run: echo once >> made.txt; echo "made=$(wc -l < made.txt)"
        - run: grep good app.txt; echo resumed=yes
    """
    process = workshop.start(jobs)
    text = end(workshop, process)
    assert process.returncode == 1 and "made=1" in text, text
    workshop.write("app.txt", "good\n")
    proxy.shut()
    refused = workshop.cli("resume", "1", "-v")
    said = refused.stdout + refused.stderr
    assert refused.returncode == 1 and proxy.environ["DOCKER_HOST"] in said, said
    whole(workshop)
    back(proxy)
    shut_at(proxy, "/start")
    refused = workshop.cli("resume", "1", "-v")
    said = refused.stdout + refused.stderr
    assert refused.returncode == 1 and proxy.environ["DOCKER_HOST"] in said, said
    back(proxy)
    done = workshop.cli("resume", "1", "-v")
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "resumed=yes" in said and "| made=" not in said, said
    whole(workshop)
    settled(workshop, engine)


def test_steps_go_on_without_the_engine(workshop: Any, proxy: EngineProxy, engine: Engine) -> None:
    process = workshop.start(
        """
        build:
          runs-on: ubuntu-latest
          steps: [{run: "echo ready; sleep 2"}, {run: echo last=yes}]
        """
    )
    text = ""
    for line in process.stdout:
        text += line
        if line.rstrip().endswith("| ready"):
            break
    proxy.shut()
    text += end(workshop, process)
    assert process.returncode == 0 and "last=yes" in text, text
    back(proxy)
    settled(workshop, engine)
