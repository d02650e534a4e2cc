"""What must hold of a state folder after every crash, read from the journal, the processes and the files."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path

from akashic.engine.codec import decode
from akashic.engine.deployment import EnvironmentState
from akashic.engine.deployment_codec import environment_stream, fold_records
from akashic.engine.events import (
    GateOpened,
    GatePassed,
    GateReopened,
    JobFinished,
    JobInterrupted,
    JobStarted,
    RunFinished,
)
from akashic.executors.host.marker import read_owner
from akashic.executors.host.sweeping import UNCLAIMED_AGE_S
from akashic.journal.sqlite import SqliteJournal
from tests.e2e.small_shop import SmallShop
from tests.waiting import eventually

DRAINING_S = 15


class Aftermath:
    """The state folder of a shop, looked at from outside. Runs that were seen ended are not read again."""

    def __init__(self, shop: SmallShop) -> None:
        self.shop = shop
        self.journal = SqliteJournal(shop.state_dir / "journal.db", read_only=True)
        self.ended: set[str] = set()

    def close(self) -> None:
        self.journal.close()

    def open_runs(self) -> list[str]:
        """Streams of runs that have not ended."""
        found = []
        for stream in self.journal.streams("run/"):
            if stream not in self.ended:
                last = [decode(record) for record in self.journal.read(stream)][-1]
                if isinstance(last, RunFinished):
                    self.ended.add(stream)
                else:
                    found.append(stream)
        return found

    def gate_is_open(self) -> bool:
        """Whether a job of a run waits for the approval of production."""
        return any(self._gate_is_open(stream) for stream in self.open_runs())

    def _gate_is_open(self, stream: str) -> bool:
        waits = False
        for record in self.journal.read(stream):
            event = decode(record)
            if getattr(event, "key", "") == "production":
                if isinstance(event, GateOpened | GateReopened):
                    waits = True
                elif isinstance(event, GatePassed | JobFinished | JobInterrupted):
                    waits = False
        return waits

    def journal_faults(self) -> list[str]:
        return [str(fault) for fault in self.journal.verify()]

    def attempts_started_twice(self) -> list[str]:
        started: Counter[str] = Counter()
        for stream in self.journal.streams("run/"):
            for record in self.journal.read(stream):
                if record.type == JobStarted.__name__:
                    event = decode(record)
                    assert isinstance(event, JobStarted)
                    started[f"{stream} {event.key} attempt {event.attempt}"] += 1
        return [name for name, count in started.items() if count > 1]

    def count_of(self, event: str) -> int:
        """How many records of a type there are."""
        records = self.journal.read_all(records_max=1_000_000)
        return sum(record.type == event for record in records)

    def environment(self, name: str) -> EnvironmentState:
        return fold_records(EnvironmentState(name=name), self.journal.read(environment_stream(name)))

    def deployments_in_between(self) -> list[str]:
        return [
            f"{name} #{found.request.number} is {found.status}"
            for name in self.shop.ports
            for found in self.environment(name).deployments.values()
            if not found.ended
        ]

    def environments_that_lie(self) -> list[str]:
        """Environments that do not answer with what the journal says is promoted."""
        found = []
        for name in self.shop.ports:
            serving = self.environment(name).serving()
            if serving is None:
                continue
            wanted, answers = serving.request.release.version, ""

            def answers_right(name: str = name, wanted: str = wanted) -> bool:
                nonlocal answers
                answers = self.shop.answer(name)
                return answers == wanted

            if not eventually(answers_right, timeout_s=DRAINING_S):
                found.append(f"{name} should serve {wanted} and answers {answers!r}")
        return found

    def leftover_files(self) -> list[str]:
        work = self.shop.state_dir / "work"
        locks = self.shop.state_dir / "locks"
        found = [path for folder in (work, locks) if folder.is_dir() for path in folder.iterdir()]
        return [str(path) for path in found if not _just_begun(path)]

    def orphans(self) -> list[str]:
        """Processes about this state folder that no living supervisor keeps for what serves or stands by;
        what is asked to end has the time that it drains."""
        found: list[str] = []

        def none() -> bool:
            found[:] = self._orphans()
            return not found

        eventually(none, timeout_s=DRAINING_S)
        return found

    def _orphans(self) -> list[str]:
        owned = self._owned()
        needle = str(self.shop.state_dir).encode()
        found = []
        for pid in [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]:
            words = _words(pid)
            if needle in words and pid not in owned and _session(pid) not in owned:
                found.append(f"{pid}: {words[:200]!r}")
        return found

    def _owned(self) -> set[int]:
        """The supervisor, and what it knows that should run."""
        state_file = self.shop.state_dir / "supervisor" / "state.json"
        owned = {os.getpid()}
        if not state_file.exists():
            return owned
        pid = self.shop.supervisor_pid()
        owned |= {pid} if pid else set()
        for environment in json.loads(state_file.read_bytes())["environments"].values():
            processes = [environment["proxy"]]
            processes += [service["process"] for service in environment["services"].values()]
            for name, slot in environment["slots"].items():
                if name in (environment["serving"], environment["standby"]):
                    for instance in slot["instances"]:
                        processes += [instance["process"], instance["log_writer"]]
            owned |= {process["pid"] for process in processes if process}
        return owned


def _just_begun(folder: Path) -> bool:
    """Whether it is a job's folder that was killed before it said whose it is, too young to be swept: one of
    a later round sees it again, and then it must be gone."""
    try:
        age_s = time.time() - folder.lstat().st_mtime
    except OSError:
        return True
    return folder.is_dir() and read_owner(str(folder)) is None and age_s < 2 * UNCLAIMED_AGE_S


def _words(pid: int) -> bytes:
    """Command line, environment and working directory of a process; nothing when it has ended."""
    words = b""
    for name in ("cmdline", "environ"):
        try:
            words += Path(f"/proc/{pid}/{name}").read_bytes() + b"\0"
        except OSError:
            return b""
    try:
        return words + bytes(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return words


def _session(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return pid
