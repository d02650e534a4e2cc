"""The contract of executors, held by containers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from akashic.executors.container_options import ContainerOptions
from akashic.executors.protocol import Executor
from akashic.executors.registry import executor as find_executor
from tests.executors.contract import ExecutorContract

pytestmark = pytest.mark.docker


@pytest.fixture
def docker_executor(tmp_path: Path, base_image: str) -> Executor:
    return find_executor(
        "docker",
        state_dir=str(tmp_path / "state"),
        cache_dir=str(tmp_path / "cache"),
        tool_cache=str(tmp_path / "tools"),
        environ=os.environ,
        containers=ContainerOptions(images={"ubuntu-latest": base_image}, pull="never"),
    )


class TestContract(ExecutorContract):
    labels = ("ubuntu-latest",)
    image = "akashic-test/base:1"
    temp_holds = ("_github_workflow",)

    @pytest.fixture
    def executor(self, docker_executor: Executor) -> Executor:
        return docker_executor
