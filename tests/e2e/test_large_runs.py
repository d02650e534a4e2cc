"""Runs at the edges of what is promised: many steps, many jobs, a very long log; and memory stays bounded.

They take minutes, so they run when they are asked for: `make test-slow`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

STEPS = 10_000
JOBS = 256
LINE = "a line of a long log, with nothing to see in it at all"
LOG_BYTES = 1_000_000_000
MEMORY_MB_MAX = 100
"""Twice what a run of two steps takes."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.environ.get("AKASHIC_TEST_SLOW"), reason="takes minutes: make test-slow"),
]

HEAD = "on: push\njobs:\n  job:\n    runs-on: ubuntu-latest\n"


class Ran(NamedTuple):
    code: int
    memory_mb: float
    """The resident peak of the largest process."""
    last_line: str


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], Ran]:
    """Run a workflow in a new repository by the command line."""

    def run(workflow: str) -> Ran:
        repository = tmp_path / "repository"
        (repository / ".github" / "workflows").mkdir(parents=True)
        (repository / ".github" / "workflows" / "large.yml").write_text(workflow)
        who = ("-c", "user.name=test", "-c", "user.email=test@example.org")
        for command in (("init", "-q"), ("add", "-A"), (*who, "commit", "-q", "-m", "large")):
            subprocess.run(("git", *command), cwd=repository, check=True)
        shown = tmp_path / "shown.txt"
        environ = {**os.environ, "HOME": str(tmp_path), "AKASHIC_WARM": "off", "NO_COLOR": "1"}
        with shown.open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, "-m", "akashic", "run", "push", "--quiet"],
                cwd=repository,
                env=environ,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        lines = shown.read_text().splitlines()
        return Ran(child.returncode, usage.ru_maxrss / 1024, lines[-1] if lines else "")

    return run


def test_ten_thousand_steps(run: Callable[[str], Ran]) -> None:
    ran = run(HEAD + "    steps:\n" + "      - run: ':'\n" * STEPS)
    assert ran.code == 0, ran.last_line
    assert "1 of 1 jobs succeeded" in ran.last_line
    assert ran.memory_mb < MEMORY_MB_MAX


def test_a_matrix_of_as_many_jobs_as_github_allows(run: Callable[[str], Ran]) -> None:
    numbers = ", ".join(map(str, range(JOBS)))
    ran = run(
        HEAD
        + f"    strategy:\n      matrix:\n        number: [{numbers}]\n"
        + "    steps:\n      - run: echo ${{ matrix.number }}\n"
    )
    assert ran.code == 0, ran.last_line
    assert f"{JOBS} of {JOBS} jobs succeeded" in ran.last_line
    assert ran.memory_mb < MEMORY_MB_MAX


@pytest.mark.parametrize(
    "script",
    [f"yes '{LINE}' | head -c {LOG_BYTES}", f"head -c {LOG_BYTES} /dev/zero | tr '\\0' x"],
    ids=["many lines", "one line"],
)
def test_a_log_of_a_gigabyte(run: Callable[[str], Ran], script: str, tmp_path: Path) -> None:
    ran = run(HEAD + f"    steps:\n      - run: |\n          {script}\n")
    assert ran.code == 0, ran.last_line
    [log] = (tmp_path / "repository" / ".akashic" / "logs").rglob("*.log")
    assert log.stat().st_size > LOG_BYTES
    assert ran.memory_mb < MEMORY_MB_MAX
