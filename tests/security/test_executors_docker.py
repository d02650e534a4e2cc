"""Attacks on the executor of containers; rows of the list of incidents."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from akashic.cancellation import Cancellation
from akashic.executors.container_options import ContainerOptions
from akashic.executors.docker.actions import action_config
from akashic.executors.docker.borrowing import borrowed_objects
from akashic.executors.docker.create_options import parse_create_options
from akashic.executors.docker.executor import DockerExecutor
from akashic.executors.docker.layout import Layout
from akashic.executors.docker.sandbox import DockerSandbox
from akashic.executors.protocol import ContainerSpec, ExecutorError, SandboxSpec, Tree

HOSTILE = "a\" --privileged -v /:/host 'b' $(touch /tmp/x) `id` ; reboot \n--env EVIL=1"


def _executor(folder: Path, image: str, **options: Any) -> DockerExecutor:
    return DockerExecutor(
        state_dir=str(folder / "state"),
        cache_dir=str(folder / "cache"),
        tool_cache=str(folder / "tools"),
        environ=os.environ,
        options=ContainerOptions(images={"ubuntu-latest": image}, pull="never", **options),
    )


def _run(
    folder: Path, image: str, script: str, container: ContainerSpec | None = None, **options: Any
) -> str:
    spec = SandboxSpec(
        run_id=f"attack-{os.urandom(4).hex()}",
        job_key="build",
        attempt=1,
        repository="ada/demo",
        tree=Tree(root=str(folder), commit=""),
        labels=("ubuntu-latest",),
        container=container,
    )
    sandbox = _executor(folder, image, **options).open(spec, cancellation=Cancellation())
    said: list[bytes] = []
    try:
        sandbox.exec(
            ["bash", "-c", script],
            env={**sandbox.base_env, "HOSTILE": HOSTILE},
            cwd=sandbox.workspace,
            on_output=said.append,
            cancellation=Cancellation(),
        )
    finally:
        sandbox.close()
    return b"".join(said).decode()


def test_row_6_values_never_become_options_of_the_engine(tmp_path: Path) -> None:
    config = action_config(
        "image",
        entrypoint=HOSTILE,
        args=[HOSTILE],
        env={"WORD": HOSTILE},
        workdir="/github/workspace",
        labels={"l": HOSTILE},
        host={},
    )
    assert config["Entrypoint"] == [HOSTILE] and config["Cmd"] == [HOSTILE]
    assert f"WORD={HOSTILE}" in config["Env"] and config["HostConfig"] == {"AutoRemove": True}


@pytest.mark.docker
def test_row_6_values_arrive_in_a_container_as_they_are(tmp_path: Path, base_image: str) -> None:
    container = ContainerSpec(image=base_image, env={"WORD": HOSTILE})
    assert _run(tmp_path, base_image, 'printf "%s" "$WORD$HOSTILE"', container) == HOSTILE * 2


_LEADING_OUT = ("--network host", "--entrypoint sh", "--pid host", "--uts=host", "--volumes-from other",
                "--env-file /etc/passwd", "--nonsense 1")  # fmt: skip


@pytest.mark.parametrize("option", _LEADING_OUT)
def test_row_6_options_that_lead_out_of_the_job_are_refused(option: str) -> None:
    with pytest.raises(ExecutorError, match=option.split(" ")[0].split("=")[0]):
        parse_create_options("container.options", option)


@pytest.mark.docker
def test_row_22_the_engine_s_socket_is_mounted_only_when_it_is_named(tmp_path: Path, base_image: str) -> None:
    look = "ls /var/run/docker.sock /run/docker.sock /run/podman 2>/dev/null; echo looked"
    assert _run(tmp_path / "a", base_image, look) == "looked\n"
    named = _run(tmp_path / "b", base_image, look, daemon_socket="/var/run/docker.sock")
    assert "/var/run/docker.sock" in named


@pytest.mark.docker
def test_row_22_nothing_is_mounted_that_was_not_asked_for(tmp_path: Path, base_image: str) -> None:
    (tmp_path / "secret").write_text("of this machine")
    points = _run(tmp_path, base_image, "cut -d' ' -f2 /proc/mounts").split()
    own = ("/", "/proc", "/dev", "/sys", "/etc/resolv.conf", "/etc/hostname", "/etc/hosts", "/run", "/tmp")
    kept = ("/__w", "/__t", "/__e/agent", "/__e/node", "/github/home", "/github/workflow")
    known = (*own[1:], *kept)
    strange = [p for p in points if p != "/" and not any(p == k or p.startswith(f"{k}/") for k in known)]
    assert strange == []


@pytest.mark.docker
def test_row_22_what_runs_a_job_cannot_be_changed_from_inside(tmp_path: Path, base_image: str) -> None:
    said = _run(tmp_path, base_image, "echo x > /__e/agent/agent.pyc || echo refused; ls -A /__w/_temp")
    assert "refused" in said and ".akashic" not in said


@pytest.mark.docker
def test_row_35_links_are_not_followed_out_of_the_job_s_folders(tmp_path: Path, base_image: str) -> None:
    spec = SandboxSpec(
        run_id=f"attack-{os.urandom(4).hex()}", job_key="b", attempt=1, repository="a/b",
        tree=Tree(root=str(tmp_path), commit=""), labels=("ubuntu-latest",),
    )  # fmt: skip
    sandbox = _executor(tmp_path, base_image).open(spec, cancellation=Cancellation())
    try:
        sandbox.exec(
            ["bash", "-c", "ln -s /etc/passwd out; ln -s / root"],
            env=sandbox.base_env,
            cwd=sandbox.workspace,
            on_output=lambda _: None,
            cancellation=Cancellation(),
        )
        with pytest.raises(ExecutorError):
            sandbox.read(f"{sandbox.workspace}/out", bytes_max=10)
        with pytest.raises(ExecutorError):
            sandbox.write(f"{sandbox.workspace}/root/tmp/akashic-attack", b"x")
        assert not Path("/tmp/akashic-attack").exists()
    finally:
        sandbox.close()


@pytest.mark.parametrize("name", ["../../etc", "a/..", "", "a/\n", "a/_temp", "a/$(id)"])
def test_row_1_a_repository_s_name_makes_no_folder_outside(tmp_path: Path, name: str) -> None:
    layout = Layout.make(str(tmp_path / "box"), str(tmp_path / "tools"), name)
    assert Path(layout.host(layout.workspace)).resolve().is_relative_to(tmp_path / "box")
    assert layout.workspace != "/__w/_temp/_temp"


def test_row_35_borrowed_objects_show_nothing_else_of_this_machine(tmp_path: Path) -> None:
    own, lent, private = (tmp_path / name for name in ("own/.git", "lent/.git", "private"))
    for folder in (own, lent):
        (folder / "objects/pack").mkdir(parents=True)
        (folder / "objects/info").mkdir()
    (private / "pack").mkdir(parents=True)
    (tmp_path / "objects").symlink_to(private)
    lines = (lent / "objects", private, "/etc", "../../../objects", "/root/.ssh", "")
    (own / "objects/info/alternates").write_text("".join(f"{line}\n" for line in lines))
    assert borrowed_objects(str(tmp_path / "own")) == [str(own / "objects"), str(lent / "objects")]


@pytest.mark.parametrize("environ_path", ["own", "nothing"])
def test_row_24_a_shell_in_a_container_is_not_opened_by_the_jobs_own_docker(
    tmp_path: Path, environ_path: str
) -> None:
    """The client runs on this machine: no variable of the job is one of its own, and none is in its argv."""
    for owner in ("own", "job"):
        program = tmp_path / owner / "docker"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nenv > {tmp_path}/{owner}.env\nshift 4\n'
                           'while [ "$1" = --env ]; do shift 2; done\nshift\nexec "$@"\n')  # fmt: skip
        program.chmod(0o755)
    sandbox = DockerSandbox.__new__(DockerSandbox)
    sandbox._environ = {"PATH": f"{tmp_path / environ_path}:/usr/bin:/bin"}
    sandbox._belongings = SimpleNamespace(container="c0ffee")  # type: ignore[assignment]
    env = {"PATH": f"{tmp_path}/job:/usr/bin:/bin", "LD_PRELOAD": "", "DOCKER_HOST": "tcp://evil",
           "TOKEN": HOSTILE, "x-y": "1", "A;touch x": "1"}  # fmt: skip
    script = f'printf %s "$TOKEN" > {tmp_path}/token; env > {tmp_path}/inside.env; exit 7'
    if environ_path == "nothing":
        sandbox._environ = {"PATH": str(tmp_path / environ_path)}
        with pytest.raises(ExecutorError, match="cannot open a shell"):
            sandbox.interactive(["sh", "-c", script], env=env, cwd="/")
        assert not (tmp_path / "job.env").exists()
        return
    assert sandbox.interactive(["sh", "-c", script], env=env, cwd="/") == 7
    seen = (tmp_path / "own.env").read_text()
    assert not (tmp_path / "job.env").exists()
    names = [line.partition("=")[0] for line in seen.splitlines()]
    assert not {"LD_PRELOAD", "DOCKER_HOST", "TOKEN"} & set(names)
    assert f"PATH={tmp_path}/own:/usr/bin:/bin\n" in seen
    assert (tmp_path / "token").read_text() == HOSTILE
    inside = (tmp_path / "inside.env").read_text()
    assert "DOCKER_HOST=tcp://evil" in inside and "AKASHIC_VARIABLE" not in inside
