"""The warm server as an attacker, or an accident, would use it."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from akashic.cli.warm import client, place, server
from tests.cli.cli_process import Cli, steps, warm_server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the warm server is for Linux")
WORKFLOW = ".github/workflows/ci.yml"


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Cli]:
    cli = Cli(tmp_path / "shop", tmp_path / "home")
    with warm_server(cli):
        yield cli


def server_of(cli: Cli) -> int:
    deadline = time.monotonic() + 20
    while not (found := cli.json("warm")):
        assert time.monotonic() < deadline, "no server was left"
        time.sleep(0.02)
    return int(found[0]["pid"])


def test_a_lock_that_the_first_command_inherited_is_free_when_it_ends(warm: Cli, tmp_path: Path) -> None:
    warm.write(WORKFLOW, steps("true"))
    warm.commit("begin")
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert warm("runs", pass_fds=(lock.fileno(),)).returncode == 0
        server_of(warm)
    with (tmp_path / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_secret_file_of_the_shells_making_is_read_by_who_has_it_open(warm: Cli) -> None:
    warm.write(WORKFLOW, steps('test "${{ secrets.PASSED }}" = from-a-pipe'))
    warm.commit("begin")
    warm("runs")
    server_of(warm)
    for name in ("/dev/fd/", "/proc/self/fd/"):
        reading, writing = os.pipe()
        os.write(writing, b"PASSED=from-a-pipe\n")
        os.close(writing)
        done = warm("run", "--secret-file", f"{name}{reading}", pass_fds=(reading,))
        os.close(reading)
        assert done.returncode == 0, done.stdout + done.stderr


def test_what_one_command_was_given_the_next_does_not_have(warm: Cli) -> None:
    warm.write(WORKFLOW, steps('env; ls -l /proc/self/fd; echo "<${{ secrets.CANARY }}>"'))
    warm.commit("begin")
    warm("runs")
    number = server_of(warm)
    first = warm("run", "-s", "CANARY", "--env", "SHOWN=first", env={"CANARY": "canary-0f-the-first"})
    assert first.returncode == 0 and "<***>" in first.stdout
    second = warm("run")
    assert "<>" in second.stdout and "first" not in second.stdout
    assert server_of(warm) == number
    for name in ("environ", "cmdline"):
        assert b"canary-0f-the-first" not in Path(f"/proc/{number}/{name}").read_bytes()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_root_leaves_no_server_in_the_folder_of_somebody_else(warm: Cli) -> None:
    folder = warm.env["XDG_RUNTIME_DIR"]
    os.chown(folder, 12345, 12345)
    assert server.listen(f"{folder}/akashic-warm/socket") is None
    assert not list(Path(folder).iterdir())
    (Path(folder) / "akashic-warm").mkdir(mode=0o700)
    assert not place.is_private(f"{folder}/akashic-warm"), "its owner can put another in its place"


def test_a_folder_that_everybody_can_write_to_is_no_place(tmp_path: Path) -> None:
    (tmp_path / "akashic-warm").mkdir(mode=0o700)
    for mode, good in ((0o755, True), (0o775, True), (0o777, False), (0o1777, True)):
        tmp_path.chmod(mode)
        assert place.is_private(f"{tmp_path}/akashic-warm") is good


def test_a_link_in_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "akashic-warm").symlink_to("elsewhere")
    assert not place.is_private(f"{tmp_path}/akashic-warm")
    assert server.listen(f"{tmp_path}/akashic-warm/socket") is None
    assert not list((tmp_path / "elsewhere").iterdir())


def test_nothing_that_decides_is_handed_over() -> None:
    for command in (
        "approve",
        "reject",
        "deploy",
        "promote",
        "rollback",
        "secret",
        "up",
        "resume",
        "journal",
    ):
        assert command not in client.COMMANDS
