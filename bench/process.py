"""Runs one command to its end and says what it took: wall time of the whole process, and peak memory."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TIMEOUT_S = 600


class Failed(Exception):
    """A measured command did not do its work, so its time means nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """`wall_s` from start to the end of the process; `memory_mb` is the resident peak of its largest process,
    children included; `output` is the file with what it printed."""

    wall_s: float
    memory_mb: float
    output: Path


def run(command: Sequence[str], *, cwd: Path, environ: Mapping[str, str], output: Path) -> Taken:
    """Run `command` with its output in a file, as a CI system would. Raises Failed when it ends badly."""
    with output.open("wb") as sink, open(os.devnull, "rb") as nothing:
        started = time.perf_counter()
        pid = os.posix_spawnp(
            "env",
            ["env", f"--chdir={cwd}", *command],
            dict(environ),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, sink.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, sink.fileno(), 2),
            ],
        )
        previous = signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGTERM))
        signal.alarm(TIMEOUT_S)
        try:
            _, status, usage = os.wait4(pid, 0)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, previous)
        wall_s = time.perf_counter() - started
    code = os.waitstatus_to_exitcode(status)
    if code != 0:
        tail = output.read_bytes()[-2000:].decode(errors="replace")
        raise Failed(f"{' '.join(command)} ended with {code}:\n{tail}")
    return Taken(wall_s=wall_s, memory_mb=usage.ru_maxrss / 1024, output=output)
