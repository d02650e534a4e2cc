"""What a fork's workflow may ask of this machine; rows of the list of incidents."""

from __future__ import annotations

import base64
import json
import os
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from akashic.cancellation import Cancellation
from akashic.containers.images import Images
from akashic.executors.container_options import ContainerOptions
from akashic.executors.docker.executor import DockerExecutor
from akashic.executors.docker.forks import without_privilege
from akashic.executors.host import isolation
from akashic.executors.host.executor import HostExecutor
from akashic.executors.protocol import ContainerSpec, ExecutorError, SandboxSpec, ServiceSpec, Tree
from tests.cli.cli_process import Cli, steps
from tests.executors.contract import make_repository
from tests.executors.test_host import host

FORK = "fork"
ASKED = (
    "--privileged", "--cap-add SYS_ADMIN", "--device /dev/sda", "--device-cgroup-rule 'a *:* rwm'",
    "--gpus all", "--security-opt seccomp=unconfined", "--ipc host", "--userns host", "--runtime sysbox",
    "--sysctl kernel.shmmax=1", "--oom-score-adj -1000", "--group-add 0", "-v /:/host", "-v /etc:/etc:ro",
    "-v /var/run/docker.sock:/var/run/docker.sock", "--mount type=bind,source=/,target=/host",
    "-p 0.0.0.0:80:80", "-P",
)  # fmt: skip


def spec_of(folder: Path, trust: str = FORK, **changes: Any) -> SandboxSpec:
    facts = {
        "run_id": f"fork-{os.urandom(4).hex()}",
        "job_key": "build",
        "attempt": 1,
        "repository": "ada/demo",
        "tree": Tree(root=str(folder), commit=""),
        "labels": ("ubuntu-latest",),
        "trust": trust,
    }
    return SandboxSpec(**{**facts, **changes})


def docker(folder: Path, image: str = "image", **options: Any) -> DockerExecutor:
    return DockerExecutor(
        state_dir=str(folder / "state"),
        cache_dir=str(folder / "cache"),
        tool_cache=str(folder / "tools"),
        environ=os.environ,
        options=ContainerOptions(images={"ubuntu-latest": image}, pull="never", **options),
    )


@pytest.mark.docker
@pytest.mark.parametrize("asked", ASKED)
def test_attack_9_a_forks_container_may_not_reach_out(tmp_path: Path, asked: str, base_image: str) -> None:
    container = ContainerSpec(image=base_image, options=asked)
    with pytest.raises(ExecutorError, match="a fork's job may not"):
        docker(tmp_path).open(spec_of(tmp_path, container=container), cancellation=Cancellation())


@pytest.mark.docker
@pytest.mark.parametrize("asked", ASKED)
def test_attack_9_a_forks_service_may_not_reach_out(tmp_path: Path, asked: str, base_image: str) -> None:
    service = ServiceSpec(name="db", image=base_image, options=asked)
    with pytest.raises(ExecutorError, match="a fork's job may not"):
        docker(tmp_path, base_image).open(spec_of(tmp_path, services=(service,)), cancellation=Cancellation())


@pytest.mark.docker
@pytest.mark.parametrize("kind", ["container", "service"])
def test_attack_9_nor_by_volumes(tmp_path: Path, kind: str, base_image: str) -> None:
    asked: dict[str, Any] = {"container": ContainerSpec(image=base_image, volumes=("/root:/root",))}
    if kind == "service":
        asked = {"services": (ServiceSpec(name="db", image=base_image, volumes=("/root:/root:ro",)),)}
    with pytest.raises(ExecutorError, match="may not see /root"):
        docker(tmp_path, base_image).open(spec_of(tmp_path, **asked), cancellation=Cancellation())


def test_attack_22_what_the_user_gives_to_all_is_not_given_to_forks() -> None:
    chosen, notes = without_privilege(
        ContainerOptions(privileged=True, userns="host", cap_add=("ALL",), daemon_socket="/s", pull="never")
    )
    assert chosen == ContainerOptions(pull="never")
    assert notes == [
        "not for a fork's job: --privileged, --userns, --container-cap-add, --container-daemon-socket"
    ]
    assert without_privilege(chosen) == (chosen, [])


@pytest.mark.docker
def test_attack_22_a_fork_is_not_given_the_engines_socket(tmp_path: Path, base_image: str) -> None:
    container = ContainerSpec(image=base_image, options="--cpus 1 --memory 512m", volumes=("kept:/kept",))
    said = {}
    for trust in ("trusted", FORK):
        sandbox = docker(tmp_path, base_image, daemon_socket="/var/run/docker.sock").open(
            spec_of(tmp_path, trust, container=container), cancellation=Cancellation()
        )
        output: list[bytes] = []
        try:
            sandbox.exec(["sh", "-c", "ls /var/run/docker.sock; cat /proc/mounts"], env=sandbox.base_env,
                         cwd="/", on_output=output.append, cancellation=Cancellation())  # fmt: skip
        finally:
            sandbox.close()
        said[trust] = b"".join(output).decode()
        noted = any("not for a fork's job: --container-daemon-socket" in note for note in sandbox.notes)
        assert noted == (trust == FORK)
    assert "/docker.sock\n" in said["trusted"]
    assert "docker.sock" not in said[FORK].replace("ls: cannot access '/var/run/docker.sock'", "")
    assert " /kept " in said[FORK]


class _Asked:
    """An engine's transport that notes the headers it is given."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}

    def stream(self, *_: object, headers: dict[str, str], **__: object) -> Any:
        self.headers = headers
        raise RuntimeError("enough was seen")


@pytest.mark.parametrize("anonymous", [False, True])
def test_attack_9_a_forks_images_are_not_fetched_with_the_users_login(
    tmp_path: Path, anonymous: bool
) -> None:
    login = base64.b64encode(b"ada:canary-password").decode()
    settings = {"auths": {"registry.example.com": {"auth": login}}}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    transport = _Asked()
    images = Images(transport, {"DOCKER_CONFIG": str(tmp_path)})  # type: ignore[arg-type]
    quiet: Sequence[str] = []
    with pytest.raises(RuntimeError):
        images.pull("registry.example.com/private:1", say=list(quiet).append, cancellation=Cancellation(),
                    anonymous=anonymous)  # fmt: skip
    assert ("X-Registry-Auth" in transport.headers) is not anonymous
    with pytest.raises(RuntimeError):
        images.build([], say=list(quiet).append, cancellation=Cancellation(), anonymous=anonymous)
    sent = base64.urlsafe_b64decode(transport.headers["X-Registry-Config"]).decode()
    assert ("canary-password" in sent) is not anonymous


@pytest.mark.parametrize("mode", ["off"] if isolation.probe().missing else ["off", "strict"])
def test_attack_14_tools_that_a_fork_leaves_are_not_run_by_others(tmp_path: Path, mode: str) -> None:
    tree = make_repository(tmp_path / "repository")
    script = 'ls "$T"; touch "$T/poisoned"'
    seen = []
    for number, trust in enumerate((FORK, "trusted", FORK)):
        spec = spec_of(tmp_path, trust, tree=tree, mode=mode, attempt=number + 1)
        sandbox = host(tmp_path).open(spec, cancellation=Cancellation())
        output: list[bytes] = []
        try:
            sandbox.exec(["bash", "-c", script], env={**sandbox.base_env, "T": sandbox.tool_cache},
                         cwd=sandbox.workspace, on_output=output.append,
                         cancellation=Cancellation())  # fmt: skip
        finally:
            sandbox.close()
        seen.append(b"".join(output).decode())
    assert seen == ["", "", "poisoned\n"]


@pytest.mark.skipif(bool(isolation.probe().missing), reason="this machine isolates no jobs")
@pytest.mark.parametrize("base", ["/tmp", "~"])
def test_attack_9_a_forks_job_sees_nothing_of_the_state_folder(base: str) -> None:
    with tempfile.TemporaryDirectory(dir=Path(base).expanduser()) as place:
        folder = Path(place)
        tree = make_repository(folder / "repository")
        state = folder / "repository" / ".akashic"
        (state / "supervisor").mkdir(parents=True)
        (state / "journal.db").write_text("the record")
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        server.bind(str(state / "supervisor" / "socket"))
        server.listen()
        executor = HostExecutor(
            state_dir=str(state), cache_dir=str(folder / "cache"), tool_cache=str(folder / "tools"),
            environ={**os.environ, "HOME": str(folder)},
        )  # fmt: skip
        said = {}
        for trust in ("trusted", FORK):
            shared = () if trust == FORK else (str(state),)
            spec = spec_of(folder, trust, tree=tree, mode="strict", job_key=trust, shared_paths=shared)
            sandbox = executor.open(spec, cancellation=Cancellation())
            output: list[bytes] = []
            script = (
                f"cat {state}/journal.db; ls -A {state} {state}/work; touch {state}/new && echo written;"
                f"python3 -c 'import socket; socket.socket(1).connect(\"{state}/supervisor/socket\"); "
                "print(\"connected\")'; cat app.txt; echo x > app.txt && echo changed"
            )  # fmt: skip
            try:
                sandbox.materialise(tree, sandbox.workspace, clean=True)
                sandbox.exec(["bash", "-c", script], env=sandbox.base_env, cwd=sandbox.workspace,
                             on_output=output.append, cancellation=Cancellation())  # fmt: skip
            finally:
                sandbox.close()
            said[trust] = b"".join(output).decode()
        server.close()
        # Removing goes on beside the work, and this folder goes with its fixture.
        executor.finish()
    assert "the record" in said["trusted"] and "connected" in said["trusted"], said
    assert "written" in said["trusted"]
    for word in ("the record", "connected", "written", "supervisor\n"):
        assert word not in said[FORK], said[FORK]
    assert "changed" in said[FORK], said[FORK]


@pytest.mark.skipif(bool(isolation.probe().missing), reason="this machine isolates no jobs")
def test_attack_9_a_forks_run_is_a_forks_run_down_to_its_jobs(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "shop", tmp_path / "home")
    look = 'echo "tools=$RUNNER_TOOL_CACHE"; (echo x >> "$AKASHIC_STATE/probe") && echo written'
    cli.workflow(
        steps(f"{look}; test ! -s $AKASHIC_STATE/journal.db && echo hidden", head="on: pull_request")
    )
    cli.commit()
    event = tmp_path / "event.json"
    said = {}
    for name in ("ada/shop", "evil/shop"):
        repo = {"head": {"repo": {"full_name": name}}, "base": {"repo": {"full_name": "ada/shop"}}}
        event.write_text(json.dumps({"pull_request": repo}))
        said[name] = cli("run", "pull_request", "-e", str(event), "--sandbox", "strict").stdout
    assert "-of-forks" not in said["ada/shop"] and "| hidden" not in said["ada/shop"], said
    assert "-of-forks" in said["evil/shop"] and "| hidden" in said["evil/shop"], said
    assert "| written" in said["ada/shop"] and "| written" not in said["evil/shop"], said
