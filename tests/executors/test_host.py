# ruff: noqa: PTH109, PTH115, PTH208
"""The contract on the host, with isolation and without, and what only the host promises."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from akashic.cancellation import Cancellation
from akashic.executors.host import isolation
from akashic.executors.host.executor import HostExecutor
from akashic.executors.protocol import ExecutorError, SandboxSpec, Tree
from tests.executors.contract import ExecutorContract, alive_with, git, make_repository
from tests.waiting import eventually

needs_isolation = pytest.mark.skipif(bool(isolation.probe().missing), reason="no namespaces on this machine")


def host(folder: Path) -> HostExecutor:
    return HostExecutor(
        state_dir=str(folder / "state"),
        cache_dir=str(folder / "cache"),
        tool_cache=str(folder / "tools"),
        environ=os.environ,
    )


class OnHost(ExecutorContract):
    @pytest.fixture
    def executor(self, tmp_path: Path) -> HostExecutor:
        return host(tmp_path)

    def test_the_uncommitted_tree_is_what_lies_there(self, sandbox, tree: Tree) -> None:
        root = Path(tree.root)
        (root / "greeting.txt").write_text("edited\n")
        (root / "untracked").write_text("new\n")
        (root / "ignored").write_text("no\n")
        (root / "below" / "inner.txt").unlink()
        (root / ".akashic").mkdir()
        (root / ".akashic" / "journal.db").write_text("no\n")
        (root / "link").symlink_to("/etc/passwd")
        dirty = Tree(root=tree.root, commit=tree.commit, dirty=True)
        sandbox.materialise(dirty, sandbox.workspace, clean=True)
        ran = self.run(sandbox, "cat greeting.txt untracked; ls -A; readlink link; git status -s")
        assert ran.text == (
            "edited\nnew\n.git\n.gitignore\ngreeting.txt\nlink\ntool\nuntracked\n/etc/passwd\n"
            " D below/inner.txt\n M greeting.txt\n?? link\n?? untracked\n"
        )

    def test_a_root_below_the_top_is_the_workspace(self, sandbox, tree: Tree) -> None:
        sub = Tree(root=f"{tree.root}/below", commit=tree.commit)
        sandbox.materialise(sub, sandbox.workspace, clean=True)
        ran = self.run(sandbox, "ls; git status -s; git log --format=%s%n%an")
        assert ran.text == "inner.txt\nfirst\nAda\n"

    def test_an_uncommitted_sub_folder(self, sandbox, tree: Tree) -> None:
        Path(f"{tree.root}/below/inner.txt").write_text("edited\n")
        sub = Tree(root=f"{tree.root}/below", commit=tree.commit, dirty=True)
        sandbox.materialise(sub, sandbox.workspace, clean=True)
        assert self.run(sandbox, "cat inner.txt; git status -s").text == "edited\n M inner.txt\n"

    def test_an_unknown_commit_is_named(self, sandbox, tree: Tree) -> None:
        with pytest.raises(ExecutorError, match="is not in the repository"):
            sandbox.materialise(Tree(root=tree.root, commit="1" * 40), sandbox.workspace, clean=True)

    def test_a_changed_file_makes_a_new_state(self, sandbox, tree: Tree) -> None:
        dirty = Tree(root=tree.root, commit=tree.commit, dirty=True)
        for text in ("one\n", "two\n"):
            Path(f"{tree.root}/greeting.txt").write_text(text)
            sandbox.materialise(dirty, sandbox.workspace, clean=True)
            assert self.run(sandbox, "cat greeting.txt").text == text

    def test_the_same_job_is_not_opened_twice(self, executor, sandbox, tree: Tree) -> None:
        with pytest.raises(ExecutorError, match="is open already"):
            executor.open(self.spec(tree), cancellation=Cancellation())

    def test_memory_is_limited(self, executor, tree: Tree) -> None:
        spec = self.spec(tree, memory_bytes_max=300_000_000)
        sandbox = executor.open(spec, cancellation=Cancellation())
        ran = self.run(sandbox, f"sleep 0.05; {sys.executable} -c 'bytearray(400_000_000)'")
        sandbox.close()
        # In a control group the kernel ends it; without one Python is refused the memory.
        ended = (137, "memory limit") if ran.code == 137 else (1, "MemoryError")
        assert ran.code == ended[0] and ended[1] in ran.text

    def test_many_sandboxes_at_once(self, executor, tree: Tree) -> None:
        outputs: list[str] = []

        def job(number: int) -> None:
            sandbox = executor.open(self.spec(tree, job_key=f"job({number})"), cancellation=Cancellation())
            try:
                sandbox.materialise(tree, sandbox.workspace, clean=True)
                outputs.append(self.run(sandbox, f"echo {number} >> greeting.txt; cat greeting.txt").text)
            finally:
                sandbox.close()

        threads = [threading.Thread(target=job, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(outputs) == sorted(f"hello\n{number}\n" for number in range(20))
        executor.finish()
        assert os.listdir(executor._work) == []

    def test_a_killed_owner_leaves_nothing_after_a_sweep(self, executor, tmp_path: Path, tree: Tree) -> None:
        mark = f"47{os.getpid()}{self.mode == 'off':d}."
        script = f"""
import os, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from tests.executors.test_host import host
from akashic.executors.protocol import SandboxSpec, Tree
from akashic.cancellation import Cancellation
sandbox = host(Path({str(tmp_path)!r})).open(
    SandboxSpec(run_id="killed", job_key="build", attempt=1, repository="a/b", mode={self.mode!r},
                tree=Tree(root={tree.root!r}, commit={tree.commit!r})), cancellation=Cancellation())
sandbox.materialise(Tree(root={tree.root!r}, commit={tree.commit!r}), sandbox.workspace, clean=True)
sandbox.exec(["bash", "-c", "setsid sleep {mark}5 & (setsid env -i sleep {mark}6 &) ; echo up; wait"],
    env=sandbox.base_env, cwd=sandbox.workspace, cancellation=Cancellation(),
    on_output=lambda chunk: os.write(1, chunk))
"""
        owner = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, cwd=os.getcwd())
        assert owner.stdout is not None
        try:
            assert owner.stdout.readline() == b"up\n"
            assert eventually(lambda: len(alive_with(mark)) >= 2)
            assert list(executor.sweep()) == []
        finally:
            owner.kill()
        owner.wait()
        owner.stdout.close()
        removed = executor.sweep()
        assert len(removed) == 1 and "job build in run killed" in removed[0]
        assert eventually(lambda: not alive_with(mark))
        executor.finish()
        assert os.listdir(executor._work) == []


class TestWithoutIsolation(OnHost):
    mode = "off"

    def test_the_user_is_told(self, sandbox) -> None:
        assert any("isolation is off" in note for note in sandbox.notes)


@needs_isolation
class TestWithIsolation(OnHost):
    mode = "strict"

    def test_the_system_is_read_only(self, sandbox) -> None:
        ran = self.run(sandbox, "touch /usr/bin/evil /etc/evil")
        assert ran.code == 1 and ran.text.count("Read-only file system") == 2

    def test_temporary_folders_are_the_job_s_own(self, sandbox) -> None:
        assert self.run(sandbox, "touch /tmp/4713 /var/tmp/4713 /dev/shm/4713").code == 0
        assert not any(Path(folder, "4713").exists() for folder in ("/tmp", "/var/tmp", "/dev/shm"))

    def test_only_the_job_s_processes_are_seen(self, sandbox) -> None:
        assert self.run(sandbox, "ls /proc | grep -c '^[0-9]'").text.strip() in ("3", "4", "5")
        assert str(os.getpid()) not in self.run(sandbox, "ls /proc").text.split()

    def test_loopback_reaches_the_machine(self, sandbox) -> None:
        import socket

        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            assert self.run(sandbox, f"exec 3<>/dev/tcp/127.0.0.1/{port}").code == 0

    def test_shared_paths_are_written_through(self, executor, tree: Tree, tmp_path: Path) -> None:
        shared = tmp_path / "shared"
        shared.mkdir()
        spec = self.spec(tree, shared_paths=(str(shared),))
        sandbox = executor.open(spec, cancellation=Cancellation())
        try:
            assert self.run(sandbox, f"echo hi > {shared}/file").code == 0
        finally:
            sandbox.close()
        assert (shared / "file").read_text() == "hi\n"

    def test_built_ins_see_the_checkout_at_its_own_path(self, sandbox, tree: Tree) -> None:
        sandbox.materialise(tree, sandbox.workspace, clean=True)
        path = sandbox.host_path(f"{sandbox.workspace}/greeting.txt")
        assert Path(path).read_text() == "hello\n" and os.path.realpath(path) == path
        seen: list[str] = []
        thread = threading.Thread(target=lambda: seen.append(Path(path).read_text()))
        thread.start()
        thread.join()
        assert seen == ["hello\n"]

    def test_the_thread_is_back_on_the_machine_after_close(self, executor, tree: Tree) -> None:
        before = os.readlink("/proc/thread-self/ns/mnt"), os.getcwd()
        sandbox = executor.open(self.spec(tree), cancellation=Cancellation())
        assert os.readlink("/proc/thread-self/ns/mnt") != before[0]
        sandbox.close()
        assert (os.readlink("/proc/thread-self/ns/mnt"), os.getcwd()) == before

    def test_the_prepared_tree_stays_as_it_is(self, executor, sandbox, tree: Tree) -> None:
        sandbox.materialise(tree, sandbox.workspace, clean=True)
        self.run(sandbox, "sed -i s/hello/changed/ greeting.txt; echo more >> below/inner.txt")
        files = list(Path(executor._trees).rglob("greeting.txt"))
        assert [path.read_text() for path in files] == ["hello\n"]


def test_strict_refuses_and_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "_found", isolation.Isolation("user namespaces are switched off"))
    tree = make_repository(tmp_path / "repository")
    spec = SandboxSpec(run_id="r", job_key="build", attempt=1, repository="a/b", tree=tree, mode="strict")
    executor = host(tmp_path)
    with pytest.raises(ExecutorError, match="user namespaces are switched off"):
        executor.open(spec, cancellation=Cancellation())
    executor.finish()
    assert os.listdir(executor._work) == []


def test_auto_without_namespaces_runs_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "_found", isolation.Isolation("user namespaces are switched off"))
    tree = make_repository(tmp_path / "repository")
    spec = SandboxSpec(run_id="r", job_key="build", attempt=1, repository="a/b", tree=tree)
    sandbox = host(tmp_path).open(spec, cancellation=Cancellation())
    assert sandbox.notes == ["not isolated from this machine: user namespaces are switched off"]
    sandbox.close()


def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
    try:
        tree = make_repository(tmp_path / "repository")
        (Path(tree.root) / "large").write_bytes(os.urandom(200_000))
        git(Path(tree.root), "add", ".")
        git(Path(tree.root), "commit", "-qm", "large")
        tree = Tree(root=tree.root, commit=git(Path(tree.root), "rev-parse", "HEAD"))
        executor = HostExecutor(
            state_dir=str(small),
            cache_dir=str(tmp_path / "c"),
            tool_cache=str(tmp_path / "t"),
            environ=os.environ,
        )
        spec = SandboxSpec(run_id="r", job_key="build", attempt=1, repository="a/b", tree=tree)
        sandbox = executor.open(spec, cancellation=Cancellation())
        try:
            with pytest.raises(ExecutorError, match="No space left"):
                sandbox.materialise(tree, sandbox.workspace, clean=True)
        finally:
            sandbox.close()
        executor.finish()
        assert os.listdir(small / "work") == []
        assert [name for name in os.listdir(small / "trees") if not name.endswith(".lock")] == []
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_an_ended_process_with_the_same_number_is_not_taken_for_the_owner(tmp_path: Path) -> None:
    from akashic.executors.host import marker

    marker.write_owner(str(tmp_path), mark="m", run_id="r", job_key="j")
    owner = marker.read_owner(str(tmp_path))
    assert owner is not None and marker.is_alive(owner)
    import msgspec

    assert not marker.is_alive(msgspec.structs.replace(owner, started=owner.started + 1))
    assert not marker.is_alive(msgspec.structs.replace(owner, boot="another"))
