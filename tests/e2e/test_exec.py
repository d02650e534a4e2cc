"""`akashic exec`: a command in the place of what an environment serves."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.small_shop import SmallShop
from tests.waiting import eventually


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SmallShop]:
    made = SmallShop(tmp_path, production=False)
    yield made
    made.close()


def test_a_command_runs_in_the_place_of_the_release(shop: SmallShop) -> None:
    nothing = shop("exec", "staging", "--", "true")
    assert (nothing.returncode, "serves nothing here" in nothing.stderr) == (1, True)
    commit = shop.release("Works")
    assert shop("up").returncode == 0
    script = "import json, os, sys; ways = open('ways.json'); print(os.environ['APP_VERSION'], *sys.argv[1:])"
    told = shop("exec", "STAGING", "-e", "A=1", "--", "python", "-c", script, "--json", "a b")
    assert (told.returncode, told.stdout) == (0, f"{commit[:12]} --json a b\n"), told.stderr
    # Neither what tells an instance's process, nor its port: it is none.
    shown = shop("exec", "staging", "-e", "A=1", "-e", "HERE", "--", "env", env={"HERE": "yes"}).stdout
    names = {line.partition("=")[0]: line.partition("=")[2] for line in shown.splitlines()}
    assert (names["A"], names["HERE"]) == ("1", "yes")
    assert not {"PORT", "AKASHIC_SUPERVISED", "AKASHIC_INSTANCE"} & set(names)
    assert shop("exec", "staging", "--", "sh", "-c", "exit 7").returncode == 7
    assert shop("exec", "staging", "--", "sh", "-c", "kill -9 $$").returncode == 137
    assert shop("exec", "staging", "--", "cat", given="what is typed").stdout == "what is typed"
    for argv, message in (
        (("staging", "--", "no-such-program"), "no such program"),
        (("staging", "-e", "NOT_SET", "--", "env"), "it is not set here"),
        (("nowhere", "--", "env"), "serves nothing here"),
        (("staging",), "COMMAND"),
    ):
        wrong = shop("exec", *argv)
        assert wrong.returncode in (1, 2) and message in wrong.stderr, wrong.stderr


def test_a_job_cannot_run_commands_in_an_environment(shop: SmallShop) -> None:
    shop.release("Works")
    assert shop("up").returncode == 0
    shop.workflow(
        "on: push\njobs: {a: {runs-on: x, steps: [{run: env -u AKASHIC_JOB akashic exec staging -- env}]}}\n",
        "deliver.yml",
    )
    shop.commit("Try")
    result = shop("run", "--sandbox", "off")
    assert result.returncode == 1 and "only deployments pass its gates" in result.stdout, result.stdout
    assert "APP_VERSION" not in result.stdout


def test_ctrl_c_is_the_command_s(shop: SmallShop, tmp_path: Path) -> None:
    shop.release("Works")
    assert shop("up").returncode == 0
    ready = tmp_path / "ready"
    script = f"trap 'echo caught; exit 5' INT; touch {ready}; while :; do sleep 0.05; done"
    process = shop.start("exec", "staging", "--", "sh", "-c", script, start_new_session=True)
    eventually(ready.exists)
    os.killpg(process.pid, signal.SIGINT)
    stdout, _ = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (5, "caught\n")
