"""Many processes on one journal at once, some of which are killed: nothing is lost, nothing is done twice.

AKASHIC_STRESS_ACTS says how many things each process does.
"""

from __future__ import annotations

import os
import random
import secrets
import subprocess
import sys
from collections import Counter
from pathlib import Path

from akashic.cancellation import Cancellation
from akashic.engine.codec import decode
from akashic.engine.deployment import EnvironmentState
from akashic.engine.deployment_codec import environment_stream, fold_records
from akashic.engine.state import fold
from akashic.journal.sqlite import SqliteJournal
from tests.crash.stress_worker import Worker
from tests.waiting import eventually

ACTS = int(os.environ.get("AKASHIC_STRESS_ACTS", "12"))
PROCESSES = 4
ROOT = Path(__file__).parents[2]
END_S = 120


def begin(folder: Path, seed: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.crash.stress_worker", str(folder), str(seed), str(ACTS)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_many_processes_drive_cancel_deploy_tidy_and_die(tmp_path: Path) -> None:
    seed = secrets.randbelow(1_000_000)
    chance = random.Random(seed)
    SqliteJournal(tmp_path / "journal.db").close()
    workers = [begin(tmp_path, seed + number) for number in range(PROCESSES)]
    for worker in workers:
        assert worker.stdout is not None and worker.stdout.readline() == "ready\n"
    victim = chance.choice(workers)
    enough = chance.randint(2, 12)
    eventually(lambda: victim.poll() is not None or lines(tmp_path, "started") >= enough)
    victim.kill()
    for worker in workers:
        said, _ = worker.communicate(timeout=END_S)
        assert worker is victim or worker.returncode == 0, f"seed {seed}: {said}"
    last = Worker(tmp_path, 0)
    last.resume()
    check(last, seed)
    last.journal.close()


def check(last: Worker, seed: int) -> None:
    folder, journal = last.folder, last.journal
    assert not (folder / "wrong").exists(), f"seed {seed}: {(folder / 'wrong').read_text()}"
    assert journal.lost_tail() is None and journal.verify() == [], f"seed {seed}"
    runs = journal.streams("run/")
    for stream in runs:
        history = [(decode(record), record.at) for record in journal.read(stream)]
        assert fold(history).finished, f"seed {seed}: {stream} has not ended"
    for name in ("started", "effects"):
        if (folder / name).exists():
            counts = Counter((folder / name).read_text().splitlines())
            twice = [line for line, count in counts.items() if count > 1]
            assert not twice, f"seed {seed}: {name} twice: {twice}"
    records = journal.read(environment_stream("prod"))
    state = fold_records(EnvironmentState(name="prod"), records)
    assert not state.open(), f"seed {seed}: {[found.id for found in state.open()]}"
    assert not [path.name for path in (folder / "locks").iterdir()], f"seed {seed}"
    assert last.driver().drive(runs[0].removeprefix("run/"), Cancellation()).finished


def lines(folder: Path, name: str) -> int:
    path = folder / name
    return path.read_text().count("\n") if path.exists() else 0
