"""Options about containers: act's names, what they ask for, and what wrong ones are told."""

from __future__ import annotations

import argparse
import socket
from pathlib import Path

import pytest

from akashic.cli.command import CommandContext
from akashic.cli.commands.run import configure
from akashic.cli.container_options import container_options_of
from akashic.cli.dispatch import Parser
from akashic.cli.run_options import request_of
from akashic.errors import UsageError
from akashic.executors.container_options import ContainerOptions


def parsed(*argv: str) -> argparse.Namespace:
    parser = Parser(prog="akashic run", allow_abbrev=False)
    configure(parser)
    return parser.parse_args(argv)


def context_in(folder: Path) -> CommandContext:
    environ = {"HOME": str(folder)}
    return CommandContext(
        cwd=folder, environ=environ, color=False, json=False, interactive=False, debug=False
    )


def options(folder: Path, *argv: str) -> ContainerOptions:
    return container_options_of(parsed(*argv), context_in(folder))


def test_nothing_is_asked_for_by_default(tmp_path: Path) -> None:
    assert options(tmp_path) == ContainerOptions()
    assert parsed().executor == "host"


def test_every_option_of_act_about_containers_is_honoured(tmp_path: Path) -> None:
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "engine.sock"))
    found = options(
        tmp_path,
        *("-P", "Ubuntu-Latest=node:20", "--platform", "self-hosted=-self-hosted"),
        *("--container-options", "--cpus 1", "--container-architecture", "linux/arm64"),
        *("--container-cap-add", "SYS_PTRACE", "--container-cap-add", "NET_ADMIN"),
        *("--container-cap-drop", "MKNOD", "--privileged", "--userns", "host", "--rebuild=false"),
        *("--container-daemon-socket", "unix://~/engine.sock"),
    )
    server.close()
    assert found == ContainerOptions(
        images={"ubuntu-latest": "node:20", "self-hosted": "-self-hosted"},
        options="--cpus 1",
        cap_add=("SYS_PTRACE", "NET_ADMIN"),
        cap_drop=("MKNOD",),
        platform="linux/arm64",
        privileged=True,
        userns="host",
        daemon_socket=str(tmp_path / "engine.sock"),
    )


@pytest.mark.parametrize(
    ("argv", "policy"),
    [
        ([], "missing"),
        (["--pull"], "always"),
        (["-p"], "always"),
        (["--pull=true"], "always"),
        (["--pull=false"], "missing"),
        (["--pull-policy", "never"], "never"),
        (["--pull", "--pull-policy=missing"], "missing"),
    ],
)
def test_images_are_pulled_as_asked(tmp_path: Path, argv: list[str], policy: str) -> None:
    assert options(tmp_path, *argv).pull == policy


def test_the_event_after_pull_is_the_event(tmp_path: Path) -> None:
    args = parsed("--executor", "host", "--pull", "pull_request")
    assert (args.event, args.pull) == ("pull_request", "always")
    assert request_of(args, context_in(tmp_path)).executor == "host"


def test_act_s_dash_mounts_no_socket(tmp_path: Path) -> None:
    assert options(tmp_path, "--container-daemon-socket=-").daemon_socket == ""


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["-P", "ubuntu-latest"], "expected LABEL=IMAGE"),
        (["-P", "=node"], "expected LABEL=IMAGE"),
        (["-P", "a="], "expected LABEL=IMAGE"),
        (["--container-architecture", "arm64"], "expected OS/ARCH"),
        (["--container-daemon-socket", "tcp://1.2.3.4:2375"], "expected unix:///path"),
        (["--container-daemon-socket", "/nowhere.sock"], "is no socket"),
    ],
)
def test_a_wrong_value_says_what_was_expected(tmp_path: Path, argv: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options(tmp_path, *argv)


@pytest.mark.parametrize("argv", [["--network", "host"], ["--network=x"], ["--rebuild"]])
def test_what_act_has_and_we_do_without_is_answered(argv: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        parsed(*argv)
    assert caught.value.hint
