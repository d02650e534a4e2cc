"""Native services: images, options, ports, and real servers."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.cancellation import Cancellation
from akashic.executors.host.executor import HostExecutor
from akashic.executors.protocol import ExecutorError, SandboxSpec, ServiceFailed, ServiceSpec, Unsupported
from akashic.executors.providers.images import major_version, parse_image
from akashic.executors.providers.options import parse_options
from akashic.executors.providers.ports import PortTaken, ReservedPort, reserve
from akashic.executors.providers.protocol import ServicePlan
from akashic.executors.providers.registry import PROVIDERS, find_provider
from akashic.executors.providers.service import client_environment, start
from akashic.executors.providers.users import as_user, service_user
from tests.executors.contract import make_repository
from tests.executors.test_host import host

needs_postgres = pytest.mark.skipif(bool(PROVIDERS[0].unavailable()), reason=PROVIDERS[0].unavailable())
needs_redis = pytest.mark.skipif(bool(PROVIDERS[1].unavailable()), reason=PROVIDERS[1].unavailable())


@pytest.mark.parametrize(
    ("image", "name", "major"),
    [
        ("postgres", "postgres", ""),
        ("postgres:15", "postgres", "15"),
        ("docker.io/library/postgres:16-alpine", "postgres", "16"),
        ("redis:7.2@sha256:abc", "redis", "7"),
        ("valkey/valkey:8", "valkey/valkey", "8"),
        ("localhost:5000/postgres:1", "localhost:5000/postgres", "1"),
    ],
)
def test_image_names(image: str, name: str, major: str) -> None:
    parsed = parse_image(image)
    assert (parsed.name, major_version(parsed.tag)) == (name, major)


def test_an_unknown_image_names_who_can() -> None:
    with pytest.raises(Unsupported) as caught:
        find_provider("mysql:8")
    assert "mysql:8" in caught.value.message and "docker, kubernetes" in caught.value.hint


def test_health_options_mean_what_docker_means() -> None:
    options = parse_options(
        "db",
        '--health-cmd "pg_isready -q" --health-interval=1m30s --health-timeout 500ms'
        " --health-retries 5 -e A=b=c",
    )
    assert options.health is not None
    assert options.health.argv == ("/bin/sh", "-c", "pg_isready -q")
    assert (options.health.interval_s, options.health.timeout_s, options.health.retries) == (90.0, 0.5, 5)
    assert options.env == {"A": "b=c"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--privileged", "cannot honour '--privileged'"),
        ("--health-interval soon", "expected a duration"),
        ("--health-retries x", "expected a number"),
        ("--health-cmd", "needs a value"),
        ('--health-cmd "open', "No closing quotation"),
    ],
)
def test_an_option_that_cannot_be_honoured_is_named(text: str, expected: str) -> None:
    with pytest.raises(ExecutorError, match=r"services\.db\.options") as caught:
        parse_options("db", text)
    assert expected in caught.value.message


@given(st.text(max_size=60))
def test_any_text_is_options_or_an_error_of_ours(text: str) -> None:
    try:
        parse_options("db", text)
    except ExecutorError as error:
        assert error.message.startswith("services.db.options")


def test_a_reserved_port_is_nobody_else_s_and_a_server_s() -> None:
    with ReservedPort() as port:
        with pytest.raises(PortTaken):
            ReservedPort(port.number)
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(("127.0.0.1", port.number))
            server.listen()
            with pytest.raises(PortTaken) as caught:
                ReservedPort(port.number)
            assert f"(process {os.getpid()})" in caught.value.message


def test_a_taken_port_moves_with_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        port, note = reserve(taken)
        assert port.number != taken and f"port {taken} is taken by" in note
        port.release()


def open_with(executor: HostExecutor, folder: Path, mode: str, *services: ServiceSpec):  # type: ignore[no-untyped-def]
    tree = make_repository(folder / "repository")
    spec = SandboxSpec(
        run_id="r",
        job_key="j",
        attempt=1,
        repository="a/b",
        tree=tree,
        services=services,
        mode=mode,  # type: ignore[arg-type]
    )
    return executor.open(spec, cancellation=Cancellation())


@needs_postgres
@pytest.mark.parametrize("mode", ["auto", "off"])
def test_postgres_serves_a_job_and_goes_with_it(tmp_path: Path, mode: str) -> None:
    service = ServiceSpec(
        name="db",
        image="postgres:15",
        env={"POSTGRES_USER": "app", "POSTGRES_PASSWORD": "it's a \\ secret", "POSTGRES_DB": "data"},
        ports=("5432",),
        options="--health-cmd pg_isready --health-interval 10s --health-timeout 5s --health-retries 5",
    )
    sandbox = open_with(host(tmp_path), tmp_path, mode, service)
    tools = PROVIDERS[0].command(ServicePlan(name="x", image="postgres", data_dir="/x", port=1)).tools_dir
    port = sandbox.services["db"].ports["5432"]

    def query(password: str) -> tuple[int, bytes]:
        chunks: list[bytes] = []
        status = sandbox.exec(
            [
                f"{tools}/psql",
                "-h",
                "localhost",
                "-p",
                port,
                "-U",
                "app",
                "-Atc",
                "select current_user",
                "data",
            ],
            env={**sandbox.base_env, "PGPASSWORD": password},
            cwd=sandbox.workspace,
            on_output=chunks.append,
            cancellation=Cancellation(),
        )
        return status.code, b"".join(chunks)

    assert query("it's a \\ secret") == (0, b"app\n")
    assert query("wrong")[0] == 2
    assert any("postgres:15 was asked for" in note for note in sandbox.notes)
    assert b"ready to accept connections" in sandbox.service_logs("db")
    sandbox.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(port)), timeout=1)


@needs_redis
def test_redis_honours_its_command_and_the_health_check_finds_it(tmp_path: Path) -> None:
    service = ServiceSpec(
        name="cache",
        image="redis:7",
        ports=("6379",),
        command="redis-server --requirepass secret",
        options='--health-cmd "redis-cli ping | grep PONG" --health-interval 10s',
    )
    sandbox = open_with(host(tmp_path), tmp_path, "auto", service)
    with socket.create_connection(("127.0.0.1", int(sandbox.services["cache"].ports["6379"]))) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(100).startswith(b"-NOAUTH")
    sandbox.close()


@needs_redis
def test_a_service_that_is_never_healthy_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    service = ServiceSpec(
        name="cache",
        image="redis",
        options='--health-cmd "echo sick; false" --health-interval 100ms --health-timeout 100ms'
        " --health-retries 2",
    )
    executor = host(tmp_path)
    with pytest.raises(ServiceFailed, match="the check said: sick"):
        open_with(executor, tmp_path, "auto", service)
    executor.finish()
    assert list(Path(executor._work).iterdir()) == []


@needs_redis
def test_a_service_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    service = ServiceSpec(name="cache", image="redis", command="redis-server --no-such-option 1")
    with pytest.raises(ServiceFailed, match="ended with exit code 1"):
        open_with(host(tmp_path), tmp_path, "auto", service)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"volumes": ("/a:/b",)}, "services.db.volumes"),
        ({"entrypoint": "sh"}, "services.db.entrypoint"),
        ({"ports": ("80:81",)}, "listens on 6379, not on 81"),
        ({"ports": ("53/udp",)}, "services.db.ports: '53/udp'"),
        ({"command": "sh -c true"}, "cannot honour the command"),
    ],
)
@needs_redis
def test_what_a_native_server_cannot_do_is_refused(
    tmp_path: Path, change: dict[str, object], expected: str
) -> None:
    service = ServiceSpec(name="db", image="redis", **change)  # type: ignore[arg-type]
    with pytest.raises(ExecutorError) as caught:
        open_with(host(tmp_path), tmp_path, "off", service)
    assert expected in caught.value.message


@needs_postgres
def test_a_durable_database_keeps_its_data(tmp_path: Path) -> None:
    provider = PROVIDERS[0]
    for attempt in range(2):
        with ReservedPort() as port:
            plan = ServicePlan(
                name="production",
                image="postgres",
                data_dir=str(tmp_path / "data"),
                port=port.number,
                env={"POSTGRES_PASSWORD": "pw"},
                durable=True,
                user=service_user("postgres"),
            )
            service = start(
                provider,
                plan,
                cache_dir=str(tmp_path / "cache"),
                log_path=str(tmp_path / "log"),
                cancellation=Cancellation(),
                port=port,
            )
        sql = "create table t as select 7 as n" if attempt == 0 else "select n from t"
        try:
            outcome = subprocess.run(
                [f"{service.command.tools_dir}/psql", "-Atc", sql],
                env=client_environment(service.command, os.environ),
                capture_output=True,
                text=True,
                check=True,
            )
        finally:
            service.stop()
    assert outcome.stdout == "7\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("durable", [True, False])
def test_a_server_below_a_folder_that_only_root_may_enter_finds_its_own_programmes(
    tmp_path: Path, durable: bool
) -> None:
    folder = tmp_path / "private"
    folder.mkdir(0o700)
    programme = folder / "initdb"
    programme.write_text('#!/bin/sh\nid -u; test -x "$0" && test -r "$0" && echo found\n')
    programme.chmod(0o755)
    argv = as_user([str(programme)], service_user(), [str(programme)], durable=durable)
    found = subprocess.run(argv, capture_output=True, text=True, check=True, cwd="/")
    user = service_user()
    assert user is not None
    assert found.stdout.split() == [str(user.uid), "found"]
