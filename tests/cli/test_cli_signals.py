"""What ends `akashic run` from outside: one run is driven in the main thread, several in threads."""

from __future__ import annotations

import itertools
import os
import signal

import pytest

from tests.cli.cli_process import Cli, living, steps
from tests.waiting import eventually

_counter = itertools.count()


def seconds() -> str:
    """A time that no other process of this machine sleeps for."""
    return f"5{os.getpid()}{next(_counter):03d}"


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_ends_all_runs_in_order(cli: Cli, number: signal.Signals, runs: int) -> None:
    time_s = seconds()
    for run in range(runs):
        tidy = "      - {if: always(), run: 'echo tidied'}\n"
        cli.workflow(steps(f"sleep {time_s}") + tidy, name=f"{run}.yml")
    cli.commit()
    process = cli.start("run")
    assert eventually(lambda: len(living(time_s)) >= runs)
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert stdout.count("| tidied") == runs, stdout
    assert stderr.splitlines() == ["cancelling; press Ctrl-C again to end at once …"]
    assert [run["conclusion"] for run in cli.json("runs")] == ["cancelled"] * runs
    assert not living(time_s)
    assert list((cli.path / ".akashic" / "work").iterdir()) == []


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_waits_for_nobody(cli: Cli, second: signal.Signals, runs: int) -> None:
    time_s = seconds()
    for run in range(runs):
        cli.workflow(steps(f"trap '' INT TERM; while true; do sleep {time_s}; done"), name=f"{run}.yml")
    cli.commit()
    process = cli.start("run")
    assert eventually(lambda: len(living(time_s)) >= runs)
    process.send_signal(signal.SIGINT)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("cancelling")
    process.send_signal(second)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr.splitlines() == ["ending at once …"]
    assert not living(time_s)


def test_a_signal_while_it_waits_for_an_approval_ends_a_single_run(cli: Cli) -> None:
    cli.write("akashic.yaml", "environments: {production: {approvals: {reviewers: [eve]}}}\n")
    cli.workflow(
        "on: push\njobs:\n  ship:\n    runs-on: ubuntu-latest\n    environment: production\n"
        "    steps: [{run: echo shipped}]\n"
    )
    cli.commit()
    process = cli.start("run")
    assert process.stdout is not None
    assert any("waits for approval of production" in line for line in process.stdout)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stdout + stderr
    assert "shipped" not in stdout
    assert cli.json("runs")[0]["conclusion"] == "cancelled"
