"""Akashic against act with jobs in containers: both take the same image, which lies in the engine already."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from bench import against_act, process
from bench.report import Row
from bench.workloads import HEAD, Workload, job

MATRIX_JOBS = 8


def _base_image():  # type: ignore[no-untyped-def]
    path = Path(__file__).parents[1] / "scripts" / "base_image.py"
    spec = importlib.util.spec_from_file_location("base_image", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def three_steps() -> Workload:
    return Workload(
        name="docker-steps",
        title="in a container: one job, three steps",
        budget=0.5,
        workflow=HEAD
        + job("hello", [f"echo the {number} is done" for number in ("first", "second", "third")]),
        expected={f"| the {number} is done": 1 for number in ("first", "second", "third")},
        runs=9,
    )


def matrix() -> Workload:
    numbers = ", ".join(str(number) for number in range(MATRIX_JOBS))
    return Workload(
        name="docker-matrix",
        title=f"in containers: matrix of {MATRIX_JOBS} jobs, two steps each",
        budget=0.5,
        workflow=HEAD
        + "  cell:\n    runs-on: ubuntu-latest\n    strategy:\n      matrix:\n"
        + f"        number: [{numbers}]\n    steps:\n"
        + "".join(f"      - run: echo cell ${{{{ matrix.number }}}} part {part}, done\n" for part in "ab"),
        expected={f"| cell {number} part b, done": 1 for number in range(MATRIX_JOBS)},
        runs=5,
    )


def services() -> Workload:
    """A job in a container with two services and health checks, as the platform's own workflow has them."""
    images = _base_image()
    check = "--health-interval 10s --health-timeout 5s --health-retries 5"
    workflow = HEAD + (
        f"  data:\n    runs-on: ubuntu-latest\n    container: {images.REDIS}\n    services:\n"
        f"      redis:\n        image: {images.REDIS}\n"
        f'        options: --health-cmd "redis-cli ping" {check}\n'
        f"      postgres:\n        image: {images.POSTGRES}\n        env:\n          POSTGRES_PASSWORD: x\n"
        f'        options: --health-cmd "pg_isready -U postgres -h localhost" {check}\n'
        "    steps:\n      - run: redis-cli -h redis ping\n"
        "      - run: (exec 3<>/dev/tcp/postgres/5432) && echo postgres answers\n        shell: bash\n"
    )
    return Workload(
        name="docker-services",
        title="in containers: a job with two services and health checks",
        budget=0.6,
        workflow=workflow,
        expected={"| PONG": 1, "| postgres answers": 1},
        runs=3,
    )


ALL = (three_steps, matrix, services)


def commands(workload: Workload, scripts: Path) -> dict[str, list[str]]:
    """How each tool is asked for the same work."""
    platform = ["-P", f"ubuntu-latest={_base_image().BASE}"]
    return {
        "act": [str(scripts / "act"), "push", *platform, "--pull=false"],
        "akashic": [
            str(scripts / "akashic"),
            "run",
            "push",
            "--executor",
            "docker",
            *platform,
            "--pull=false",
        ],
    }


def compare(
    workload: Workload, folder: Path, scripts: Path, *, runs: int, say: Callable[[str], None]
) -> list[Row]:
    """The rows of one workload. Raises process.Failed where there is no engine or no image."""
    script = Path(__file__).parents[1] / "scripts" / "base_image.py"
    made = subprocess.run(
        [str(scripts / "python"), str(script)], capture_output=True, text=True, env=dict(os.environ)
    )
    if made.returncode:
        raise process.Failed(made.stderr.strip()[-1000:])
    # Memory is the engine's here, whoever asks it; the tools' own says nothing of a job.
    time_row, *_ = against_act.compare(workload, folder, scripts, runs=runs, say=say, commands=commands)
    return [time_row]
