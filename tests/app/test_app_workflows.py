"""Workflow files: from the working tree or the commit, with all that they call."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from akashic.app.repository import read_repository
from akashic.app.workflows import CALL_DEPTH_MAX, LoadedWorkflow, WorkflowTree, load, select_paths
from akashic.errors import AkashicError, UsageError
from akashic.source.position import InvalidInput
from tests.app.checkout import CI, Checkout

ENVIRON = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def tree_of(checkout: Checkout, *, from_commit: bool = False, below: str = "") -> WorkflowTree:
    repository = read_repository(checkout.path / below, ENVIRON)
    return WorkflowTree(repository.root, lambda: repository, from_commit=from_commit, environ=ENVIRON)


def calling(*uses: str, called: bool = True) -> str:
    jobs = "\n".join(f"  job{number}:\n    uses: {one}" for number, one in enumerate(uses))
    plain = "  job:\n    runs-on: x\n    steps: [{run: echo}]"
    return f"on: {'workflow_call' if called else 'push'}\njobs:\n{jobs or plain}\n"


def load_ci(checkout: Checkout, remote: Mapping[str, str] | None = None) -> LoadedWorkflow:
    def read(reference: str) -> str:
        try:
            return (remote or {})[reference]
        except KeyError:
            raise AkashicError(f"{reference} cannot be fetched") from None

    return load(tree_of(checkout), ".github/workflows/ci.yml", read)


def test_the_commit_and_the_working_tree_are_kept_apart(checkout: Checkout) -> None:
    checkout.workflow()
    checkout.commit()
    checkout.workflow("on: push\n", "new.yaml")
    checkout.workflow("edited")
    names = [".github/workflows/ci.yml"]
    assert tree_of(checkout).names() == [*names, ".github/workflows/new.yaml"]
    assert tree_of(checkout).read(names[0]) == "edited"
    assert tree_of(checkout, from_commit=True).names() == names
    assert "echo built" in tree_of(checkout, from_commit=True).read(names[0])


def test_a_root_below_the_top_reads_its_own_part_of_the_commit(checkout: Checkout) -> None:
    checkout.write("console/.github/workflows/own.yml", CI)
    checkout.workflow("on: push\n", "top.yml")
    checkout.commit()
    tree = tree_of(checkout, from_commit=True, below="console")
    assert tree.names() == [".github/workflows/own.yml"]
    assert "echo built" in tree.read(".github/workflows/own.yml")


def test_a_commit_without_workflows_has_none(checkout: Checkout) -> None:
    checkout.commit()
    checkout.workflow()
    assert tree_of(checkout, from_commit=True).names() == []


@pytest.mark.parametrize("from_commit", [False, True])
def test_a_missing_file_is_said_as_such(checkout: Checkout, from_commit: bool) -> None:
    checkout.commit()
    with pytest.raises(UsageError, match="no such file"):
        tree_of(checkout, from_commit=from_commit).read(".github/workflows/none.yml")


def test_only_files_are_workflows(checkout: Checkout) -> None:
    checkout.workflow()
    folder = checkout.path / ".github" / "workflows"
    os.mkfifo(folder / "endless.yml")
    (folder / "folder.yml").mkdir()
    (folder / "notes.txt").write_text("")
    checkout.commit()
    assert tree_of(checkout).names() == [".github/workflows/ci.yml"]
    with pytest.raises(UsageError, match="no such file"):
        tree_of(checkout).read(".github/workflows/endless.yml")


def test_text_that_is_not_utf8_says_where(checkout: Checkout) -> None:
    checkout.workflow().write_bytes(b"name: \xff")
    checkout.commit()
    for from_commit in (False, True):
        with pytest.raises(UsageError, match="not valid UTF-8 at byte 6"):
            tree_of(checkout, from_commit=from_commit).read(".github/workflows/ci.yml")


def test_a_huge_file_is_refused(checkout: Checkout) -> None:
    checkout.workflow().write_bytes(b"#" * (8 * 1024 * 1024 + 1))
    checkout.commit()
    with pytest.raises(UsageError, match="larger than"):
        tree_of(checkout).read(".github/workflows/ci.yml")


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ((), ["ci", "release"]),
        (("ci.yml",), ["ci"]),
        (("release",), ["release"]),
        ((".github/workflows/release.yml",), ["release"]),
        ((".github/workflows",), ["ci", "release"]),
        (("release", "ci", "ci.yml"), ["release", "ci"]),
        (("ci-files",), ["other"]),
        (("./ci-files/other.yml",), ["other"]),
    ],
)
def test_workflows_are_chosen_by_name(
    checkout: Checkout, wanted: tuple[str, ...], expected: list[str]
) -> None:
    checkout.workflow()
    checkout.workflow(name="release.yml")
    checkout.write("ci-files/other.yml", "on: push")
    checkout.commit()
    paths = select_paths(tree_of(checkout), wanted, checkout.path, checkout.path)
    assert [Path(path).stem for path in paths] == expected


def test_an_unknown_workflow_names_the_known_ones(checkout: Checkout) -> None:
    checkout.workflow()
    checkout.commit()
    with pytest.raises(UsageError, match=r"deploy\.yml: no such workflow") as caught:
        select_paths(tree_of(checkout), ("deploy.yml",), checkout.path, checkout.path)
    assert "ci.yml" in caught.value.hint


def test_called_workflows_are_loaded_with_their_own_calls(checkout: Checkout) -> None:
    checkout.workflow(calling("./.github/workflows/a.yml", "./.github/workflows/b.yml", called=False))
    checkout.workflow(calling("./.github/workflows/b.yml"), "a.yml")
    checkout.workflow(calling(), "b.yml")
    checkout.commit()
    loaded = load_ci(checkout)
    assert list(loaded.sources) == [
        ".github/workflows/ci.yml",
        "./.github/workflows/a.yml",
        "./.github/workflows/b.yml",
    ]


def test_a_local_call_in_another_repository_means_that_repository(checkout: Checkout) -> None:
    outer = "acme/shared/.github/workflows/outer.yml@v1"
    inner = "acme/shared/.github/workflows/inner.yml@v1"
    checkout.workflow(calling(outer, called=False))
    checkout.workflow("this one is not meant", "inner.yml")
    checkout.commit()
    loaded = load_ci(checkout, {outer: calling("./.github/workflows/inner.yml"), inner: calling()})
    assert set(loaded.sources) == {".github/workflows/ci.yml", outer, inner}


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_cycle_of_calls_is_an_error_with_its_place(checkout: Checkout, length: int) -> None:
    names = ["ci.yml", "b.yml", "c.yml"][:length]
    for index, name in enumerate(names):
        following = names[(index + 1) % length]
        checkout.workflow(calling(f"./.github/workflows/{following}", called=index > 0), name)
    checkout.commit()
    with pytest.raises(InvalidInput, match=r"calls itself: .*ci\.yml") as caught:
        load_ci(checkout)
    assert caught.value.problems[0].position.line == 3


def test_calls_may_be_ten_levels_deep_and_no_more(checkout: Checkout) -> None:
    def chain(levels: int) -> None:
        for level in range(levels):
            name = "ci.yml" if level == 0 else f"l{level}.yml"
            uses = (f"./.github/workflows/l{level + 1}.yml",) if level + 1 < levels else ()
            checkout.workflow(calling(*uses, called=level > 0), name)

    checkout.commit()
    chain(CALL_DEPTH_MAX)
    assert len(load_ci(checkout).sources) == CALL_DEPTH_MAX
    chain(CALL_DEPTH_MAX + 1)
    with pytest.raises(InvalidInput, match="more than 10 levels"):
        load_ci(checkout)


def test_a_workflow_that_is_called_by_many_is_read_once(checkout: Checkout) -> None:
    # Two calls at each of nine levels: 512 ways to the last one.
    checkout.workflow(calling(*["./.github/workflows/l1.yml"] * 2, called=False))
    for level in range(1, 9):
        uses = () if level == 8 else [f"./.github/workflows/l{level + 1}.yml"] * 2
        checkout.workflow(calling(*uses), f"l{level}.yml")
    checkout.commit()
    assert len(load_ci(checkout).sources) == 9


@pytest.mark.parametrize(
    ("uses", "message"),
    [
        ("./.github/workflows/none.yml", "no such file"),
        ("acme/shared/.github/workflows/none.yml@v1", "cannot be fetched"),
    ],
)
def test_a_call_of_nothing_is_an_error_with_its_place(checkout: Checkout, uses: str, message: str) -> None:
    checkout.workflow(calling(uses, called=False))
    checkout.commit()
    with pytest.raises(InvalidInput, match=message) as caught:
        load_ci(checkout)
    assert str(caught.value.problems[0].position).startswith(".github/workflows/ci.yml:3:")
