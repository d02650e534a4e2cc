"""Images that a job needs and the engine has not come from a registry, with the workflow's own login."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from akashic.cancellation import Cancellation
from akashic.containers.auth import Credentials
from akashic.containers.engine import Engine
from akashic.executors.container_options import ContainerOptions
from akashic.executors.docker.executor import DockerExecutor
from akashic.executors.protocol import ContainerSpec, ExecutorError, SandboxSpec
from akashic.testing.registry import MISSING, PASSWORD, USER, LoopbackRegistry, available
from tests.executors.contract import make_repository

pytestmark = pytest.mark.docker
LOGIN = {"username": USER, "password": PASSWORD}


@pytest.fixture
def remote_image(tmp_path: Path, engine: Engine) -> Iterator[str]:
    """An image that a registry has, which asks for a login, and the engine has not."""
    if not available():
        pytest.skip(MISSING)
    with LoopbackRegistry(tmp_path / "registry", login=True) as registry:
        name = f"{registry.host}/team/job:1"
        # Nothing is in it: a job's processes are started by what is mounted.
        empty = io.BytesIO()
        tarfile.open(fileobj=empty, mode="w").close()
        engine.images.import_archive([empty.getvalue()], name, cancellation=Cancellation())
        engine.images.push(
            name,
            say=lambda _: None,
            cancellation=Cancellation(),
            credentials=Credentials(username=USER, password=PASSWORD, registry=registry.host),
        )
        engine.images.remove(name)
        yield name
        engine.images.remove(name)


def test_pulls_are_told_while_they_last_and_use_the_job_s_login(tmp_path: Path, remote_image: str) -> None:
    executor = DockerExecutor(
        state_dir=str(tmp_path / "state"),
        cache_dir=str(tmp_path / "cache"),
        tool_cache=str(tmp_path / "tools"),
        environ=os.environ | {"DOCKER_CONFIG": str(tmp_path)},
        options=ContainerOptions(),
    )
    spec = SandboxSpec(
        run_id=f"test-{os.urandom(6).hex()}",
        job_key="build",
        attempt=1,
        repository="ada/demo",
        tree=make_repository(tmp_path / "repository"),
        container=ContainerSpec(image=remote_image),
    )
    said: list[str] = []
    with pytest.raises(ExecutorError, match="cannot be pulled") as caught:
        executor.open(spec, cancellation=Cancellation(), say=said.append)
    assert "docker login" in caught.value.hint and "credentials:" in caught.value.hint
    assert said == [f"Pulling {remote_image}"]
    spec = replace(spec, container=ContainerSpec(image=remote_image, credentials=LOGIN))
    sandbox = executor.open(spec, cancellation=Cancellation(), say=said.append)
    try:
        assert said.count(f"Pulling {remote_image}") == 2
        assert any(line.endswith(": Pull complete") for line in said)
        assert not any("Pulling" in note for note in sandbox.notes)
    finally:
        sandbox.close()
