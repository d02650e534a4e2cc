"""What jobs in containers promise beyond the contract: services, other users, actions, and leaving
nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from akashic.cancellation import Cancellation
from akashic.containers.engine import Engine
from akashic.errors import Interrupted
from akashic.executors.container_options import ContainerOptions
from akashic.executors.docker.executor import DockerExecutor
from akashic.executors.docker.labels import RUN
from akashic.executors.docker.sandbox import DockerSandbox
from akashic.executors.protocol import (
    ContainerSpec,
    ExecutorError,
    ExitStatus,
    SandboxSpec,
    ServiceFailed,
    ServiceSpec,
)
from tests.executors.contract import make_repository
from tests.waiting import eventually

pytestmark = pytest.mark.docker
PING = '--health-cmd "redis-cli ping" --health-interval 10s --health-timeout 5s --health-retries 5'


class World:
    """One executor of a test, and what it left on the engine."""

    def __init__(self, folder: Path, engine: Engine, image: str) -> None:
        self.folder = folder
        self.engine = engine
        self.image = image
        self.tree = make_repository(folder / "repository")
        self.run_id = f"test-{os.urandom(6).hex()}"

    def executor(self, environ: Mapping[str, str] = os.environ, **options: object) -> DockerExecutor:
        facts = {"images": {"ubuntu-latest": self.image}, "pull": "never", **options}
        return DockerExecutor(
            state_dir=str(self.folder / "state"),
            cache_dir=str(self.folder / "cache"),
            tool_cache=str(self.folder / "tools"),
            environ=environ,
            options=ContainerOptions(**facts),  # type: ignore[arg-type]
        )

    def spec(self, **changes: object) -> SandboxSpec:
        facts = {
            "run_id": self.run_id,
            "job_key": "build",
            "attempt": 1,
            "repository": "ada/demo",
            "labels": ("ubuntu-latest",),
            "tree": self.tree,
        }
        return SandboxSpec(**{**facts, **changes})  # type: ignore[arg-type]

    def open(self, executor: DockerExecutor | None = None, **changes: object) -> DockerSandbox:
        return (executor or self.executor()).open(self.spec(**changes), cancellation=Cancellation())

    def left(self) -> list[str]:
        """Containers, networks and volumes of this test's run."""
        label = f"{RUN}={self.run_id}"
        found = [container.id for container in self.engine.containers.list(labels=(label,))]
        found += [network.name for network in self.engine.networks.list(labels=(label,))]
        return found + [volume.name for volume in self.engine.volumes.list(labels=(label,))]


@pytest.fixture
def world(tmp_path: Path, engine: Engine, base_image: str) -> Iterator[World]:
    found = World(tmp_path, engine, base_image)
    yield found
    assert eventually(lambda: not found.left()), found.left()
    assert not list((tmp_path / "state").glob("containers/work/*"))


def run(sandbox: DockerSandbox, script: str) -> tuple[ExitStatus, str]:
    chunks: list[bytes] = []
    status = sandbox.exec(
        ["bash", "-c", script],
        env=sandbox.base_env,
        cwd=sandbox.workspace,
        on_output=chunks.append,
        cancellation=Cancellation(),
    )
    return status, b"".join(chunks).decode()


def test_a_job_has_the_folders_of_github_s_runner(world: World) -> None:
    sandbox = world.open()
    try:
        assert (sandbox.workspace, sandbox.temp) == ("/__w/demo/demo", "/__w/_temp")
        assert (sandbox.tool_cache, sandbox.home) == ("/__t", "/github/home")
        _, said = run(sandbox, "pwd; echo $HOME; touch /__t/kept; ls -d /__w/_actions /github/workflow")
        assert said.split() == ["/__w/demo/demo", "/github/home", "/__w/_actions", "/github/workflow"]
        assert (world.folder / "tools" / "kept").exists()
        assert sandbox.image_path("/__w/demo/demo/a") == "/github/workspace/a"
        assert sandbox.image_path("/__w/_temp/_runner_file_commands/x") == "/github/file_commands/x"
    finally:
        sandbox.close()


def test_services_are_on_localhost_for_a_job_without_a_container(world: World, redis_image: str) -> None:
    services = (
        ServiceSpec(name="cache", image=redis_image, ports=("6379:6379",), options=PING),
        ServiceSpec(name="other", image=redis_image, ports=("6380:6379", "6379"), options=PING),
    )
    sandbox = world.open(world.executor(images={"ubuntu-latest": redis_image}), services=services)
    try:
        assert sandbox.services["cache"].ports == {"6379": "6379"}
        status, said = run(
            sandbox,
            "redis-cli -h localhost set place first; redis-cli -h cache get place; "
            "redis-cli -p 6380 set place second; redis-cli -h other get place; redis-cli get place",
        )
        assert (status.code, said.split()) == (0, ["OK", "first", "OK", "second", "first"])
        assert b"Ready to accept connections" in sandbox.service_logs("cache")
    finally:
        sandbox.close()


def test_services_are_called_by_name_from_a_job_with_a_container(world: World, redis_image: str) -> None:
    service = ServiceSpec(
        name="cache", image=redis_image, ports=("6379",), options=f"{PING} --network-alias alias"
    )
    sandbox = world.open(
        container=ContainerSpec(image=redis_image, env={"WORD": "said"}), services=(service,)
    )
    try:
        status, said = run(sandbox, 'redis-cli -h cache ping; redis-cli -h alias echo "$WORD"')
        assert (status.code, said.split()) == (0, ["PONG", "said"])
        assert sandbox.container["network"] == sandbox.services["cache"].network
        assert int(sandbox.services["cache"].ports["6379"]) > 1024
        assert world.engine.containers.inspect(sandbox.container["id"]).running
    finally:
        sandbox.close()


def test_a_database_takes_its_settings_from_the_environment(world: World, postgres_image: str) -> None:
    service = ServiceSpec(
        name="db",
        image=postgres_image,
        env={"POSTGRES_PASSWORD": "s3cret", "POSTGRES_DB": "shop", "POSTGRES_USER": "ada"},
        ports=("5433:5432",),
        options='--health-cmd "pg_isready -h localhost -d shop" --health-interval 1s --health-retries 60',
    )
    sandbox = world.open(world.executor(images={"ubuntu-latest": postgres_image}), services=(service,))
    try:
        script = "PGPASSWORD=s3cret psql -h localhost -p 5433 -U ada shop -Atc 'select current_database()'"
        assert run(sandbox, script) == (ExitStatus(code=0), "shop\n")
    finally:
        sandbox.close()


def test_a_service_that_ends_shows_its_log(world: World, postgres_image: str) -> None:
    with pytest.raises(ServiceFailed, match=r"(?s)service db .*exit code 1.*superuser password"):
        world.open(
            services=(ServiceSpec(name="db", image=postgres_image, options="--health-cmd pg_isready"),)
        )


def test_a_service_that_ends_and_has_no_check_ends_no_job(world: World, redis_image: str) -> None:
    # It has ended for sure when the slower one is well.
    once = ServiceSpec(name="once", image=redis_image, command="sh -c 'echo seeded; exit 3'")
    slow = ServiceSpec(
        name="slow",
        image=redis_image,
        command="sh -c 'sleep 1; touch /well; sleep 99'",
        options='--health-cmd "test -e /well" --health-retries 30',
    )
    sandbox = world.open(services=(slow, once))
    try:
        assert run(sandbox, "echo hi")[1] == "hi\n"
        (note,) = sandbox.services["once"].notes
        assert "service once" in note and "exit code 3" in note and note.endswith("seeded")
    finally:
        sandbox.close()


def test_a_service_that_is_never_healthy_shows_its_log(world: World, redis_image: str) -> None:
    options = (
        '--health-cmd "echo not yet; exit 1" --health-interval 100ms --health-timeout 1s --health-retries 1'
    )
    with pytest.raises(ServiceFailed, match=r"(?s)did not become healthy.*not yet.*Ready to accept"):
        world.open(services=(ServiceSpec(name="cache", image=redis_image, options=options),))


def test_a_missing_image_is_named_with_what_to_do(world: World) -> None:
    with pytest.raises(ExecutorError) as caught:
        world.open(container=ContainerSpec(image="no/such-image:1"))
    assert "no/such-image:1" in caught.value.message and "--pull-policy missing" in caught.value.hint


def test_a_label_without_an_image_says_how_to_name_one(world: World) -> None:
    with pytest.raises(ExecutorError) as caught:
        world.open(labels=("windows-latest",))
    assert "-P windows-latest=" in caught.value.hint


@pytest.mark.parametrize("user", ["1001", "nobody"])
def test_a_job_of_another_user_writes_what_it_must(world: World, user: str) -> None:
    sandbox = world.open(container=ContainerSpec(image=world.image, options=f"--user {user}"))
    try:
        sandbox.materialise(world.tree, sandbox.workspace, clean=True)
        sandbox.write(f"{sandbox.temp}/script", b"#!/bin/sh\nid -u\n", executable=True)
        Path(sandbox.host_path(f"{sandbox.temp}/made-here")).write_text("")
        status, said = run(
            sandbox,
            "/__w/_temp/script; touch /__t/tool; echo more >> greeting.txt; echo x > $HOME/x; "
            "echo y > /__w/_temp/made-here; "
            "mkdir -p a/b; git status -s",
        )
        assert status.code == 0 and said.splitlines()[1:] == [" M greeting.txt"], said
        assert said.split()[0] != "0"
    finally:
        sandbox.close()


def test_limits_hold(world: World) -> None:
    options = "--memory 64m --pids-limit 30 --cpus 0.5"
    sandbox = world.open(container=ContainerSpec(image=world.image, options=options))
    try:
        status, _ = run(sandbox, "python3 -c 'x = bytearray(400 << 20)'")
        assert status.code in (1, 137)
        many = "import subprocess; [subprocess.Popen(['sleep', '60']) for _ in range(60)]"
        status, said = run(sandbox, f'python3 -c "{many}" 2>&1')
        assert status.code == 1 and "Resource temporarily unavailable" in said
    finally:
        sandbox.close()


def test_volumes_are_the_job_s_own_and_shared_with_its_services(world: World, redis_image: str) -> None:
    service = ServiceSpec(
        name="cache",
        image=redis_image,
        volumes=("shared:/there",),
        command="sh -c 'echo hi > /there/x; sleep 99'",
    )
    sandbox = world.open(
        container=ContainerSpec(image=world.image, volumes=("shared:/here", f"{world.folder}:/host:ro")),
        services=(service,),
    )
    try:
        assert run(sandbox, "until [ -s /here/x ]; do sleep 0.01; done; cat /here/x")[1] == "hi\n"
        assert run(sandbox, "ls -d /host/repository; touch /host/x || echo refused")[1].endswith("refused\n")
    finally:
        sandbox.close()


def test_an_action_s_image_is_built_once_and_run_in_the_workspace(world: World) -> None:
    context = world.folder / "action"
    context.mkdir()
    (context / "Dockerfile").write_text(f'FROM {world.image}\nCOPY run /run.sh\nENTRYPOINT ["/run.sh"]\n')
    (context / "run").write_text('#!/bin/bash\necho "$1 $WORD"; pwd; echo made > made; exit 3\n')
    (context / "run").chmod(0o755)
    sandbox = world.open()
    try:
        said: list[bytes] = []
        names = [
            sandbox.build_image(
                str(context), "Dockerfile", on_output=said.append, cancellation=Cancellation()
            )
            for _ in range(2)
        ]
        assert names[0] == names[1] and b"built before" in said[-1]
        out: list[bytes] = []
        status = sandbox.run_image(
            names[0],
            entrypoint=None,
            args=["a 'b'"],
            env={"WORD": "$HOME`x`"},
            on_output=out.append,
            cancellation=Cancellation(),
        )
        assert status.code == 3
        assert b"".join(out).decode() == "a 'b' $HOME`x`\n/github/workspace\n"
        assert run(sandbox, "cat made")[1] == "made\n"
    finally:
        sandbox.close()
        world.engine.images.remove(names[0], force=True)


def test_a_dockerfile_that_fails_shows_its_end(world: World) -> None:
    (world.folder / "Dockerfile").write_text(f"FROM {world.image}\nRUN echo before; exit 7\n")
    sandbox = world.open()
    try:
        with pytest.raises(ExecutorError, match=r"(?s)returned a non-zero code: 7.*before"):
            sandbox.build_image(
                str(world.folder), "Dockerfile", on_output=lambda _: None, cancellation=Cancellation()
            )
    finally:
        sandbox.close()


def test_cancelling_an_action_lets_it_tidy(world: World) -> None:
    sandbox = world.open()
    cancellation, out = Cancellation(), []

    def answer(chunk: bytes) -> None:
        out.append(chunk)
        if b"ready" in chunk:
            cancellation.cancel(source="user", reason="Ctrl-C")

    try:
        status = sandbox.run_image(
            world.image,
            entrypoint="bash",
            args=["-c", "trap 'echo tidy; exit 5' INT; echo ready; while :; do sleep 0.02; done"],
            env={},
            on_output=answer,
            cancellation=cancellation,
        )
        assert status == ExitStatus(code=5, cancelled=True)
        assert b"".join(out) == b"ready\ntidy\n"
    finally:
        sandbox.close()


def test_a_container_that_is_killed_is_the_place_s_fault(world: World) -> None:
    sandbox = world.open(container=ContainerSpec(image=world.image))

    def kill(chunk: bytes) -> None:
        world.engine.containers.kill(sandbox.container["id"])

    try:
        with pytest.raises(ExecutorError, match=r"container .* is gone"):
            sandbox.exec(
                ["bash", "-c", "echo ready; sleep 60"],
                env=sandbox.base_env,
                cwd=sandbox.workspace,
                on_output=kill,
                cancellation=Cancellation(),
            )
    finally:
        sandbox.close()


_KILLED = """
import os, signal, sys
from akashic.cancellation import Cancellation
from akashic.executors.container_options import ContainerOptions
from akashic.executors.docker.executor import DockerExecutor
from akashic.executors.protocol import ContainerSpec, SandboxSpec, ServiceSpec, Tree
folder, run_id, root, commit, image, redis = sys.argv[1:]
executor = DockerExecutor(
    state_dir=f"{folder}/state", cache_dir=f"{folder}/cache", tool_cache=f"{folder}/tools",
    environ=os.environ,
    options=ContainerOptions(pull="never"),
)
spec = SandboxSpec(
    run_id=run_id, job_key="build", attempt=1, repository="ada/demo",
    tree=Tree(root=root, commit=commit),
    container=ContainerSpec(image=image, volumes=("kept:/kept",)),
    services=(ServiceSpec(name="cache", image=redis),),
)
sandbox = executor.open(spec, cancellation=Cancellation())
sandbox.materialise(spec.tree, sandbox.workspace, clean=True)
sandbox.exec(["bash", "-c", "echo ready; sleep 600"], env=sandbox.base_env, cwd="/",
    on_output=lambda chunk: os.kill(os.getpid(), signal.SIGKILL), cancellation=Cancellation())
"""


def test_a_killed_runner_leaves_nothing_after_the_next_sweep(world: World, redis_image: str) -> None:
    words = [str(world.folder), world.run_id, world.tree.root, world.tree.commit, world.image, redis_image]
    done = subprocess.run([sys.executable, "-c", _KILLED, *words], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert world.left()
    removed = world.executor().sweep()
    assert any("container" in line for line in removed) and any("network" in line for line in removed)
    assert any("volume" in line for line in removed) and any("sandbox" in line for line in removed)
    assert not world.left()


def test_a_sweep_leaves_what_lives_alone(world: World) -> None:
    sandbox = world.open()
    try:
        world.executor().sweep()
        assert run(sandbox, "echo alive")[1] == "alive\n"
    finally:
        sandbox.close()


def test_a_job_reaches_this_machine_at_the_gateway_of_its_network(world: World) -> None:
    sandbox = world.open(container=ContainerSpec(image=world.image))
    try:
        with socket.create_server((sandbox.host_address(), 0)) as server:
            port = server.getsockname()[1]
            status, _ = run(sandbox, f"exec 3<>/dev/tcp/{sandbox.host_address()}/{port}")
        assert status.code == 0
    finally:
        sandbox.close()


class Proxy:
    """A door to the engine that can be shut, as an engine that dies shuts its own."""

    def __init__(self, path: str, engine: Engine) -> None:
        self.environ = {**os.environ, "DOCKER_HOST": f"unix://{path}"}
        self._target = engine.transport.endpoint.path
        self._path = path
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._target)
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)

    def die(self) -> None:
        for connection in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def proxy(tmp_path: Path, engine: Engine) -> Iterator[Proxy]:
    found = Proxy(str(tmp_path / "engine.sock"), engine)
    yield found
    found.die()


def test_an_engine_that_dies_in_the_middle_ends_an_action_with_words(world: World, proxy: Proxy) -> None:
    sandbox = world.open(world.executor(proxy.environ))
    try:
        with pytest.raises(ExecutorError, match="container engine"):
            sandbox.run_image(
                world.image,
                entrypoint="bash",
                args=["-c", "echo ready; sleep 3"],
                env={},
                on_output=lambda _: proxy.die(),
                cancellation=Cancellation(),
            )
        # Steps need no engine, and go on.
        assert run(sandbox, "echo still here")[1] == "still here\n"
    finally:
        sandbox.close()


def test_an_engine_that_dies_while_a_job_opens_is_said(world: World, proxy: Proxy) -> None:
    executor = world.executor(proxy.environ)
    executor.engine.ping()
    proxy.die()
    with pytest.raises(ExecutorError, match=r"does not run|was lost"):
        executor.open(world.spec(), cancellation=Cancellation())


def test_cancelling_while_a_job_opens_leaves_nothing(world: World, redis_image: str) -> None:
    cancellation = Cancellation()
    never = ServiceSpec(name="cache", image=redis_image, options="--health-cmd false --health-interval 10s")
    threading.Timer(1.0, lambda: cancellation.cancel(source="user", reason="Ctrl-C")).start()
    with pytest.raises(Interrupted, match="Ctrl-C"):
        world.executor().open(world.spec(services=(never,)), cancellation=cancellation)


def test_two_jobs_of_one_name_are_refused(world: World) -> None:
    sandbox = world.open()
    try:
        with pytest.raises(ExecutorError, match="open already"):
            world.open()
    finally:
        sandbox.close()


def test_no_engine_is_said_with_what_to_do(world: World, tmp_path: Path) -> None:
    executor = DockerExecutor(
        state_dir=str(tmp_path / "s"),
        cache_dir=str(tmp_path / "c"),
        tool_cache=str(tmp_path / "t"),
        environ={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"},
        options=ContainerOptions(images={"ubuntu-latest": "debian"}),
    )
    with pytest.raises(ExecutorError) as caught:
        executor.open(world.spec(), cancellation=Cancellation())
    assert "there is no container engine" in caught.value.message and "install" in caught.value.hint
    assert executor.sweep() == []
