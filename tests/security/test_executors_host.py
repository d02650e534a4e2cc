"""What attackers did to systems like ours, tried on the host executor."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from akashic.cancellation import Cancellation
from akashic.executors.host import isolation
from akashic.executors.host.sandbox import HostSandbox
from akashic.executors.protocol import ExecutorError, SandboxSpec, Tree
from tests.executors.contract import alive_with, git, make_repository
from tests.executors.test_host import host
from tests.waiting import eventually

MODES = ["off"] if isolation.probe().missing else ["off", "strict"]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return make_repository(tmp_path / "repository")


@pytest.fixture(params=MODES)
def sandbox(request: pytest.FixtureRequest, tmp_path: Path, tree: Tree) -> Iterator[HostSandbox]:
    spec = SandboxSpec(run_id="r", job_key="j", attempt=1, repository="a/b", tree=tree, mode=request.param)
    sandbox = host(tmp_path).open(spec, cancellation=Cancellation())
    yield sandbox
    sandbox.close()


def run(sandbox: HostSandbox, script: str) -> str:
    chunks: list[bytes] = []
    sandbox.exec(
        ["bash", "-c", script],
        env=sandbox.base_env,
        cwd=sandbox.workspace,
        on_output=chunks.append,
        cancellation=Cancellation(),
    )
    return b"".join(chunks).decode()


RUNAWAYS = {
    "setsid": "setsid {sleep} >/dev/null 2>&1 &",
    "double fork": "( ( {sleep} >/dev/null 2>&1 & ) & )",
    "nohup": "nohup {sleep} >/dev/null 2>&1 &",
    "ignored signals": "(trap '' INT TERM HUP; exec {sleep}) >/dev/null 2>&1 &",
    "scrubbed environment": "cd /; setsid env -i {sleep} </dev/null >/dev/null 2>&1 &",
    "all of them": "cd /; (trap '' INT TERM HUP; (setsid env -i setsid {sleep} >/dev/null 2>&1 &) &)",
}


@pytest.mark.parametrize("way", RUNAWAYS)
def test_attack_21_processes_that_run_away_are_dead_after_the_job(sandbox: HostSandbox, way: str) -> None:
    mark = f"46{os.getpid()}.{list(RUNAWAYS).index(way)}"
    run(sandbox, RUNAWAYS[way].format(sleep=f"{shutil.which('sleep')} {mark}"))
    assert eventually(lambda: alive_with(mark))
    sandbox.close()
    assert not alive_with(mark)


def test_attack_21_a_fork_storm_is_dead_after_the_job(sandbox: HostSandbox) -> None:
    mark = f"45{os.getpid()}"
    run(sandbox, f"for i in $(seq 50); do (setsid sleep {mark}.$i >/dev/null 2>&1 &); done")
    assert eventually(lambda: len(alive_with(mark)) >= 50)
    sandbox.close()
    assert not alive_with(mark)


@pytest.mark.parametrize(
    "path", ["../outside", "/etc/outside", "a/../../../outside", "link/outside", "chain/outside"]
)
def test_attack_34_nothing_is_written_or_read_outside(
    sandbox: HostSandbox, tmp_path: Path, path: str
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "outside").write_text("secret")
    run(sandbox, f"ln -s {target} link; ln -s link chain")
    full = (
        path
        if path.startswith("/")
        else f"{sandbox.workspace}/../../../{path}"
        if path.startswith("..")
        else (f"{sandbox.workspace}/{path}")
    )
    with pytest.raises(ExecutorError):
        sandbox.write(full, b"evil")
    with pytest.raises(ExecutorError):
        sandbox.read(full, bytes_max=10)
    assert (target / "outside").read_text() == "secret"


def test_attack_34_a_checkout_does_not_write_through_a_link(
    sandbox: HostSandbox, tree: Tree, tmp_path: Path
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    run(sandbox, f"ln -s {target} sub")
    with pytest.raises(ExecutorError, match="out of the workspace"):
        sandbox.materialise(tree, f"{sandbox.workspace}/sub", clean=True)
    assert list(target.iterdir()) == []


def test_attack_34_links_of_the_repository_stay_links(sandbox: HostSandbox, tree: Tree) -> None:
    root = Path(tree.root)
    (root / "shadow").symlink_to("/etc/shadow")
    shutil.rmtree(root / "below")
    (root / "below").symlink_to("/etc")
    dirty = Tree(root=tree.root, commit=tree.commit, dirty=True)
    sandbox.materialise(dirty, sandbox.workspace, clean=True)
    assert run(sandbox, "readlink shadow below").split() == ["/etc/shadow", "/etc"]


def test_a_named_pipe_in_place_of_a_file_does_not_hold_us(sandbox: HostSandbox) -> None:
    run(sandbox, "mkfifo pipe")
    assert sandbox.read(f"{sandbox.workspace}/pipe", bytes_max=10) is None


def test_attack_36_hooks_filters_and_monitors_of_the_repository_never_run(
    sandbox: HostSandbox, tree: Tree, tmp_path: Path
) -> None:
    root, proof = Path(tree.root), tmp_path / "proof"
    for name in ("post-checkout", "post-index-change", "reference-transaction", "fsmonitor-watchman"):
        hook = root / ".git" / "hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {proof}\n")
        hook.chmod(0o755)
    git(root, "config", "core.fsmonitor", f"touch {proof}; false")
    git(root, "config", "filter.evil.smudge", f"touch {proof}; cat")
    git(root, "config", "filter.evil.clean", f"touch {proof}; cat")
    (root / ".gitattributes").write_text("* filter=evil\n")
    proof.unlink(missing_ok=True)
    for dirty in (False, True):
        sandbox.materialise(
            Tree(root=tree.root, commit=tree.commit, dirty=dirty), sandbox.workspace, clean=True
        )
        run(sandbox, "git status; git checkout -q HEAD greeting.txt")
    assert not proof.exists()


def test_attack_36_submodules_are_not_fetched(sandbox: HostSandbox, tree: Tree, tmp_path: Path) -> None:
    root = Path(tree.root)
    other = make_repository(tmp_path / "other")
    git(root, "-c", "protocol.file.allow=always", "submodule", "add", "-q", other.root, "module")
    git(root, "commit", "-qm", "module")
    for dirty in (False, True):
        commit = git(root, "rev-parse", "HEAD")
        sandbox.materialise(Tree(root=tree.root, commit=commit, dirty=dirty), sandbox.workspace, clean=True)
        assert run(sandbox, "ls -A module") == ""


def test_attack_24_the_workspace_does_not_shadow_our_own_git(
    sandbox: HostSandbox, tree: Tree, tmp_path: Path
) -> None:
    root, proof = Path(tree.root), tmp_path / "proof"
    for name in ("git", "cp"):
        (root / name).write_text(f"#!/bin/sh\ntouch {proof}\n")
        (root / name).chmod(0o755)
    sandbox.materialise(Tree(root=tree.root, commit=tree.commit, dirty=True), sandbox.workspace, clean=True)
    sandbox.materialise(Tree(root=tree.root, commit=tree.commit, dirty=True), sandbox.workspace, clean=False)
    assert not proof.exists()


@pytest.mark.skipif(MODES == ["off"], reason="no namespaces on this machine")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root could undo it")
@pytest.mark.parametrize("sandbox", ["strict"], indirect=True)
def test_root_in_a_job_cannot_undo_its_isolation(sandbox: HostSandbox) -> None:
    said = run(
        sandbox,
        "mount -o remount,rw / 2>&1; mknod disk b 254 0 2>&1; echo x > /proc/sys/kernel/hostname; touch /x",
    )
    assert "denied" in said and "not permitted" in said and said.count("Read-only file system") >= 2


@pytest.mark.skipif(MODES == ["off"], reason="no namespaces on this machine")
def test_credentials_in_the_user_s_home_are_hidden(
    tmp_path: Path, tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "user"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "id").write_text("key")
    # The key of the repository's secrets, and the one that ID tokens are signed with.
    (home / ".config" / "akashic").mkdir(parents=True)
    (home / ".config" / "akashic" / "key.txt").write_text("key")
    (home / ".netrc").write_text("password")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("PATH", f"{home}/bin:{os.environ['PATH']}")
    spec = SandboxSpec(run_id="r", job_key="j", attempt=1, repository="a/b", tree=tree, mode="strict")
    sandbox = host(tmp_path).open(spec, cancellation=Cancellation())
    try:
        wanted = " ".join(f"{home}/{name}" for name in (".ssh/id", ".netrc", ".config/akashic/key.txt"))
        assert run(sandbox, f"cat {wanted} 2>/dev/null; ls -A ~ | grep -v cache") == ""
    finally:
        sandbox.close()


@pytest.mark.skipif(bool(isolation.probe().missing), reason="this machine isolates no jobs")
@pytest.mark.parametrize(
    "way",
    [
        "exec env -i {ask}",
        "(setsid env -i {ask} &) ; {answered}",
        "(setsid bash -c '(exec env -i {ask} &) ; true' &) ; {answered}",
        "exec env -i setsid -w {ask}",
        "exec env -i unshare --user --map-root-user {ask}",
    ],
)
def test_attack_10_a_step_that_cuts_itself_off_is_still_no_person(
    tmp_path: Path, tree: Tree, way: str
) -> None:
    spec = SandboxSpec(run_id="r", job_key="j", attempt=1, repository="a/b", tree=tree, mode="strict")
    sandbox = host(tmp_path).open(spec, cancellation=Cancellation())
    code = (
        "import sys; from pathlib import Path; from akashic.app.people import inside_a_job;"
        " print(inside_a_job({}, Path(sys.argv[1])), flush=True); Path(__file__ + '.answered').touch()"
    )
    sandbox.write(f"{sandbox.temp}/ask.py", code.encode())
    source = Path(isolation.__file__).parents[3]
    ask = f"env PYTHONPATH={source} {sys.executable} {sandbox.temp}/ask.py {tmp_path}/state"
    answered = f"until [ -e {sandbox.temp}/ask.py.answered ]; do sleep 0.02; done"
    try:
        said = run(sandbox, way.format(ask=ask, answered=answered))
    finally:
        sandbox.close()
    if "unshare" in said:
        pytest.skip("a job may make no user namespace here")
    assert said == "True\n"
