"""What git says of real checkouts."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.app.application import Application
from akashic.app.repository import (
    _without_credentials,
    changed_files,
    find_root,
    read_repository,
    state_folder,
)
from akashic.errors import UsageError
from tests.app.checkout import Checkout

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def test_a_git_that_tells_no_settings_on_its_way_is_asked_for_them(
    checkout: Checkout, tmp_path: Path
) -> None:
    checkout.commit("One")
    checkout.git("config", "remote.origin.url", "https://user:token@example.org/acme/shop.git")
    old = tmp_path / "old"
    old.mkdir()
    real = shutil.which("git")
    (old / "git").write_text(f'#!/bin/sh\nunset GIT_TRACE2_EVENT\nexec {real} "$@"\n')
    (old / "git").chmod(0o755)
    for path in (ENVIRON["PATH"], f"{old}:{ENVIRON['PATH']}"):
        found = read_repository(checkout.path, ENVIRON | {"PATH": path})
        assert (found.name, found.remote_url) == ("acme/shop", "https://example.org/acme/shop.git")


def test_reads_the_branch_and_the_commit(checkout: Checkout) -> None:
    first = checkout.commit("One")
    second = checkout.commit("Two\n\nwith a body")
    found = read_repository(checkout.path, ENVIRON)
    assert (found.commit, found.parent) == (second, first)
    assert (found.branch, found.ref, found.tag) == ("main", "refs/heads/main", "")
    assert (found.author, found.author_email) == ("Ada", "ada@example.org")
    assert found.message == "Two\n\nwith a body"
    assert found.name == "local/shop"
    assert not found.dirty


def test_the_first_commit_has_a_parent_of_zeros(checkout: Checkout) -> None:
    checkout.commit()
    assert read_repository(checkout.path, ENVIRON).parent == "0" * 40


@pytest.mark.parametrize("change", ["edit", "new", "remove", "stage"])
def test_uncommitted_changes_make_it_dirty(checkout: Checkout, change: str) -> None:
    checkout.write("a.txt", "one")
    checkout.commit()
    if change == "remove":
        (checkout.path / "a.txt").unlink()
    else:
        checkout.write("b.txt" if change == "new" else "a.txt", "two")
    if change == "stage":
        checkout.git("add", "--all")
    assert read_repository(checkout.path, ENVIRON).dirty


def test_our_own_state_does_not_make_it_dirty(checkout: Checkout) -> None:
    checkout.commit()
    folder = state_folder(checkout.path, {})
    (folder / "journal.db").write_text("x")
    assert not read_repository(checkout.path, ENVIRON).dirty


def test_a_detached_head_has_the_default_branch_s_ref(checkout: Checkout) -> None:
    first = checkout.commit("One")
    checkout.commit("Two")
    checkout.git("checkout", "--quiet", first)
    found = read_repository(checkout.path, ENVIRON)
    assert (found.branch, found.tag, found.ref) == ("", "", "refs/heads/main")


def test_a_detached_head_at_a_tag_is_that_tag(checkout: Checkout) -> None:
    checkout.commit()
    checkout.git("tag", "v1.2.3")
    checkout.git("checkout", "--quiet", "v1.2.3")
    found = read_repository(checkout.path, ENVIRON)
    assert (found.tag, found.ref) == ("v1.2.3", "refs/tags/v1.2.3")


def test_a_tag_on_a_branch_does_not_hide_the_branch(checkout: Checkout) -> None:
    checkout.commit()
    checkout.git("tag", "v1")
    assert read_repository(checkout.path, ENVIRON).ref == "refs/heads/main"


def test_no_commit_is_said_as_such(checkout: Checkout) -> None:
    with pytest.raises(UsageError, match="no commit yet") as caught:
        read_repository(checkout.path, ENVIRON)
    assert "git commit" in caught.value.hint


def test_a_broken_repository_is_not_taken_for_one_without_commits(checkout: Checkout) -> None:
    commit = checkout.commit()
    objects = checkout.path / ".git" / "objects"
    (objects / commit[:2] / commit[2:]).unlink()
    with pytest.raises(UsageError, match="git cannot read the repository"):
        read_repository(checkout.path, ENVIRON)


def test_outside_a_repository_is_said_as_such(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a git repository") as caught:
        find_root(tmp_path)
    assert "-C" in caught.value.hint


def test_without_git_is_said_as_such(
    checkout: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout.commit()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="git is not on PATH"):
        read_repository(checkout.path, {"PATH": str(tmp_path)})


def test_the_root_may_be_a_folder_of_the_checkout(checkout: Checkout) -> None:
    checkout.write("console/.github/workflows/ci.yml", "on: push")
    checkout.write("console/src/deep/a.py", "")
    checkout.write("other/b.py", "")
    checkout.commit()
    root = checkout.path / "console"
    assert find_root(root / "src" / "deep") == (root, checkout.path)
    found = read_repository(root / "src", ENVIRON)
    assert (found.root, found.top, found.prefix) == (root, checkout.path, "console")
    assert found.name == "local/console"
    assert changed_files(found, environ=ENVIRON) == (".github/workflows/ci.yml", "src/deep/a.py")
    checkout.write("other/b.py", "changed")
    assert not read_repository(root, ENVIRON).dirty


def test_akashic_yaml_marks_a_root_too(checkout: Checkout) -> None:
    checkout.write("service/akashic.yaml", "")
    checkout.write("service/src/a", "")
    assert find_root(checkout.path / "service" / "src")[0] == checkout.path / "service"


def test_the_search_for_a_root_ends_at_the_checkout_s_top(tmp_path: Path) -> None:
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    inner = Checkout(tmp_path / "inner")
    assert find_root(inner.path) == (inner.path, inner.path)


def test_a_linked_worktree_knows_its_branches(checkout: Checkout, tmp_path: Path) -> None:
    checkout.commit()
    checkout.git("worktree", "add", "--quiet", "-b", "topic", str(tmp_path / "linked"))
    found = read_repository(tmp_path / "linked", ENVIRON)
    assert (found.branch, found.default_branch) == ("topic", "main")


def test_the_default_branch_is_the_remote_s(tmp_path: Path) -> None:
    origin = Checkout(tmp_path / "origin", branch="trunk")
    origin.commit()
    clone = Checkout(tmp_path / "away")
    clone.git("remote", "add", "origin", str(origin.path))
    clone.git("fetch", "--quiet", "origin")
    clone.git("checkout", "--quiet", "-b", "topic", "origin/trunk")
    clone.git("remote", "set-head", "origin", "trunk")
    assert read_repository(clone.path, ENVIRON).default_branch == "trunk"


def test_the_default_branch_without_a_remote(tmp_path: Path) -> None:
    for branch, topic, expected in (
        ("main", "topic", "main"),
        ("master", "topic", "master"),
        ("dev", "", "dev"),
    ):
        checkout = Checkout(tmp_path / branch, branch=branch)
        checkout.commit()
        if topic:
            checkout.git("checkout", "--quiet", "-b", topic)
        assert read_repository(checkout.path, ENVIRON).default_branch == expected


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://github.com/acme/shop.git", "acme/shop"),
        ("https://github.com/acme/shop/", "acme/shop"),
        ("git@github.com:acme/shop.git", "acme/shop"),
        ("ssh://git@example.org:22/acme/shop", "acme/shop"),
        ("https://token@example.org/group/sub/shop.git", "sub/shop"),
    ],
)
def test_the_name_comes_from_the_remote(checkout: Checkout, url: str, name: str) -> None:
    checkout.commit()
    checkout.git("remote", "add", "origin", url)
    assert read_repository(checkout.path, ENVIRON).name == name


def test_credentials_of_a_remote_are_dropped(checkout: Checkout) -> None:
    checkout.commit()
    checkout.git("remote", "add", "origin", "https://ada:hunter2@example.org/acme/shop.git")
    assert read_repository(checkout.path, ENVIRON).remote_url == "https://example.org/acme/shop.git"


@given(st.text(st.characters(codec="ascii", exclude_characters="/\n"), min_size=1))
def test_no_credential_is_left_in_any_address(credential: str) -> None:
    url = f"https://{credential}@example.org/acme/shop"
    assert _without_credentials(url) == "https://example.org/acme/shop"


def test_the_environment_of_a_surrounding_git_is_not_followed(checkout: Checkout, tmp_path: Path) -> None:
    commit = checkout.commit()
    other = Checkout(tmp_path / "other")
    other.commit("Another")
    environ = ENVIRON | {
        "GIT_DIR": str(other.path / ".git"),
        "GIT_WORK_TREE": str(other.path),
        "GIT_INDEX_FILE": str(other.path / ".git" / "index"),
    }
    found = read_repository(checkout.path, environ)
    assert found.commit == commit
    checkout.write("a.txt", "x")
    found = read_repository(checkout.path, environ)
    assert changed_files(found, environ=environ) == ("a.txt",)


def test_programs_that_a_repository_names_are_not_run(checkout: Checkout, tmp_path: Path) -> None:
    checkout.commit()
    trap = tmp_path / "trap"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\n")
    trap.chmod(0o755)
    checkout.git("config", "core.fsmonitor", str(trap))
    checkout.git("config", "diff.external", str(trap))
    checkout.write("a.txt", "x")
    checkout.git("add", "a.txt")
    (tmp_path / "sprung").unlink(missing_ok=True)  # `git add` of the test itself asks the monitor
    changed_files(read_repository(checkout.path, ENVIRON), environ=ENVIRON)
    assert not (tmp_path / "sprung").exists()


def test_changed_files_are_those_of_the_commit_and_of_the_working_tree(checkout: Checkout) -> None:
    checkout.write("old.txt", "")
    checkout.commit()
    checkout.write("committed ä.txt", "")
    checkout.commit()
    checkout.write("old.txt", "edited")
    checkout.write("new/file.txt", "")
    found = read_repository(checkout.path, ENVIRON)
    assert changed_files(found, environ=ENVIRON) == ("committed ä.txt", "old.txt", "new/file.txt")


def test_changed_files_of_a_pull_request_are_all_since_the_branch_began(checkout: Checkout) -> None:
    checkout.commit()
    checkout.git("checkout", "--quiet", "-b", "topic")
    checkout.write("a.txt", "")
    checkout.commit()
    checkout.write("b.txt", "")
    checkout.commit()
    found = read_repository(checkout.path, ENVIRON)
    assert changed_files(found, environ=ENVIRON) == ("b.txt",)
    assert changed_files(found, against_default=True, environ=ENVIRON) == ("a.txt", "b.txt")


def test_the_state_folder_hides_itself(tmp_path: Path) -> None:
    assert state_folder(tmp_path, {}) == tmp_path / ".akashic"
    assert (tmp_path / ".akashic" / ".gitignore").read_text() == "*\n"
    other = tmp_path / "elsewhere" / "state"
    assert state_folder(tmp_path, {"AKASHIC_STATE": str(other)}) == other


def test_a_state_folder_that_cannot_be_made_is_said_as_such(tmp_path: Path) -> None:
    (tmp_path / ".akashic").write_text("a file")
    with pytest.raises(UsageError, match="cannot keep state here") as caught:
        state_folder(tmp_path, {})
    assert "AKASHIC_STATE" in caught.value.hint


def test_without_a_home_the_cache_is_in_that_of_the_account(checkout: Checkout) -> None:
    application = Application.open(checkout.path, {"PATH": os.environ["PATH"]})
    assert application.user_cache == Path.home() / ".cache" / "akashic"
