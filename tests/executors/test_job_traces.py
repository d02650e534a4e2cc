# ruff: noqa: PTH109, PTH115, PTH116, PTH208
"""Nothing that a job leaves reaches the next one, however it is left."""

from __future__ import annotations

import os
import socket
import stat
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from akashic.cancellation import Cancellation
from akashic.executors.host import isolation
from akashic.executors.host.executor import HostExecutor
from akashic.executors.host.sandbox import HostSandbox
from akashic.executors.protocol import SandboxSpec
from tests.executors.contract import alive_with, make_repository

pytestmark = pytest.mark.skipif(bool(isolation.probe().missing), reason="no namespaces on this machine")

HAND_OVER = """
import os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect("\\0" + sys.argv[1])
descriptors = [os.open(path, os.O_RDONLY) for path in sys.argv[2:]]
socket.send_fds(line, [b"x"], descriptors)
"""

LEAVE = r"""
set -u
for folder in "$PWD" "$HOME" "$RUNNER_TEMP" "$HOME/.cache" /tmp /var/tmp /dev/shm; do
    cd "$folder" || exit 1
    echo trace > trace; mkdir -p .trace/below; echo trace > .trace/below/trace
    ln -s /etc/passwd link; mkfifo fifo; ln trace hard
    chmod 1777 .; touch -d 2001-01-01 .
    setfattr -n user.trace -v yes . 2> /dev/null
    chattr +A +d . 2> /dev/null
    true
done
"""

LOOK = """
import array, fcntl, os, stat, sys
def tell(path):
    info = os.lstat(path)
    flags = array.array("i", [0, 0])
    if stat.S_ISDIR(info.st_mode):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, 0x80086601, flags)
        except OSError:
            pass
        os.close(descriptor)
    attributes = os.listxattr(path, follow_symlinks=False)
    print(path, oct(info.st_mode), info.st_uid, info.st_gid, info.st_nlink, attributes, flags[0])
for folder in sys.argv[2:]:
    tell(folder)
    for above, folders, files in os.walk(folder):
        # What is below the folder of the test is shown in the job's /tmp, too.
        folders[:] = sorted(name for name in folders if above + "/" + name != sys.argv[1])
        for name in sorted(folders + files):
            tell(above + "/" + name)
"""


class Jobs:
    """Opens jobs of one repository, one after the other."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.home = home
        (self.home / ".cache" / "tool").mkdir(parents=True)
        (self.home / ".cache" / "tool" / "kept").write_text("kept")
        self.tree = make_repository(folder / "repository")
        self.executor = HostExecutor(
            state_dir=str(folder / "state"),
            cache_dir=str(folder / "services"),
            tool_cache=str(folder / "tools"),
            environ={**os.environ, "HOME": str(self.home)},
        )
        self._count = 0

    def open(self, **changes: object) -> HostSandbox:
        self._count += 1
        facts = {"run_id": f"run-{self._count}", "job_key": "build", "attempt": 1, "repository": "ada/demo"}
        spec = SandboxSpec(tree=self.tree, **{**facts, "mode": "strict", **changes})  # type: ignore[arg-type]
        return self.executor.open(spec, cancellation=Cancellation())

    def close(self, sandbox: HostSandbox) -> None:
        sandbox.close()
        self.executor.finish()


def run(sandbox: HostSandbox, *argv: str) -> str:
    chunks: list[bytes] = []
    status = sandbox.exec(
        argv,
        env={**sandbox.base_env, "RUNNER_TEMP": sandbox.temp},
        cwd=sandbox.workspace,
        on_output=chunks.append,
        cancellation=Cancellation(),
        timeout_s=60,
    )
    text = b"".join(chunks).decode()
    assert status.code == 0, text
    return text


def folders_of(sandbox: HostSandbox) -> list[str]:
    return [sandbox.workspace, sandbox.temp, sandbox.home, f"{sandbox.home}/.cache", "/tmp", "/var/tmp"]


def as_seen(sandbox: HostSandbox) -> str:
    """What a job finds in the folders that it may write to, the same for all jobs that are new."""
    *test, _, _, mark, _ = sandbox.workspace.split("/")
    look = [sys.executable, "-c", LOOK, "/".join(test)]
    return run(sandbox, *look, *folders_of(sandbox), "/dev/shm").replace(mark, "MARK")


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    # What lies below /tmp is hidden from jobs, and a user's caches do not.
    with tempfile.TemporaryDirectory(dir=Path.home(), prefix=".akashic-test-") as home:
        yield Jobs(tmp_path, Path(home))


@pytest.fixture
def outside() -> Iterator[socket.socket]:
    """A process of this machine that jobs can talk to: they share its network, and with it the names of
    sockets that are no files."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"\0akashic-test-{os.getpid()}")
        listener.listen()
        yield listener


def test_the_next_job_finds_what_the_first_one_found(jobs: Jobs) -> None:
    first = jobs.open()
    found = as_seen(first)
    run(first, "bash", "-c", LEAVE)
    assert as_seen(first) != found
    jobs.close(first)
    second = jobs.open()
    assert as_seen(second) == found
    assert run(second, "cat", f"{second.home}/.cache/tool/kept") == "kept"
    jobs.close(second)
    assert (jobs.home / ".cache" / "tool" / "kept").read_text() == "kept"
    assert sorted(os.listdir(jobs.home / ".cache")) == ["tool"]


def test_who_still_holds_a_folder_of_an_ended_job_reaches_no_later_one(
    jobs: Jobs, outside: socket.socket
) -> None:
    # As a container that a job started and left, or an agent of the user's that it talked to.
    first = jobs.open()
    folders = folders_of(first)
    run(first, sys.executable, "-c", HAND_OVER, f"akashic-test-{os.getpid()}", *folders)
    line, _ = outside.accept()
    with line:
        _, held, _, _ = socket.recv_fds(line, 1, len(folders))
    assert len(held) == len(folders)
    jobs.close(first)
    second = jobs.open()
    found = as_seen(second)
    for descriptor in held:
        try:
            os.close(os.open("trace", os.O_CREAT | os.O_WRONLY, 0o666, dir_fd=descriptor))
        except OSError:
            continue
        finally:
            os.close(descriptor)
    assert as_seen(second) == found
    jobs.close(second)


@pytest.mark.parametrize("trust", ["trusted", "fork"])
def test_no_folder_of_a_closed_job_stays(jobs: Jobs, trust: str) -> None:
    sandbox = jobs.open(trust=trust)
    run(sandbox, "bash", "-c", LEAVE)
    jobs.close(sandbox)
    state = jobs.folder / "state"
    assert sorted(path.name for path in state.iterdir()) == ["work"]
    assert list((state / "work").iterdir()) == []


def mounts_below(folder: Path) -> list[str]:
    """What is mounted below a folder in the calling thread's view."""
    lines = Path("/proc/thread-self/mountinfo").read_text().splitlines()
    return [line.split()[4] for line in lines if line.split()[4].startswith(f"{folder}/")]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_a_thread_with_several_jobs_is_back_when_the_last_one_is_closed(
    jobs: Jobs, order: tuple[int, ...]
) -> None:
    before = os.readlink("/proc/thread-self/ns/mnt"), os.getcwd()
    opened = [jobs.open() for _ in order]
    for number in order:
        jobs.close(opened[number])
        # In this view or out of it: no mount of a closed job keeps its folder from going.
        assert not Path(opened[number].home).parent.exists()
    assert (os.readlink("/proc/thread-self/ns/mnt"), os.getcwd()) == before
    assert mounts_below(jobs.folder) == []


def test_a_job_that_another_thread_closes_leaves_nothing_either(jobs: Jobs) -> None:
    opened: list[HostSandbox] = []
    go, ended = threading.Event(), threading.Event()

    def own() -> None:
        opened.append(jobs.open())
        go.set()
        ended.wait(20)

    thread = threading.Thread(target=own)
    thread.start()
    assert go.wait(20)
    run(opened[0], "bash", "-c", LEAVE)
    jobs.close(opened[0])
    ended.set()
    thread.join()
    assert list((jobs.folder / "state" / "work").iterdir()) == []
    assert mounts_below(jobs.folder) == []


@pytest.mark.parametrize("mode", ["strict", "off"])
def test_a_process_that_cuts_itself_off_is_dead_before_the_next_job(jobs: Jobs, mode: str) -> None:
    first = jobs.open(mode=mode)
    word = f"akashic-test-{os.getpid()}-{mode}"
    linger = (
        f"(setsid env -i bash -c 'while :; do echo trace >> {first.home}/trace; sleep 0.01; done' {word} &)"
    )
    run(first, "bash", "-c", linger)
    jobs.close(first)
    assert alive_with(word) == []
    assert not Path(first.home).exists()
    second = jobs.open(mode=mode)
    assert os.listdir(second.home) in ([], [".cache"])
    jobs.close(second)


def test_the_secrets_of_the_user_s_home_are_hidden_whatever_they_are(jobs: Jobs) -> None:
    (jobs.home / ".ssh").mkdir()
    (jobs.home / ".ssh" / "id").write_text("key")
    (jobs.home / "elsewhere").mkdir()
    (jobs.home / "elsewhere" / "credentials").write_text("key")
    (jobs.home / ".aws").symlink_to("elsewhere")
    (jobs.home / ".netrc").write_text("key")
    (jobs.home / "config.npm").write_text("key")
    (jobs.home / ".npmrc").symlink_to("config.npm")
    (jobs.home / ".docker").symlink_to("/nowhere")
    os.mkfifo(jobs.home / ".vault-token")
    sandbox = jobs.open()
    script = (
        f"cd {jobs.home}; cat .netrc .npmrc config.npm; ls .ssh .aws elsewhere; touch .ssh/new .aws/new; true"
    )
    said = run(sandbox, "bash", "-c", script)
    assert "key" not in said and "id" not in said.split() and "credentials" not in said
    jobs.close(sandbox)
    assert os.listdir(jobs.home / ".ssh") == ["id"], "what a job writes there is its own"
    assert (jobs.home / ".ssh" / "id").read_text() == "key"
    assert os.listdir(jobs.home / "elsewhere") == ["credentials"]


def test_each_job_has_the_modes_that_this_process_gives(jobs: Jobs) -> None:
    before = os.umask(0o077)
    try:
        private = jobs.open()
        modes = [stat.S_IMODE(os.stat(path).st_mode) for path in folders_of(private)[:3]]
        jobs.close(private)
        os.umask(0o022)
        shared = jobs.open()
        assert modes == [0o700] * 3
        assert [stat.S_IMODE(os.stat(path).st_mode) for path in folders_of(shared)[:3]] == [0o755] * 3
        jobs.close(shared)
    finally:
        os.umask(before)
