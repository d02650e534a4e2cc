"""The targets against their contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from akashic.delivery.config import EnvironmentConfig
from akashic.delivery.local.target import LocalTarget
from akashic.delivery.targets import MemoryTarget, Plan
from akashic.engine.deployment_events import ReleaseRef
from tests.delivery.target_contract import TargetContract


class TestMemoryTarget(TargetContract):
    @pytest.fixture
    def place(self) -> MemoryTarget:
        return MemoryTarget()

    def plan(self, number: int, previous: str = "") -> Plan:
        release = ReleaseRef(id=f"r{number}", version=str(number), commit="c" * 40, digest="sha256:d")
        return Plan(
            environment="staging",
            deployment=f"d{number}",
            number=number,
            release=release,
            config=EnvironmentConfig(),
            previous=previous,
        )


class TestLocalTarget(TargetContract):
    @pytest.fixture
    def place(self, world: Any) -> Iterator[LocalTarget]:
        self.world = world
        target = LocalTarget(world.state_dir)
        target.wake()
        yield target

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
