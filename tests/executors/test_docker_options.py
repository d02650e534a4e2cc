"""Options, ports and volumes of containers, as the engine's API wants them."""

from __future__ import annotations

import pytest

from akashic.executors.docker.create_options import parse_create_options
from akashic.executors.docker.ports import Port, parse_ports, parse_volume, published
from akashic.executors.protocol import ExecutorError


def test_options_become_fields() -> None:
    found = parse_create_options(
        "options",
        "--cpus 1.5 --memory=512m -m1g --pids-limit 5 -u 1000:1000 --hostname box --init --privileged=false "
        "-e A=1 -eB='two words' --label x=y --tmpfs /t:size=1m --ulimit nofile=10:20 --add-host a:1.2.3.4 "
        "--cap-drop ALL --shm-size 64m --rm -v data:/d --network-alias db --mount type=bind,src=/a,dst=/b,ro",
    )
    assert found.host == {
        "NanoCpus": 1_500_000_000,
        "Memory": 1 << 30,
        "PidsLimit": 5,
        "Tmpfs": {"/t": "size=1m"},
        "Ulimits": [{"Name": "nofile", "Soft": 10, "Hard": 20}],
        "ExtraHosts": ["a:1.2.3.4"],
        "CapDrop": ["ALL"],
        "ShmSize": 64 << 20,
    }
    assert found.config == {"User": "1000:1000", "Hostname": "box"}
    assert found.env == {"A": "1", "B": "two words"} and found.labels == {"x": "y"}
    assert found.volumes == ["data:/d"] and found.aliases == ["db"]
    assert found.mounts == [{"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": True}]


def test_a_health_check_is_read() -> None:
    text = '--health-cmd "pg_isready -U x" --health-interval 1m30s --health-timeout 5s --health-retries 7'
    health = parse_create_options("options", text).health
    assert health is not None and health.argv == ("/bin/sh", "-c", "pg_isready -U x")
    assert (health.interval_s, health.timeout_s, health.retries) == (90.0, 5.0, 7)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("--memory lots", "expected a size"),
        ("--cpus x", "expected a number"),
        ("--health-interval 10", "expected a duration"),
        ("--ulimit nofile", "expected a whole number"),
        ("--mount oops", "expected type"),
        ("--memory", "needs a value"),
        ("--what", "unknown option"),
        ("image", "unknown option"),
        ("'open", "quotation"),
        ("--init=x", "takes no value"),
    ],
)
def test_what_is_wrong_is_named(text: str, reason: str) -> None:
    with pytest.raises(ExecutorError, match=reason):
        parse_create_options("options", text)


def test_ports_in_all_their_forms() -> None:
    assert parse_ports("ports", ["80", "8080:80/udp", "127.0.0.2:1-2:3-4", ":90"]) == [
        Port(80, 0, "tcp"),
        Port(80, 8080, "udp"),
        Port(3, 1, "tcp", "127.0.0.2"),
        Port(4, 2, "tcp", "127.0.0.2"),
        Port(90, 0, "tcp"),
    ]


@pytest.mark.parametrize("text", ["", "x", "0", "65536", "1-2:3", "80/icmp", "1:2:3", "5-4"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ExecutorError, match="ports"):
        parse_ports("ports", [text])


def test_ports_are_published_on_loopback_only() -> None:
    assert published([Port(80, 8080, "tcp"), Port(80, 0, "tcp", "0.0.0.0")]) == {
        "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "0.0.0.0", "HostPort": ""}]
    }


def test_volumes_in_all_their_forms() -> None:
    assert parse_volume("v", "data:/d:ro") == {
        "Type": "volume", "Source": "data", "Target": "/d", "ReadOnly": True,
    }  # fmt: skip
    assert parse_volume("v", "/a:/b")["Type"] == "bind"
    assert parse_volume("v", "/only") == {"Type": "volume", "Target": "/only", "ReadOnly": False}


@pytest.mark.parametrize("text", ["", "data", "data:relative", "a:/b:/c", "../x:/y", "a:/b:odd"])
def test_what_is_no_volume_is_refused(text: str) -> None:
    with pytest.raises(ExecutorError, match="volumes"):
        parse_volume("volumes", text)
