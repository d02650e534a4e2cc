"""Nothing that a job leaves reaches the next one, however it is left."""

from __future__ import annotations

import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from akashic.cancellation import Cancellation
from akashic.executors.host import isolation
from akashic.executors.host.executor import HostExecutor
from akashic.executors.host.sandbox import HostSandbox
from akashic.executors.protocol import SandboxSpec
from tests.executors.contract import make_repository

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
for folder in sys.argv[1:]:
    tell(folder)
    for above, folders, files in os.walk(folder):
        folders.sort()
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
    mark = os.path.basename(os.path.dirname(sandbox.workspace))  # noqa: PTH119, PTH120
    return run(sandbox, sys.executable, "-c", LOOK, *folders_of(sandbox), "/dev/shm").replace(mark, "MARK")


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
    assert sorted(os.listdir(jobs.home / ".cache")) == ["tool"]  # noqa: PTH208


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
