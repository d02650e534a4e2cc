"""`akashic lint` in each of its formats, as a whole: people and tools read these."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from akashic.errors import EXIT_FAILED, EXIT_OK, EXIT_USAGE
from tests.cli.cli_process import Cli

GOLDEN = Path(__file__).with_name("golden")
WORKFLOW = """\
name: Bad % workflow
on: issues
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - run: |
          echo one
          echo "${{ github.event.issue.title }}"
      - {id: b, run: x, shel: bash}
      - run: echo ${{ steps.c.outputs.x }}, ${{ matrix.y }}
      - uses: actions/checkout@v4
        with: {fetch-dept: 0}
"""


@pytest.mark.parametrize("form", ["text", "json", "sarif", "github"])
def test_a_format_as_a_whole(cli: Cli, form: str) -> None:
    cli.write(".github/workflows/bad.yml", WORKFLOW)
    result = cli("lint", "--format", form)
    assert result.returncode == EXIT_FAILED
    if form in ("json", "sarif"):
        json.loads(result.stdout)
    path = GOLDEN / f"lint.{form}"
    if os.environ.get("AKASHIC_WRITE_GOLDEN"):
        path.write_text(result.stdout, encoding="utf-8")
    hint = f"{path.name} differs: look at it, then write it anew with AKASHIC_WRITE_GOLDEN=1"
    assert result.stdout == path.read_text(encoding="utf-8"), hint


def test_warnings_alone_are_no_failure(cli: Cli) -> None:
    text = "on: push\nenv: {A B: 1}\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n"
    cli.write(".github/workflows/warn.yml", text)
    assert cli("lint").returncode == EXIT_OK


def test_an_actions_file_is_checked_as_one(cli: Cli) -> None:
    text = "name: a\nruns: {using: composite, steps: [{run: 'echo ${{ github.head_ref }}', shell: bash}]}\n"
    cli.write("act/action.yml", text)
    result = cli("lint", "act/action.yml")
    assert result.returncode == EXIT_FAILED
    assert "act/action.yml:2:50: error:" in result.stdout and "[script-injection]" in result.stdout


def test_a_folder_stands_for_the_workflows_in_it(cli: Cli) -> None:
    cli.write("ci/bad.yml", WORKFLOW)
    cli.write("ci/readme.md", "no workflow")
    result = cli("lint", "ci")
    assert result.returncode == EXIT_FAILED and "ci/bad.yml:" in result.stdout
    assert "readme" not in result.stdout
    cli.write("empty/x.md", "")
    assert cli("lint", "empty").returncode == EXIT_USAGE


def test_what_is_no_file_is_told(cli: Cli) -> None:
    assert cli("lint", "nowhere.yml").returncode == EXIT_USAGE
