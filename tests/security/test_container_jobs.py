"""attacks.md, rows 6, 9 and 22: what a job in a container is given, and what it is not."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from akashic.cancellation import Cancellation
from akashic.containers.engine import Engine
from akashic.executors.container_options import ContainerOptions
from akashic.executors.protocol import ContainerSpec, SandboxSpec, Tree
from akashic.executors.registry import executor as find_executor

pytestmark = pytest.mark.docker

HOSTILE = ["a\"b'c", "$(touch /hacked) `id`", "--privileged -v /:/host", "line\nPRIVILEGED=1", "ä\t\\"]
SOCKETS = "ls /var/run/docker.sock /run/docker.sock 2>/dev/null | wc -l"


class Place:
    """A sandbox of the docker executor."""

    def __init__(self, folder: Path, base: str, **options: Any) -> None:
        self.base = base
        executor = find_executor(
            "docker",
            state_dir=str(folder / "state"),
            cache_dir=str(folder / "cache"),
            tool_cache=str(folder / "tools"),
            environ=os.environ,
            containers=ContainerOptions(images={"x": base}, pull="never", **options),
        )
        (folder / "tree").mkdir()
        self.sandbox = executor.open(
            SandboxSpec(
                run_id="run",
                job_key="build",
                attempt=1,
                repository="a/b",
                tree=Tree(root=str(folder / "tree"), commit="0" * 40),
                container=ContainerSpec(image=base, env={"HOSTILE": HOSTILE[3]}),
            ),
            cancellation=Cancellation(),
        )

    def shell(self, script: str, env: dict[str, str]) -> str:
        chunks: list[bytes] = []
        self.sandbox.exec(
            ["sh", "-c", script],
            env={**self.sandbox.base_env, **env},
            cwd="/",
            on_output=chunks.append,
            cancellation=Cancellation(),
        )
        return b"".join(chunks).decode()

    def action(self, script: str, env: dict[str, str]) -> str:
        chunks: list[bytes] = []
        self.sandbox.run_image(
            self.base,
            entrypoint="/bin/sh",
            args=["-c", script],
            env=env,
            on_output=chunks.append,
            cancellation=Cancellation(),
        )
        return b"".join(chunks).decode()


@pytest.fixture
def place(tmp_path: Path, base_image: str) -> Any:
    place = Place(tmp_path, base_image)
    yield place
    place.sandbox.close()


def test_values_of_variables_are_never_options_of_the_engine(place: Place) -> None:
    env = {f"V{index}": value for index, value in enumerate(HOSTILE)}
    script = "".join(f'printf "%s|" "$V{index}";' for index in range(len(HOSTILE))) + 'echo "[$PRIVILEGED]"'
    expected = "".join(f"{value}|" for value in HOSTILE) + "[]\n"
    assert place.shell(script, env) == expected
    assert place.action(script, env) == expected
    assert place.shell('printf "%s[%s]" "$HOSTILE" "$PRIVILEGED"', {}) == f"{HOSTILE[3]}[]"


def test_arguments_reach_the_image_as_they_are(place: Place) -> None:
    chunks: list[bytes] = []
    place.sandbox.run_image(
        place.base,
        entrypoint="/usr/bin/printf",
        args=["%s|", *HOSTILE],
        env={},
        on_output=chunks.append,
        cancellation=Cancellation(),
    )
    assert b"".join(chunks).decode() == "".join(f"{value}|" for value in HOSTILE)


def test_the_engine_s_socket_is_in_no_container_unless_it_is_asked_for(
    place: Place, tmp_path: Path, engine: Engine
) -> None:
    assert place.shell(SOCKETS, {}).strip() == "0"
    assert place.action(SOCKETS, {}).strip() == "0"
    (tmp_path / "asked").mkdir()
    socket = engine.transport.endpoint.path
    asked = Place(tmp_path / "asked", place.base, daemon_socket=socket)
    try:
        assert asked.shell("test -S /var/run/docker.sock && echo there", {}).strip() == "there"
        assert asked.action("test -S /var/run/docker.sock && echo there", {}).strip() == "there"
    finally:
        asked.sandbox.close()


def test_a_container_is_not_privileged_and_sees_no_process_of_this_machine(place: Place) -> None:
    assert place.shell("mount -t tmpfs none /mnt 2>/dev/null && echo mounted || echo no", {}).strip() == "no"
    assert int(place.shell("ls /proc | grep -c '^[0-9]'", {})) < 10
