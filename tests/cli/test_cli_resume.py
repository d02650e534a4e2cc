"""`akashic resume` of a failed run: at the step that failed, in its workspace, from end to end."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from akashic.executors.host.marker import OWNER_FILE, Owner, boot_id
from tests.cli.cli_process import Cli, steps

JOB = """
on: push
jobs:
  build:
    runs-on: ubuntu-latest
    outputs:
      version: ${{ steps.version.outputs.version }}
    steps:
      - uses: actions/checkout@v4
      - id: version
        run: |
          echo version=1.2.3 >> "$GITHUB_OUTPUT"
          echo "COLOUR=green" >> "$GITHUB_ENV"
          echo "TOKEN=$GIVEN" >> "$GITHUB_ENV"
          echo "$PWD/bin" >> "$GITHUB_PATH"
          echo earlier >> made.txt
          mkdir bin && printf '#!/bin/sh\\necho the tool\\n' > bin/tool && chmod +x bin/tool
          echo private > /tmp/note
        env:
          GIVEN: ${{ secrets.GIVEN }}
      - run: |
          tool
          echo "$COLOUR ${{ steps.version.outputs.version }} ${{ steps.version.outcome }} $TOKEN"
          cat made.txt /tmp/note
          grep good app.txt
      - run: echo the last step
  after:
    needs: build
    runs-on: ubuntu-latest
    steps:
      - run: echo "received ${{ needs.build.outputs.version }}"
"""


@pytest.fixture
def failed(cli: Cli) -> Cli:
    """A checkout whose first run has failed at its third step."""
    cli.workflow(JOB)
    cli.write("app.txt", "bad\n")
    cli.commit()
    result = cli("run", "-s", "GIVEN=hunter22secret")
    assert result.returncode == 1, result.stdout
    assert "akashic resume 1" in result.stdout.splitlines()[-1]
    return cli


def kept(cli: Cli) -> list[Path]:
    return sorted((cli.path / ".akashic" / "kept").glob("*.json"))


def test_a_run_goes_on_at_the_step_that_failed_with_what_earlier_steps_left(failed: Cli) -> None:
    failed.write("app.txt", "good\n")
    result = failed("resume", "1", "-s", "GIVEN=hunter22secret")
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert "[build]   | changed since: app.txt" in lines
    assert "[build]   | the tool" in lines
    assert "[build]   | green 1.2.3 success ***" in lines
    assert lines.count("[build]   | earlier") == 1, "an earlier step ran again, or its file is gone"
    assert "[build]   | private" in lines
    assert "[build]   | the last step" in lines
    assert "[after]   | received 1.2.3" in lines
    assert any("not run again: as in attempt 1" in line for line in lines)
    assert sum("Post actions/checkout@v4" in line for line in lines) == 1
    assert kept(failed) == [] and list((failed.path / ".akashic" / "work").iterdir()) == []


def test_the_corrected_workflow_is_what_goes_on(failed: Cli) -> None:
    failed.workflow(JOB.replace("grep good app.txt", "grep bad app.txt").replace("the last", "the edited"))
    result = failed("resume", "1", "-s", "GIVEN=hunter22secret")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "[build]   | the edited step" in result.stdout


def test_a_workflow_that_changed_in_what_has_run_is_refused(failed: Cli) -> None:
    failed.workflow(JOB.replace("version=1.2.3", "version=1.2.4"))
    result = failed("resume", "1", "-s", "GIVEN=hunter22secret")
    assert result.returncode == 2
    assert "step 2 of job build, which has run already, has changed" in result.stderr
    assert len(kept(failed)) == 1, "a refusal must leave the workspace"


def test_no_secret_is_written_and_a_missing_one_spoils_nothing(failed: Cli) -> None:
    for path in (failed.path / ".akashic").rglob("*"):
        if path.is_file():
            assert b"hunter22secret" not in path.read_bytes(), path
    (file,) = kept(failed)
    assert file.stat().st_mode & 0o777 == 0o600 and file.parent.stat().st_mode & 0o777 == 0o700
    result = failed("resume", "1")
    assert result.returncode == 1 and "give it again with --secret" in result.stdout
    failed.write("app.txt", "good\n")
    assert failed("resume", "1", "-s", "GIVEN=hunter22secret").returncode == 0


def test_a_second_failure_can_be_taken_up_too(failed: Cli) -> None:
    failed.write("other.txt", "still not it\n")
    assert failed("resume", "1", "-s", "GIVEN=hunter22secret").returncode == 1
    failed.write("app.txt", "good\n")
    result = failed("resume", "1", "-s", "GIVEN=hunter22secret")
    assert result.returncode == 0, result.stdout
    assert result.stdout.count("[build]   | earlier") == 1
    assert "not run again: as in attempt 1" in result.stdout


def test_killing_a_resumed_run_leaves_nothing_and_the_job_begins_anew(cli: Cli) -> None:
    cli.workflow(steps("echo first >> count; cat count", "test -e go || exit 1; sleep 300"))
    cli.commit()
    assert cli("run").returncode == 1
    (place,) = (cli.path / ".akashic" / "work").iterdir()
    cli.workflow(steps("echo first >> count; cat count", "echo here; sleep 300"))
    process = cli.start("resume", "1")
    assert process.stdout is not None
    while "| here" not in process.stdout.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    cli.workflow(steps("echo first >> count; cat count", "true"))
    result = cli("cancel", "1")
    assert result.returncode == 0, result.stderr
    assert cli("resume", "1").returncode in (1, 130)
    assert not place.exists() and kept(cli) == []
    assert cli("journal", "verify").returncode == 0


def test_nothing_is_kept_when_nobody_wants_it(cli: Cli) -> None:
    cli.workflow(steps("false"))
    cli.commit()
    result = cli("run", "--no-keep")
    assert result.returncode == 1 and "akashic resume" not in result.stdout
    result = cli("resume", "1")
    assert result.returncode == 2 and "akashic rerun 1 --failed" in result.stderr


def test_only_the_newest_places_are_kept(cli: Cli) -> None:
    from akashic.executors.host.keeping import KEPT_MAX

    cells = ", ".join(str(number) for number in range(KEPT_MAX + 2))
    strategy = f"\n    strategy: {{fail-fast: false, matrix: {{n: [{cells}]}}}}"
    text = steps("false").replace("runs-on: ubuntu-latest", "runs-on: ubuntu-latest" + strategy)
    cli.workflow(text)
    cli.commit()
    assert cli("run").returncode == 1
    assert len(kept(cli)) == KEPT_MAX
    assert len(list((cli.path / ".akashic" / "work").iterdir())) == KEPT_MAX


def test_what_is_too_old_is_swept(failed: Cli) -> None:
    from akashic.executors.host.keeping import KEPT_AGE_S_MAX

    (file,) = kept(failed)
    facts: dict[str, Any] = json.loads(file.read_bytes())
    facts["kept_at"] = time.time() - KEPT_AGE_S_MAX - 1
    file.write_text(json.dumps(facts))
    failed.workflow(steps("true"))
    assert failed("run").returncode == 0
    assert kept(failed) == [] and list((failed.path / ".akashic" / "work").iterdir()) == []


def test_the_post_step_of_a_cache_inside_a_composite_action_saves_after_the_resumption(cli: Cli) -> None:
    cli.write(
        ".github/actions/setup/action.yml",
        """
name: setup
description: a cache
runs:
  using: composite
  steps:
    - uses: actions/cache@v4
      with:
        path: store
        key: the-key
    - run: mkdir -p store && echo kept > store/file
      shell: bash
""",
    )
    text = steps("exit 1").replace(
        "      - run",
        "      - uses: actions/checkout@v4\n      - uses: ./.github/actions/setup\n      - run",
        1,
    )
    cli.workflow(text)
    cli.commit()
    assert cli("run").returncode == 1
    assert cli("cache", "list").stdout.count("the-key") == 0
    cli.workflow(text.replace("exit 1", "true"))
    result = cli("resume", "1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "the-key" in cli("cache", "list").stdout


def test_services_begin_anew_and_every_job_that_failed_is_taken_up(cli: Cli) -> None:
    text = """
on: push
jobs:
  one:
    runs-on: ubuntu-latest
    steps: [{run: touch here}, {run: "test -e here && exit 1"}]
  two:
    runs-on: ubuntu-latest
    steps: [{run: touch here}, {run: "test -e here && exit 1"}]
"""
    cli.workflow(text)
    cli.commit()
    assert cli("run").returncode == 1
    cli.workflow(text.replace("&& exit 1", ""))
    result = cli("resume", "1")
    assert result.returncode == 0, result.stdout
    assert result.stdout.count("not run again") == 2


def test_reports_of_steps_that_are_not_run_again_stay_and_can_be_read(cli: Cli) -> None:
    xml = "<testsuite name='unit'><testcase name='a'/></testsuite>"
    cli.workflow(steps(f'echo "{xml}" > junit.xml', "exit 1"))
    cli.commit()
    assert cli("run").returncode == 1
    cli.workflow(steps(f'echo "{xml}" > junit.xml', "true"))
    result = cli("resume", "1")
    assert result.returncode == 0 and "unit (junit.xml): 1 passed" in result.stdout
    logs = cli("logs", "1")
    assert "junit.xml: 1 passed" in logs.stderr and "akashic logs 1 --report junit.xml" in logs.stderr
    assert cli("logs", "1", "--report", "junit.xml").stdout == xml + "\n"
    missing = cli("logs", "1", "--report", "other.xml")
    assert missing.returncode == 2 and "its reports: junit.xml" in missing.stderr


AS_NOBODY_SPECIAL = ("unshare", "--user", "--map-user=1000", "--map-group=1000")


def test_it_works_without_root(cli: Cli) -> None:
    if subprocess.run([*AS_NOBODY_SPECIAL, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespace can be made here")

    def akashic(*argv: str) -> subprocess.CompletedProcess[str]:
        command = [*AS_NOBODY_SPECIAL, sys.executable, "-m", "akashic", *argv]
        return subprocess.run(
            command, cwd=cli.path, env=cli.env, capture_output=True, text=True, check=False, timeout=60
        )

    script = "git log --oneline; echo one >> app.txt; mkdir made; touch made/file; rm other.txt; mv sub moved"
    text = steps(
        script, "cat app.txt; test -e made/file && test ! -e other.txt && test -e moved/x; grep good app.txt"
    )
    cli.workflow(text.replace("    steps:\n", "    steps:\n      - uses: actions/checkout@v4\n"))
    for name in ("app.txt", "other.txt", "sub/x"):
        cli.write(name, "bad\n")
    cli.commit()
    failed = akashic("run")
    assert failed.returncode == 1, failed.stdout + failed.stderr
    left = [one for one in (cli.path / ".akashic").rglob("*") if one.is_dir() and not one.is_symlink()]
    closed = [one for one in left if one.stat().st_mode & 0o700 != 0o700]
    assert closed == [], "`rm -rf .akashic` would fail"
    cli.write("app.txt", "good\n")
    result = akashic("resume", "1")
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_job_of_an_environment_keeps_the_files_that_passed_its_gate(cli: Cli) -> None:
    text = steps("test -e go", more="    environment: staging\n")
    text = text.replace("    steps:\n", "    steps:\n      - uses: actions/checkout@v4\n")
    cli.workflow(text)
    cli.write("akashic.yaml", "environments:\n  staging: {}\n")
    cli.write("app.txt", "approved\n")
    cli.commit()
    failed = cli("run")
    assert failed.returncode == 1, failed.stdout + failed.stderr
    cli.write("app.txt", "changed\n")
    cli.workflow(text.replace("test -e go", "cat app.txt"))
    result = cli("resume", "1")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "| approved" in result.stdout and "changed since" not in result.stdout


def test_a_job_that_masked_a_value_of_its_own_is_not_kept(cli: Cli) -> None:
    cli.workflow(steps("echo ::add-mask::found-on-the-way; echo X=found-on-the-way >> $GITHUB_ENV", "exit 1"))
    cli.commit()
    result = cli("run")
    assert result.returncode == 1 and "akashic resume" not in result.stdout
    assert kept(cli) == [] and list((cli.path / ".akashic" / "work").iterdir()) == []


UPLOADS = """
on: push
jobs:
  measure:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: grep good app.txt
      - uses: actions/upload-artifact@v4
        with: { name: measured-late, path: app.txt }
  early:
    runs-on: ubuntu-latest
    steps:
      - run: echo early > early.txt
      - uses: actions/upload-artifact@v4
        with: { name: measured-early, path: early.txt }
  together:
    needs: [measure, early]
    runs-on: ubuntu-latest
    steps:
      - uses: actions/download-artifact@v4
        with: { pattern: measured-*, merge-multiple: true }
      - run: cat app.txt early.txt && echo "attempt ${{ github.run_attempt }}"
"""


def test_jobs_after_a_resumed_one_find_what_it_uploaded(cli: Cli) -> None:
    """An attempt of the run is not an attempt of a job: `together` starts for the first time."""
    cli.workflow(UPLOADS)
    cli.write("app.txt", "bad\n")
    cli.commit()
    assert cli("run").returncode == 1
    cli.write("app.txt", "good\n")
    result = cli("resume", "1")
    assert result.returncode == 0, result.stdout + result.stderr
    lines = result.stdout.splitlines()
    assert {"[together]   | good", "[together]   | early", "[together]   | attempt 2"} <= set(lines)


def test_what_a_killed_process_left_of_its_jobs_goes_though_no_run_is_open(cli: Cli) -> None:
    cli.workflow(steps("true"))
    cli.commit()
    assert cli("run").returncode == 0
    left = cli.path / ".akashic" / "work" / "0123456789ab"
    (left / "shop").mkdir(parents=True)
    ended = subprocess.Popen(["true"])
    ended.wait()
    owner = Owner(pid=ended.pid, started=1, boot=boot_id(), mark=left.name)
    (left / OWNER_FILE).write_bytes(msgspec.json.encode(owner))
    assert "nothing to resume" in cli("resume").stdout
    assert not left.exists()
