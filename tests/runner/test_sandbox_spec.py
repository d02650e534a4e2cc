"""What a job's `container:` and `services:` ask for, evaluated."""

from __future__ import annotations

from typing import Any

import pytest

from akashic.cancellation import Cancellation
from akashic.executors.protocol import ContainerSpec, SandboxSpec, ServiceSpec
from akashic.executors.scripted import ScriptedExecutor

STEPS = "\nsteps:\n  - run: ls\n"


@pytest.fixture
def opened(house: Any, monkeypatch: pytest.MonkeyPatch) -> list[SandboxSpec]:
    """What the executor was asked to open."""
    specs: list[SandboxSpec] = []
    executor = ScriptedExecutor(str(house.folder / "scripted"), containers=True)
    original = executor.open

    def watch(spec: SandboxSpec, *, cancellation: Cancellation, say: Any) -> Any:
        specs.append(spec)
        return original(spec, cancellation=cancellation)

    monkeypatch.setattr(executor, "open", watch)
    house.parts_options["executor"] = executor
    return specs


def test_a_container_may_be_a_name_alone(house: Any, opened: list[SandboxSpec]) -> None:
    house.run("container: docker://node:${{ matrix.node }}" + STEPS, matrix={"node": 20})
    assert opened[0].container == ContainerSpec(image="node:20")


def test_everything_of_a_container_is_evaluated(house: Any, opened: list[SandboxSpec]) -> None:
    house.secrets[""] = {"TOKEN": "hush"}
    house.run(
        """
env: {LEVEL: high}
container:
  image: ghcr.io/${{ github.repository }}:1
  env: {SECRET: "${{ secrets.TOKEN }}", LEVEL: "${{ env.LEVEL }}", NUMBER: 1, TRUTH: true}
  ports: [80, "8080:81"]
  volumes: ["${{ github.actor }}:/data"]
  options: --cpus ${{ matrix.cpus }}
  credentials: {username: "${{ github.actor }}", password: "${{ secrets.TOKEN }}"}
services:
  db:
    image: postgres:${{ matrix.version }}
    env: {POSTGRES_PASSWORD: "${{ secrets.TOKEN }}"}
    ports: [5432]
    options: --health-cmd pg_isready
    credentials: {username: u, password: "${{ secrets.TOKEN }}"}
  none:
    image: ${{ matrix.absent }}
"""
        + STEPS,
        matrix={"cpus": 2, "version": 16},
    )
    assert opened[0].container == ContainerSpec(
        image="ghcr.io/octo/app:1",
        env={"SECRET": "hush", "LEVEL": "high", "NUMBER": "1", "TRUTH": "true"},
        ports=("80", "8080:81"),
        volumes=("mona:/data",),
        options="--cpus 2",
        credentials={"username": "mona", "password": "hush"},
    )
    assert opened[0].services == (
        ServiceSpec(
            name="db",
            image="postgres:16",
            env={"POSTGRES_PASSWORD": "hush"},
            ports=("5432",),
            options="--health-cmd pg_isready",
            credentials={"username": "u", "password": "hush"},
        ),
    )


@pytest.mark.parametrize(
    ("container", "message"),
    [
        ("container: ${{ fromJSON('[1]') }}", "container: expected a mapping, got list"),
        ("container: {image: a, ports: '${{ 1 }}'}", "container.ports: expected a list"),
    ],
)
def test_a_container_of_the_wrong_kind_is_told(
    house: Any, opened: list[SandboxSpec], container: str, message: str
) -> None:
    outcome = house.run(container + STEPS)
    assert message in outcome.result.reason and not opened


def test_the_env_of_containers_and_services_knows_the_runner(house: Any, opened: list[SandboxSpec]) -> None:
    house.run(
        """
container: {image: "node:20", env: {SYSTEM: "${{ runner.os }}", WHOSE: "${{ runner.environment }}"}}
services:
  db: {image: "postgres:16", env: {ARCH: "${{ runner.arch }}"}}
"""
        + STEPS
    )
    assert opened[0].container is not None
    assert opened[0].container.env == {"SYSTEM": "Linux", "WHOSE": "self-hosted"}
    assert opened[0].services[0].env["ARCH"] in ("X64", "ARM64", "ARM", "X86")
