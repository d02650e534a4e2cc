"""The folders of sandboxes lie apart on a disk that would be slow otherwise."""

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from akashic.cancellation import Cancellation
from akashic.executors.host.executor import HostExecutor
from akashic.executors.host.spreading import spread
from akashic.executors.protocol import SandboxSpec, Tree


def attributes(folder: Path) -> str:
    """What `lsattr` shows of a folder, "" where its file system has no attributes."""
    if shutil.which("lsattr") is None:
        pytest.skip("there is no lsattr")
    done = subprocess.run(["lsattr", "-d", str(folder)], capture_output=True, text=True, check=False)
    return done.stdout.split(" ")[0].strip("-")


def on_ext4(folder: Path) -> None:
    kind = subprocess.run(["stat", "-fc", "%T", str(folder)], capture_output=True, text=True, check=True)
    if kind.stdout.strip() != "ext2/ext3":
        pytest.skip("this folder is not on ext4")


def test_a_folder_gets_the_attribute_once_and_keeps_the_others(tmp_path: Path) -> None:
    on_ext4(tmp_path)
    subprocess.run(["chattr", "+A", str(tmp_path)], check=True)
    before = set(attributes(tmp_path))
    for _ in range(2):
        spread(str(tmp_path))
        assert set(attributes(tmp_path)) == before | {"T"}
    (tmp_path / "below").mkdir()
    assert "T" not in attributes(tmp_path / "below"), "a job's own folders belong together"


def test_the_folder_of_all_sandboxes_has_it(tmp_path: Path) -> None:
    on_ext4(tmp_path)
    executor = HostExecutor(
        state_dir=str(tmp_path / "state"),
        cache_dir=str(tmp_path / "cache"),
        tool_cache=str(tmp_path / "tools"),
        environ={},
    )
    tree = Tree(root=str(tmp_path), commit="1" * 40)
    spec = SandboxSpec(run_id="r", job_key="build", attempt=1, repository="a/b", tree=tree, mode="off")
    executor.open(spec, cancellation=Cancellation()).close()
    executor.finish()
    assert "T" in attributes(tmp_path / "state" / "work")


def test_where_it_cannot_be_had_nothing_is_said(tmp_path: Path) -> None:
    spread(str(tmp_path / "missing"))
    (tmp_path / "file").write_text("")
    spread(str(tmp_path / "file"))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as in_memory:
        spread(in_memory)
