"""Folders of closed jobs are removed beside the work."""

import itertools
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from akashic.executors.host.marker import OWNER_FILE, write_owner
from akashic.executors.host.removing import Remover
from akashic.executors.host.sandbox_folder import remove_folder
from akashic.executors.host.sweeping import sweep
from tests.waiting import eventually


def _filled(folder: Path) -> str:
    (folder / "below").mkdir(parents=True)
    (folder / "below" / "file").write_text("x")
    return str(folder)


def test_what_was_handed_over_is_gone_after_the_end(tmp_path: Path) -> None:
    remover = Remover()
    for turn in range(3):
        for number in range(5):
            remover.remove(_filled(tmp_path / f"{turn}-{number}"))
        remover.finish()
        assert list(tmp_path.iterdir()) == []


def test_a_thread_that_nobody_waits_for_hands_over_to_one_that_is_waited_for(tmp_path: Path) -> None:
    program = (
        "import sys, threading; from akashic.executors.host.removing import Remover\n"
        "thread = threading.Thread(target=Remover().remove, args=(sys.argv[1],), daemon=True)\n"
        "thread.start(); thread.join()"
    )
    folder = _filled(tmp_path / "job")
    subprocess.run([sys.executable, "-c", program, folder], check=True, timeout=120)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_forgets_to_finish_ends_and_leaves_nothing(tmp_path: Path) -> None:
    program = "import sys; from akashic.executors.host.removing import Remover; Remover().remove(sys.argv[1])"
    folder = _filled(tmp_path / "job")
    # A worker that waited for more to do would keep the process for ever.
    subprocess.run([sys.executable, "-c", program, folder], check=True, timeout=120)
    assert list(tmp_path.iterdir()) == []


IMPATIENT = """
import os, signal, sys
from akashic.executors.host import removing
def interrupted(folder):
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
removing.remove_folder = interrupted
removing.Remover().remove(sys.argv[1])
sys.exit(5)
"""


def test_ctrl_c_while_the_last_folder_goes_ends_the_process_without_a_word(tmp_path: Path) -> None:
    folder = _filled(tmp_path / "job")
    done = subprocess.run(
        [sys.executable, "-c", IMPATIENT, folder], capture_output=True, text=True, timeout=120, check=False
    )
    # The next run sweeps what is left.
    assert (done.returncode, done.stdout, done.stderr) == (5, "", "")


ORDER = """
import sys
from akashic.executors.host.sandbox_folder import remove_folder
sys.addaudithook(lambda name, given: print(given[0]) if name in ("os.remove", "os.rmdir") else None)
remove_folder(sys.argv[1])
"""


def test_the_owner_of_a_folder_goes_last(tmp_path: Path) -> None:
    folder = Path(_filled(tmp_path / "job"))
    # Who is killed in the middle leaves a folder that is known to be a dead process's, which can be swept.
    for name in ("a", OWNER_FILE, "z"):
        (folder / name).write_text("x")
    told = subprocess.run(
        [sys.executable, "-c", ORDER, str(folder)], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    names = [name.rpartition("/")[2] for name in told]
    assert sorted(names) == sorted(["a", "below", "file", "job", OWNER_FILE, "z"])
    assert names[-2:] == [OWNER_FILE, "job"]


def deep(folder: Path, levels: int) -> str:
    """A folder in a folder in a folder, deeper than a path can name."""
    folder.mkdir()
    here = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    return str(folder)


def test_folders_that_are_too_deep_for_a_path_go_too(tmp_path: Path) -> None:
    remover = Remover()
    remover.remove(deep(tmp_path / "deep", 3000))
    remover.remove(_filled(tmp_path / "other"))
    remover.finish()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "another's", "endless", "folder", "socket"])
def test_who_sweeps_waits_for_nothing_that_a_job_put_in_place_of_its_owner(tmp_path: Path, kind: str) -> None:
    owner = tmp_path / "work" / "job" / OWNER_FILE
    _filled(owner.parent)
    os.mkfifo(tmp_path / "pipe")
    match kind:
        case "pipe":
            os.mkfifo(owner)
        case "link to a pipe":
            owner.symlink_to(tmp_path / "pipe")
        case "another's":
            write_owner(str(tmp_path), mark="m", run_id="r", job_key="j")
            owner.symlink_to(tmp_path / OWNER_FILE)
        case "endless":
            owner.symlink_to("/dev/zero")
        case "folder":
            owner.mkdir()
        case "socket":
            os.mknod(owner, stat.S_IFSOCK | 0o600)
    assert sweep(str(tmp_path / "work")) == [], "it may just be made"
    os.utime(owner.parent, (1, 1))
    assert len(sweep(str(tmp_path / "work"))) == 1
    assert list((tmp_path / "work").iterdir()) == []


def test_a_fork_leaves_what_its_parent_was_handed(tmp_path: Path) -> None:
    remover = Remover()
    remover.remove(_filled(tmp_path / "job"))
    pid = os.fork()
    if pid == 0:
        remover.finish()
        os._exit(0)
    os.waitpid(pid, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["job"]
    remover.finish()
    assert list(tmp_path.iterdir()) == []


def test_many_folders_do_not_wait_for_the_end(tmp_path: Path) -> None:
    remover = Remover()
    remover.remove(_filled(tmp_path / "one"))
    assert (tmp_path / "one").exists(), "a single one does"
    remover.remove(_filled(tmp_path / "two"))
    assert eventually(lambda: not list(tmp_path.iterdir()))
    assert eventually(lambda: all(thread.name != "remover" for thread in threading.enumerate()))
    for name in ("three", "four"):
        remover.remove(_filled(tmp_path / name))
    assert eventually(lambda: not list(tmp_path.iterdir())), "another one begins when the first has ended"


def test_without_a_thread_to_spare_the_end_does_it_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    remover = Remover()
    for name in ("one", "two", "three"):
        remover.remove(_filled(tmp_path / name))
    remover.finish()
    assert list(tmp_path.iterdir()) == []


def killed_at(step: int, folder: Path, *, stubborn: bool) -> bool:
    """Have a process claim a folder, fill it, and die before its `step`th change; whether it got there."""
    pid = os.fork()
    if pid == 0:
        try:
            folder.mkdir(parents=True)
            write_owner(str(folder), mark=folder.name, run_id="r", job_key="j")
            for name in ("a", "z/below"):
                (folder / name).mkdir(parents=True)
                (folder / name / "file").write_text("x")
            (folder / "m").write_text("x")
            steps = itertools.count()

            def look(event: str, given: tuple[object, ...]) -> None:
                if event in ("os.remove", "os.rmdir", "os.rename", "os.chmod") and next(steps) == step:
                    os._exit(9)

            sys.addaudithook(look)
            if stubborn:
                shutil.rmtree = lambda *given, **options: (_ for _ in ()).throw(RecursionError)  # type: ignore
            remove_folder(str(folder))
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status) == 9


@pytest.mark.parametrize("stubborn", [False, True])
def test_what_a_kill_in_the_middle_leaves_is_swept(tmp_path: Path, stubborn: bool) -> None:
    work = tmp_path / "work"
    for step in itertools.count():
        folder = work / f"job{step}"
        reached = killed_at(step, folder, stubborn=stubborn)
        if folder.exists():
            left = sorted(path.name for path in folder.iterdir())
            assert OWNER_FILE in left or left == [], "whose it is goes last"
            if OWNER_FILE not in left:
                os.utime(folder, (1, 1))
            assert len(sweep(str(work))) == 1
        assert list(work.iterdir()) == []
        if not reached:
            break
    assert step > 6, "it was killed at each of them"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files that cannot be changed")
def test_what_a_job_without_isolation_made_immutable_goes_too(tmp_path: Path) -> None:
    folder = tmp_path / "job"
    for name in ("fixed", "grows", "z"):
        (folder / name / "below").mkdir(parents=True)
        (folder / name / "below" / "file").write_text("x")
    try:
        for path, flag in (
            (folder / "z" / "below" / "file", "+i"),
            (folder / "fixed" / "below", "+i"),
            (folder / "fixed", "+i"),
            (folder / "grows" / "below", "+a"),
            (folder, "+i"),
        ):
            if subprocess.run(["chattr", flag, str(path)], capture_output=True, check=False).returncode:
                pytest.skip("this file system has no such attribute, or this root may not set it")
        remove_folder(str(folder))
        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["chattr", "-R", "-i", "-a", str(tmp_path)], capture_output=True, check=False)


Entries = st.dictionaries(
    st.sampled_from(["a", "b", " ", "\udcff", "-rf", OWNER_FILE]),
    st.deferred(lambda: st.one_of(st.sampled_from(["file", "link", "hard", "fifo", "dangling"]), Folders)),
    max_size=3,
)
Folders = st.tuples(st.sampled_from([0o000, 0o111, 0o444, 0o555, 0o700, 0o1777]), Entries)


def leave(folder: Path, entries: dict[str, object], outside: Path) -> None:
    """Make what a job may leave."""
    for name, kind in entries.items():
        path = folder / name
        match kind:
            case "file":
                path.write_text("x")
                path.chmod(0o000)
            case "link":
                path.symlink_to(outside)
            case "dangling":
                path.symlink_to("/nowhere")
            case "hard":
                path.hardlink_to(outside / "file")
            case "fifo":
                os.mkfifo(path)
            case (int(mode), dict(below)):
                path.mkdir()
                leave(path, below, outside)
                path.chmod(mode)


def remove_as(user: int, folder: Path) -> None:
    """Remove a folder as another user would, who may not look into everything."""
    pid = os.fork()
    if pid == 0:
        try:
            if user != os.geteuid():
                for path in (folder, *folder.rglob("*")):
                    os.chown(path, user, user, follow_symlinks=False)
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
            remove_folder(str(folder))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)


@pytest.mark.parametrize("user", [os.geteuid(), 65534])
@settings(max_examples=30, deadline=None)
@given(entries=Entries)
def test_whatever_a_job_leaves_is_gone_and_nothing_else(user: int, entries: dict[str, object]) -> None:
    if user != os.geteuid() and os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        top.chmod(0o777)
        outside = top / "outside"
        outside.mkdir()
        (outside / "file").write_text("kept")
        before = (outside / "file").stat().st_mode
        folder = top / "job"
        folder.mkdir()
        leave(folder, entries, outside)
        remove_as(user, folder)
        assert sorted(path.name for path in top.iterdir()) == ["outside"]
        assert (outside / "file").read_text() == "kept"
        assert (outside / "file").stat().st_mode == before or "hard" in str(entries)
