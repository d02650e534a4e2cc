"""git is asked once about a commit, and what it would say now is what is known."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from akashic.app import repository as module
from akashic.app.commit_memory import CommitMemory
from akashic.app.repository import Look, Repository, read_repository
from tests.app.checkout import Checkout

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nowhere"}


class Asked(list[str]):
    """The git commands that were started."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    found = Asked()
    start = module.git_start

    def counted(root: Path, environ: dict[str, str], *argv: str, **options: object) -> object:
        found.append(argv[0])
        return start(root, environ, *argv, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "git_start", counted)
    return found


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir()
    return folder


def look(checkout: Checkout, state: Path) -> Repository:
    return Look(checkout.path, ENVIRON, CommitMemory(state)).result()


def true_now(checkout: Checkout, state: Path) -> Repository:
    """What a look with a memory finds, which is what one without it finds."""
    found = look(checkout, state)
    assert found == read_repository(checkout.path, ENVIRON)
    return found


def test_git_is_asked_once_about_a_commit(checkout: Checkout, state: Path, asked: Asked) -> None:
    checkout.commit("One\n\nwith a body")
    first = look(checkout, state)
    assert asked == ["status", "log"]
    asked.clear()
    assert look(checkout, state) == first
    assert asked == ["status"]
    checkout.write("new", "x")
    assert look(checkout, state).dirty


def amend(checkout: Checkout) -> None:
    checkout.git("commit", "--quiet", "--allow-empty", "--amend", "--message", "Amended")


def commit(checkout: Checkout) -> None:
    checkout.commit("Another")


def branch_at_it(checkout: Checkout) -> None:
    checkout.git("checkout", "--quiet", "-b", "topic")


def other_branch(checkout: Checkout) -> None:
    checkout.git("checkout", "--quiet", "--orphan", "topic")
    checkout.commit("Of the topic")


def detach(checkout: Checkout) -> None:
    checkout.git("tag", "v1")
    checkout.git("checkout", "--quiet", "--detach")


def pack(checkout: Checkout) -> None:
    checkout.git("pack-refs", "--all")


def collect(checkout: Checkout) -> None:
    checkout.git("gc", "--quiet")


def reset(checkout: Checkout) -> None:
    checkout.git("reset", "--quiet", "--hard", "HEAD~1")


def replace(checkout: Checkout) -> None:
    other = checkout.git("commit-tree", "-m", "Stands in", "HEAD^{tree}")
    checkout.git("replace", "HEAD", other)


def replace_packed(checkout: Checkout) -> None:
    replace(checkout)
    checkout.git("pack-refs", "--all")


def encode(checkout: Checkout) -> None:
    checkout.git("config", "i18n.logOutputEncoding", "ISO-8859-1")


CHANGES = [
    amend,
    commit,
    branch_at_it,
    other_branch,
    detach,
    pack,
    collect,
    reset,
    replace,
    replace_packed,
    encode,
]


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_known_is_what_git_would_say(
    checkout: Checkout, state: Path, change: Callable[[Checkout], None]
) -> None:
    checkout.commit("Before")
    checkout.commit("One ä")
    for _ in range(2):
        true_now(checkout, state)
    change(checkout)
    for _ in range(2):
        true_now(checkout, state)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=st.lists(st.sampled_from(CHANGES[:8]), min_size=2, max_size=5))
def test_whatever_is_done_with_git_in_between(
    tmp_path_factory: pytest.TempPathFactory, changes: list[Callable[[Checkout], None]]
) -> None:
    folder = tmp_path_factory.mktemp("sequence")
    checkout = Checkout(folder / "shop")
    checkout.commit("Before")
    checkout.commit("One")
    (folder / "state").mkdir()
    for change in changes:
        true_now(checkout, folder / "state")
        try:
            change(checkout)
        except Exception:
            continue  # No such commit, or there is such a branch: git changed nothing.
        true_now(checkout, folder / "state")


def test_a_tag_that_comes_later_is_seen_at_a_commit_without_a_branch(checkout: Checkout, state: Path) -> None:
    checkout.commit()
    checkout.git("checkout", "--quiet", "--detach")
    assert true_now(checkout, state).tag == ""
    checkout.git("tag", "v1")
    assert true_now(checkout, state).tag == "v1"


def test_a_commit_loses_its_branch_while_git_is_asked(
    checkout: Checkout, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = checkout.commit()
    look(checkout, state)
    checkout.git("tag", "v1")
    checkout.git("checkout", "--quiet", "--detach")
    monkeypatch.setattr(module, "commit_guess", lambda folders: commit)
    assert look(checkout, state).tag == "v1"


def test_another_commit_than_guessed_is_asked_about(
    checkout: Checkout, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = checkout.commit("One")
    look(checkout, state)
    second = checkout.commit("Two")
    monkeypatch.setattr(module, "commit_guess", lambda folders: first)
    found = look(checkout, state)
    assert (found.commit, found.message) == (second, "Two")


def test_history_that_was_cut_off_has_its_parents_when_it_is_whole(
    checkout: Checkout, state: Path, tmp_path: Path
) -> None:
    first = checkout.commit("One")
    checkout.commit("Two")
    shallow = Checkout(tmp_path / "shallow")
    shallow.git("fetch", "--quiet", "--depth", "1", checkout.path.as_uri(), "main")
    shallow.git("reset", "--quiet", "--hard", "FETCH_HEAD")
    assert true_now(shallow, state).parent == "0" * 40
    shallow.git("fetch", "--quiet", "--unshallow", checkout.path.as_uri(), "main")
    assert true_now(shallow, state).parent == first


def test_a_linked_worktree_is_remembered_by_its_own_branch(
    checkout: Checkout, state: Path, tmp_path: Path, asked: Asked
) -> None:
    checkout.commit("One")
    linked = Checkout.__new__(Checkout)
    linked.path = tmp_path / "linked"
    checkout.git("worktree", "add", "--quiet", "-b", "topic", str(linked.path))
    linked.commit("Of the worktree")
    for _ in range(2):
        assert true_now(linked, state).message == "Of the worktree"
    asked.clear()
    look(linked, state)
    assert asked == ["status"]
    assert true_now(checkout, state).message == "One"


def test_a_repository_of_long_names_is_remembered_too(tmp_path: Path, state: Path, asked: Asked) -> None:
    checkout = Checkout.__new__(Checkout)
    checkout.path = tmp_path / "shop"
    checkout.path.mkdir()
    checkout.git("init", "--quiet", "--object-format=sha256", "--initial-branch", "main")
    commit = checkout.commit("One")
    assert len(commit) == 64
    assert true_now(checkout, state).commit == commit
    asked.clear()
    assert look(checkout, state).commit == commit
    assert asked == ["status"]


def known(checkout: Checkout, state: Path) -> tuple[Path, bytes]:
    look(checkout, state)
    file = state / "commit"
    return file, file.read_bytes()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_memory_of_garbage_is_none(checkout: Checkout, state: Path, data: st.DataObject) -> None:
    if not (checkout.path / ".git" / "refs" / "heads" / "main").exists():
        checkout.commit("One")
    (state / "commit").unlink(missing_ok=True)
    file, content = known(checkout, state)
    cut = data.draw(st.integers(0, len(content) - 1))
    zeros = content[:cut] + bytes(len(content) - cut)
    made = st.sampled_from([content[:cut], zeros, content + b"x", b"\xff" + content, content[::-1]])
    file.write_bytes(data.draw(made | st.binary()))
    true_now(checkout, state)


@pytest.mark.parametrize("kind", ["folder", "pipe", "socket", "link", "endless", "huge", "secret"])
def test_a_memory_that_is_no_file_of_ours_is_none(checkout: Checkout, state: Path, kind: str) -> None:
    checkout.commit("One")
    file, content = known(checkout, state)
    file.unlink()
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            os.chdir(state)
            bound.bind("commit")
    elif kind == "link":
        (state / "other").write_bytes(content)
        file.symlink_to("other")
    elif kind == "endless":
        file.symlink_to("/dev/zero")
    elif kind == "huge":
        with file.open("wb") as out:
            out.write(content)
            out.truncate(1 << 40)
    else:
        file.write_bytes(content)
        file.chmod(0)
    true_now(checkout, state)
    assert sorted(path.name for path in state.iterdir() if path.name != "other") == ["commit"]


def test_a_message_that_is_very_long_is_asked_for_each_time(
    checkout: Checkout, state: Path, tmp_path: Path
) -> None:
    (tmp_path / "message").write_text("Long\n\n" + "x" * 300_000)
    checkout.git("commit", "--quiet", "--allow-empty", "--file", str(tmp_path / "message"))
    for _ in range(2):
        assert len(true_now(checkout, state).message) > 300_000
    assert list(state.iterdir()) == []


def test_without_a_state_folder_nothing_is_kept(checkout: Checkout, tmp_path: Path) -> None:
    checkout.commit()
    true_now(checkout, tmp_path / "none")
    assert not (tmp_path / "none").exists()
