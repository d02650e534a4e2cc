"""`akashic` where something is missing that everybody has: a shell, a home, an output, a plain path."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.cli_process import Cli


def _tools_without(folder: Path, *missing: str) -> str:
    """A folder for PATH with what a step needs, and without `missing`."""
    folder.mkdir()
    for name in ("bash", "cat", "git", "sh"):
        found = shutil.which(name)
        if found and name not in missing:
            (folder / name).symlink_to(found)
    return str(folder)


@pytest.fixture
def shop(cli: Cli) -> Cli:
    cli.workflow()
    cli.commit()
    return cli


def test_sh_runs_scripts_where_there_is_no_bash(cli: Cli, tmp_path: Path) -> None:
    cli.workflow('on: push\njobs: {j: {runs-on: x, steps: [{run: "echo by ${BASH_VERSION:-sh}"}]}}')
    cli.commit()
    cli.env["PATH"] = _tools_without(tmp_path / "tools", "bash")

    done = cli("run")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "shell: /usr/bin/sh -e {0}" in done.stdout


def test_without_git_it_is_said_what_is_missing(shop: Cli, tmp_path: Path) -> None:
    shop.env["PATH"] = _tools_without(tmp_path / "tools", "git")

    done = shop("run")

    assert done.returncode == 2
    assert done.stderr == "error: git is not on PATH\n\nhint: install git\n"


@pytest.mark.parametrize("home", ["/dev/null", "relative"])
def test_a_home_that_cannot_be_used_is_done_without(shop: Cli, home: str) -> None:
    shop.env["HOME"] = home

    done = shop("run")

    assert done.returncode == 0, done.stdout + done.stderr
    assert not (shop.path / "relative").exists()


@pytest.mark.parametrize("closed", [(1,), (0, 1, 2)], ids=str)
@pytest.mark.parametrize("argv", [("run",), ("--version",), ("no-command",)], ids=" ".join)
def test_closed_streams_are_no_matter(shop: Cli, argv: tuple[str, ...], closed: tuple[int, ...]) -> None:
    redirections = " ".join(f"{fd}>&-" for fd in closed)
    command = f'exec "$0" -m akashic "$@" {redirections}'

    done = subprocess.run(
        ("sh", "-c", command, sys.executable, *argv),
        cwd=shop.path, env=shop.env, stderr=subprocess.PIPE, text=True, timeout=60,
    )  # fmt: skip

    assert done.returncode == (2 if argv == ("no-command",) else 0), done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("argv", [("--version",), ("--help",), ("plan",)], ids=" ".join)
def test_an_output_that_takes_nothing_is_told_of(shop: Cli, argv: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            (sys.executable, "-m", "akashic", *argv),
            cwd=shop.path, env=shop.env, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60,
        )  # fmt: skip

    assert done.returncode == 1
    assert done.stderr.startswith("error: No space left on device\n\nhint: ")


@pytest.mark.parametrize("name", ["two\nlines", "com,ma", "co:lon", "a $dollar", 'quo"te', "back\\slash"])
def test_a_checkout_may_have_any_name(name: str, tmp_path: Path) -> None:
    cli = Cli(tmp_path / name, tmp_path / "home")
    cli.workflow("on: push\njobs: {j: {runs-on: x, steps: [{uses: actions/checkout@v4}, {run: cat mark}]}}")
    cli.write("mark", "the mark of this checkout\n")
    cli.commit()

    done = cli("run")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "the mark of this checkout" in done.stdout


def test_a_path_that_is_no_text_is_refused_in_words(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    cli = Cli(folder, tmp_path / "home")
    cli.workflow()
    cli.commit()

    done = cli("run")

    assert done.returncode == 2
    assert f"error: {tmp_path}/caf\\xe9: this path is no UTF-8" in done.stderr
    assert "hint: rename the folder" in done.stderr


def test_a_bare_repository_is_told_from_none(shop: Cli, tmp_path: Path) -> None:
    shop.git("clone", "--quiet", "--bare", ".", str(tmp_path / "bare"))

    done = shop("-C", str(tmp_path / "bare"), "run")

    assert done.returncode == 2
    assert "bare: a bare repository has no files to run workflows from" in done.stderr
