"""Whether a person asks, or a process that a job started: a review is a person's.

What a job starts keeps its parents, so the way up tells, whatever the process made of its own environment. An
isolated job's first process is marked too, and it is the parent of all that cut themselves off from theirs.
It is no boundary where jobs run as the user who reviews: without isolation a process can cut itself off from
its parents, and any can write to the state folder as that user can. What a job must not be able to approve
runs as another user.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

ANCESTORS_MAX = 1000


def inside_a_job(environ: Mapping[str, str], state_dir: Path, *, pid: int | None = None) -> bool:
    """Whether this process (or `pid`) belongs to a job of the runs that `state_dir` holds: by its own
    variables, or by those that an ancestor was started with."""
    if environ.get("AKASHIC_JOB"):
        return True
    if _is_walled_off():
        return True
    mark = b"AKASHIC_STATE=" + os.fsencode(state_dir.resolve())
    return any(
        mark in variables and any(one.startswith(b"AKASHIC_JOB=") for one in variables)
        for variables in _started_with(os.getpid() if pid is None else pid)
    )


def _started_with(pid: int) -> Iterator[list[bytes]]:
    """What a process, its ancestors and the first process of its namespace were started with."""
    for _ in range(ANCESTORS_MAX):
        if pid <= 0:
            break
        yield _environment(pid)
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError, ValueError):
            break
    # A step is started from outside of its namespace, so its own parent is not seen there.
    yield _environment(1)


def _is_walled_off() -> bool:
    """Whether a user namespace of its own keeps this process from seeing what it runs in: a step can make one
    for itself, and nobody else can tell what is outside."""
    try:
        if Path("/proc/self/uid_map").read_text().split() == ["0", "0", str(2**32 - 1)]:
            return False
        Path("/proc/1/environ").read_bytes()
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _environment(pid: int) -> list[bytes]:
    """Variables as they were at the start; none of another user's process."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []
