"""Control groups: the kernel's, where this machine has them, and where one would be made elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from akashic.executors.host.cgroups import ControlGroup

MIB = 1024 * 1024


def fake(root: Path, *parts: str, controllers: str = "memory pids") -> Path:
    folder = root.joinpath(*parts)
    folder.mkdir(parents=True)
    (folder / "cgroup.subtree_control").write_text(controllers)
    return folder


def real(limits: dict[str, int]) -> ControlGroup:
    group = ControlGroup.make(f"akashic-test-{os.getpid()}", limits)
    if group.limited != set(limits):
        group.close()
        pytest.skip("this user can make no control group on this machine")
    return group


def test_memory_of_all_processes_together_is_limited() -> None:
    group = real({"memory": 64 * MIB})
    script = "import sys; sys.stdin.read(1); bytearray(200 * 1024 * 1024); print('had it')"
    try:
        with subprocess.Popen([sys.executable, "-c", script], stdin=-1, stdout=-1) as process:
            group.add(process.pid)
            output, _ = process.communicate(b"x", timeout=60)
        assert process.returncode == -9 and b"had it" not in output
        assert group.kills() >= 1
    finally:
        group.close()


FORKS = """
import os, signal, sys
sys.stdin.read(1)
children = []
try:
    for _ in range(40):
        child = os.fork()
        if not child:
            signal.pause()
        children.append(child)
except BlockingIOError:
    pass
for child in children:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
print(len(children))
"""


def test_the_number_of_processes_is_limited_and_the_group_goes() -> None:
    group = real({"pids": 8})
    try:
        with subprocess.Popen([sys.executable, "-c", FORKS], stdin=-1, stdout=-1) as process:
            group.add(process.pid)
            output, _ = process.communicate(b"x", timeout=60)
        assert int(output) == 7, "itself is the eighth"
    finally:
        group.close()
    again = ControlGroup.make(f"akashic-test-{os.getpid()}", {"pids": 8})
    again.close()


def test_version_2_asks_the_nearest_ancestor_that_hands_the_controllers_down(tmp_path: Path) -> None:
    user = fake(tmp_path, "user.slice")
    fake(tmp_path, "user.slice", "app.slice", controllers="")
    (tmp_path / "user.slice/app.slice/shell.scope").mkdir()
    own = tmp_path / "own"
    own.write_text("0::/user.slice/app.slice/shell.scope\n")
    target = user / "job"
    target.mkdir()
    for name in ("memory.max", "pids.max", "memory.swap.max", "cgroup.procs"):
        (target / name).touch()
    group = ControlGroup.make("job", {"memory": 5, "pids": 7}, root=str(tmp_path), own=str(own))
    group.add(42)
    assert group.limited == {"memory", "pids"}
    assert (target / "memory.max").read_text() == "5" and (target / "pids.max").read_text() == "7"
    assert (target / "memory.swap.max").read_text() == "0" and (target / "cgroup.procs").read_text() == "42"
    (target / "memory.events").write_text("low 0\noom_kill 3\n")
    assert group.kills() == 3


def test_where_nothing_is_handed_down_there_is_no_group(tmp_path: Path) -> None:
    fake(tmp_path, "a", controllers="cpu")
    own = tmp_path / "own"
    own.write_text("0::/a/b\nnot a line\n")
    group = ControlGroup.make("job", {"memory": 5}, root=str(tmp_path), own=str(own))
    assert group.limited == set() and not (tmp_path / "a" / "job").exists()
    group.close()
    assert ControlGroup.make("job", {"pids": 5}, root="/nowhere", own="/nowhere").limited == set()
