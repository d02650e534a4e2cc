"""`akashic artifact` and `akashic cache`: what is kept can be seen, fetched and removed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from akashic.journal.archive import Member
from akashic.journal.artifacts import ArtifactStore
from akashic.journal.caches import CacheScopes, CacheStore
from tests.cli.cli_process import Cli

WORKFLOW = """
on: push
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - run: mkdir out && echo one > out/a && echo two > out/b
      - uses: actions/upload-artifact@v4
        with: {name: both, path: out}
"""


@pytest.fixture
def ran(cli: Cli) -> Cli:
    cli.workflow(WORKFLOW)
    cli.commit()
    assert cli("run").returncode == 0
    return cli


def lines(result: Any) -> list[Any]:
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_run_s_artifacts_by_its_number(ran: Cli) -> None:
    assert ran("artifact", "list").stdout.rstrip().endswith("files  run 1")
    (found,) = lines(ran("--json", "artifact", "list", "--run", "1"))
    assert (found["name"], found["files"]) == ("both", 2)
    (got,) = lines(ran("--json", "artifact", "get", "both", "--run", "1", "-o", "here"))
    assert got["files"] == 2 and (ran.path / "here" / "b").read_text() == "two\n"
    assert lines(ran("--json", "artifact", "rm", str(found["id"]))) == [{"removed": found["id"]}]
    assert lines(ran("--json", "artifact", "list")) == []


@pytest.mark.parametrize("run", ["2", "../x", "tmp", ".", "a/b"])
def test_a_run_that_is_none_is_told(ran: Cli, run: str) -> None:
    for command in (["list"], ["get", "both"], ["rm", "both"]):
        result = ran("artifact", *command, "--run", run)
        assert (result.returncode, "there is no run" in result.stderr) == (2, True), result.stderr
    assert len(lines(ran("--json", "artifact", "list"))) == 1


def test_a_wrong_name_removes_nothing(ran: Cli) -> None:
    assert ran("artifact", "rm", "both", "other").returncode == 2
    assert len(lines(ran("--json", "artifact", "list"))) == 1


@pytest.fixture
def cached(cli: Cli) -> Cli:
    store = CacheStore(cli.path / ".akashic" / "caches")
    (cli.path / "f").write_text("x")
    for key, ref in (
        ("deps-1", "refs/heads/main"),
        ("deps-2", "refs/pull/7/merge"),
        ("tools", "refs/heads/main"),
    ):
        scopes = CacheScopes(read=(ref,), write=ref)
        store.save(key, "v", scopes, [Member(name="workspace/f", path=str(cli.path / "f"))])
    return cli


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        (["deps-1"], {"deps-2", "tools"}),
        (["--key", "deps-"], {"tools"}),
        (["--ref", "refs/pull/7/merge"], {"deps-1", "tools"}),
        (["--key", "deps-", "--ref", "refs/heads/main"], {"deps-2", "tools"}),
        (["--all"], set()),
    ],
)
def test_caches_are_removed_by_name_key_or_scope(cached: Cli, asked: list[str], left: set[str]) -> None:
    removed = lines(cached("--json", "cache", "rm", *asked))
    kept = {entry["key"] for entry in lines(cached("--json", "cache", "list"))}
    assert kept == left and len(removed) == 3 - len(left)


@pytest.mark.parametrize("asked", [[], ["deps-1", "--all"], ["deps-1", "--key", "x"], ["deps-1", "nothing"]])
def test_what_is_not_clear_removes_no_cache(cached: Cli, asked: list[str]) -> None:
    assert cached("cache", "rm", *asked).returncode == 2
    assert len(lines(cached("--json", "cache", "list"))) == 3


def test_attack_38_names_that_jobs_chose_cannot_write_to_the_terminal(cli: Cli) -> None:
    (cli.path / "f").write_text("x")
    member = Member(name="workspace/f", path=str(cli.path / "f"))
    scopes = CacheScopes(read=("r",), write="r")
    CacheStore(cli.path / ".akashic" / "caches").save("\x1b[2Jkey\x9b", "v", scopes, [member])
    ArtifactStore(cli.path / ".akashic" / "artifacts").create(
        "a\x7f\x9b2J", [member], run_id="1", run_attempt=1
    )
    for command in (
        ["cache", "list"],
        ["artifact", "list"],
        ["cache", "rm", "--all"],
        ["artifact", "rm", "1"],
    ):
        result = cli(*command)
        assert result.returncode == 0 and result.stdout.strip()
        assert not any(c in result.stdout for c in "\x1b\x9b\x7f"), command
