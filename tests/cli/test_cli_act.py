"""What people who come from act type: their flags, their files."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from akashic.cli.act_options import is_refused
from akashic.cli.actrc import actrc_files, with_actrc
from akashic.cli.dispatch import command_parser
from tests.cli.cli_process import Cli, steps

ACT = Path(sys.executable).parent / "act"


def options() -> set[str]:
    return {name for action in command_parser("run")._actions for name in action.option_strings}


@pytest.mark.skipif(not ACT.is_file(), reason="act is not installed beside this Python")
def test_every_flag_of_act_is_taken_or_answered() -> None:
    usage = subprocess.run([ACT, "--help"], capture_output=True, text=True, check=True).stdout
    flags = set(re.findall(r"^\s+(?:-\w, )?(--[a-z-]+)", usage, re.MULTILINE))
    flags |= set(re.findall(r"^\s+(-\w), --", usage, re.MULTILINE))
    assert len(flags) > 60
    assert flags - {"--help", "--version"} - options() == set()


def test_what_is_refused_says_what_to_do(cli: Cli) -> None:
    cli.workflow(steps("true"))
    cli.commit()
    result = cli("run", "--bind")
    assert result.returncode == 2 and "--bind" in result.stderr and "hint:" in result.stderr
    assert is_refused("--bind") and not is_refused("--job")


def test_files_of_act_are_read_in_its_order_and_what_is_typed_wins(tmp_path: Path) -> None:
    home, here = tmp_path / "home", tmp_path / "here"
    for folder in (home / ".config" / "act", here):
        folder.mkdir(parents=True)
    (home / ".config/act/actrc").write_text(
        "-P ubuntu-latest=catthehacker/ubuntu:act-latest\n--actor first\n"
    )
    (home / ".actrc").write_text("# a comment\nnot a flag\n--actor second\n--quiet=false\n--bind\n")
    (here / ".actrc").write_text("--env  A=b c\n--var=HOME_IS=$HOME\n--verbose=true\n")
    said: list[str] = []
    argv = with_actrc(["-j", "x", "--json=true"], here, {"HOME": str(home)}, said.append)
    assert argv == [
        *("--actor", "first", "--actor", "second", "--env", "A=b c", f"--var=HOME_IS={home}", "--verbose"),
        *("-j", "x", "--json"),
    ]
    assert len(said) == 1 and "--bind" in said[0] and str(home / ".actrc") in said[0]
    docker = with_actrc(["--executor", "docker"], here, {"HOME": str(home)}, said.append)
    assert docker[:2] == ["-P", "ubuntu-latest=catthehacker/ubuntu:act-latest"]
    assert len(actrc_files(home, {"HOME": str(home)})) == 2, "one file is read once"


def test_a_run_with_an_actrc(cli: Cli) -> None:
    cli.workflow(steps('echo "$GREETING from $GITHUB_ACTOR"'))
    cli.write(".actrc", "--env GREETING=hello\n--actor octocat\n-P ubuntu-latest=none:1\n")
    cli.commit()
    assert "hello from octocat" in cli("run").stdout


def test_default_branch_and_first_event(cli: Cli) -> None:
    script = 'echo "${{ github.event_name }} ${{ github.event.repository.default_branch }}"'
    cli.workflow(steps(script, head="on: [pull_request, workflow_dispatch]"))
    cli.commit()
    assert "pull_request trunk" in cli("run", "--detect-event", "--defaultbranch", "trunk").stdout


def test_artifacts_are_unpacked_where_act_would_serve_them(cli: Cli) -> None:
    upload = "      - uses: actions/upload-artifact@v4\n        with: {name: words, path: out.txt}\n"
    cli.workflow(steps("echo word > out.txt") + upload)
    cli.commit()
    result = cli("run", "--artifact-server-path", "found")
    assert result.returncode == 0, result.stdout
    (file,) = (cli.path / "found").rglob("out.txt")
    assert file.read_text() == "word\n" and file.parent.name == "words"


def test_validate_bug_report_and_options(cli: Cli) -> None:
    cli.workflow(steps("true"))
    cli.commit()
    assert "1 workflow is valid" in cli("run", "--validate").stdout
    report = cli("run", "--bug-report").stdout
    assert "python: " in report and "isolation: " in report and os.environ["PATH"] not in report
    listed = json.loads(cli("run", "--list-options").stdout)
    assert {"name": "job", "takes_value": True} in [
        {key: item[key] for key in ("name", "takes_value")} for item in listed
    ]
    assert cli("run", "--json", "-l").returncode == 0


MATRIX = "    strategy: {matrix: {os: [linux, mac], v: [1, 1.5, true]}}\n"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("arch:arm", "--matrix arch: no job has this in its matrix"),
        ("os:windows", "--matrix os:windows: no job has this value"),
        ("v:2", "values of v: 1, 1.5, true"),
    ],
)
def test_a_matrix_value_that_no_job_has_is_told(cli: Cli, given: str, message: str) -> None:
    cli.workflow(steps("true", more=MATRIX))
    cli.commit()
    result = cli("run", "--matrix", given)
    assert result.returncode == 2 and message in result.stderr


def test_a_matrix_value_that_only_an_expression_knows_is_not_judged(cli: Cli) -> None:
    cli.workflow(steps("true", more="    strategy: {matrix: {v: \"${{ fromJSON('[1]') }}\"}}\n"))
    cli.commit()
    assert cli("run", "--matrix", "v:1").returncode == 0


def test_the_parser_has_no_two_of_one_name() -> None:
    assert isinstance(command_parser("run"), argparse.ArgumentParser)
