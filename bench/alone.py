"""Figures that have no counterpart in act: start-up, a long history, and delivery."""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from bench import process, workloads
from bench.against_act import environment
from bench.report import Row
from bench.services import services

HISTORY_RUNS = 10_000
HISTORY_RATIO_MAX = 1.1
VERSION_MAX_S = 0.060
ROLLBACK_MAX_S = 2.0
DELIVERY_TIMEOUT_S = 300
ROOT = Path(__file__).parents[1]


def version(folder: Path, scripts: Path, *, runs: int, say: Callable[[str], None]) -> list[Row]:
    """Start-up of the program."""
    environ, output = environment(folder, scripts), folder / "version.txt"
    folder.joinpath("home").mkdir(exist_ok=True)
    times = []
    for number in range(runs + 1):
        taken = process.run(
            [str(scripts / "akashic"), "--version"], cwd=folder, environ=environ, output=output
        )
        if number:
            times.append(taken.wall_s)
            say(f"version: {taken.wall_s:.3f} s")
    return [Row.alone("akashic --version", "s", statistics.median(times), VERSION_MAX_S)]


def history(folder: Path, scripts: Path, *, runs: int, say: Callable[[str], None]) -> list[Row]:
    """The same run in a repository whose journal is new and in one whose journal holds 10,000 runs."""
    workload, environ = workloads.two_steps(), environment(folder, scripts)
    places = {"new": folder / "history" / "new", "long": folder / "history" / "long"}
    command = [str(scripts / "akashic"), "run", "push"]
    times: dict[str, list[float]] = {name: [] for name in places}
    for name, repository in places.items():
        workloads.make_repository(workload, repository)
        process.run(command, cwd=repository, environ=environ, output=folder / "history.txt")
        if name == "long":
            say(f"history: writing {HISTORY_RUNS:,} runs")
            lengthen(repository / ".akashic" / "journal.db", HISTORY_RUNS)
    for _ in range(runs):
        for name, repository in places.items():
            taken = process.run(command, cwd=repository, environ=environ, output=folder / "history.txt")
            times[name].append(taken.wall_s)
            say(f"history: {name} {taken.wall_s:.3f} s")
    new, long = (statistics.median(times[name]) for name in ("new", "long"))
    return [
        Row(
            title=f"a run after {HISTORY_RUNS:,} runs, against one after none",
            act="",
            akashic=f"{long * 1000:.0f} / {new * 1000:.0f} ms",
            measured=long / new,
            budget=HISTORY_RATIO_MAX,
            unit="×",
        )
    ]


def lengthen(database: Path, runs: int) -> None:
    """Append the journal's only run again and again, under new ids, through the journal's own door."""
    from akashic.journal.protocol import NewRecord
    from akashic.journal.sqlite import SqliteJournal

    journal = SqliteJournal(database)
    try:
        stream = journal.streams("run/")[0]
        first = stream.removeprefix("run/")
        records = journal.read(stream)
        for number in range(1, runs + 1):
            # Ids are numbers in the order of time: older ones than the run that is there.
            run_id = str(int(first) - number)
            copies = [
                NewRecord(record.type, _renamed(record.data, run_id, number, first=index == 0))
                for index, record in enumerate(records)
            ]
            journal.append(
                f"run/{run_id}", copies, at=records[0].at, expected_version=0, durable=number == runs
            )
            journal.append(
                "counter/runs",
                [NewRecord("Counted", b"{}")],
                at=records[0].at,
                expected_version=None,
                durable=False,
            )
    finally:
        journal.close()


def _renamed(data: bytes, run_id: str, number: int, *, first: bool) -> bytes:
    if not first:
        return data
    created = json.loads(data)
    created |= {"run_id": run_id, "number": number, "sequence": number}
    return json.dumps(created).encode()


def delivery(folder: Path, scripts: Path, *, runs: int, say: Callable[[str], None]) -> list[Row]:
    """Switches of an environment under load, and a rollback: `bench/delivery.py` measures them."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "delivery.py")],
        cwd=folder,
        env=environment(folder, scripts),
        capture_output=True,
        text=True,
        timeout=DELIVERY_TIMEOUT_S,
    )
    for line in done.stdout.splitlines():
        say(f"delivery: {line}")
    switches = re.search(r"(\d+) switches under (\d+) keep-alive clients", done.stdout)
    requests = re.search(r"(\d+) requests answered, (\d+) failed", done.stdout)
    rollback = re.search(r"rollback: ([\d.]+) s", done.stdout)
    if done.returncode or not (switches and requests and rollback):
        raise process.Failed(
            f"bench/delivery.py ended with {done.returncode}:\n{(done.stdout + done.stderr)[-2000:]}"
        )
    title = f"{switches[1]} switches under {switches[2]} clients, {int(requests[1]):,} requests: failed ones"
    return [
        Row.alone(title, "", float(requests[2]), 0),
        Row.alone("rollback until the old release serves", "s", float(rollback[1]), ROLLBACK_MAX_S),
    ]


ALL = {"version": version, "history": history, "delivery": delivery, "services": services}
OF_INSTALLED = ("version", "history")
"""Those which need no more than a plain installation."""
