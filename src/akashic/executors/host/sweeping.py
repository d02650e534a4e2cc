"""Removing what killed processes of ours left: processes that carry a sandbox's mark, and its folder."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence

from akashic.executors.host.keeping import is_kept
from akashic.executors.host.marker import is_alive, read_owner, start_time
from akashic.executors.host.sandbox_folder import remove_folder

AGENT_TIMEOUT_S = 5.0
UNCLAIMED_AGE_S = 10.0
"""A folder without an owner is a crash between two system calls, or one that is being made right now."""


def sweep(work: str) -> Sequence[str]:
    """Remove every sandbox below `work` whose owner is gone and that is not kept; a line for each. Safe next
    to running ones."""
    try:
        names = sorted(os.listdir(work))
    except FileNotFoundError:
        return ()
    removed = []
    for name in names:
        owner = read_owner(f"{work}/{name}")
        if remove_if_dead(f"{work}/{name}"):
            whose = f" of job {owner.job_key} in run {owner.run_id}" if owner is not None else ""
            removed.append(f"removed the sandbox {name}{whose}")
    return removed


def remove_if_dead(folder: str) -> bool:
    """Remove one sandbox unless its owner lives or it is kept; whether it was removed."""
    if is_kept(os.path.dirname(folder), os.path.basename(folder)):
        return False
    owner = read_owner(folder)
    if owner is None:
        try:
            if time.time() - os.lstat(folder).st_mtime < UNCLAIMED_AGE_S:
                return False
        except OSError:
            return False
    elif is_alive(owner):
        return False
    mark = os.path.basename(folder)
    kill_marked(mark, folder)
    remove_folder(folder)
    return True


def kill_marked(mark: str, folder: str) -> None:
    """Kill every process that started in this sandbox: by the mark in its environment, or by its working
    directory or programme below the sandbox's folder."""
    # An agent that lost its owner ends all of its own, also what bears no mark; it must not die before.
    agent = f"AKASHIC_AGENT={mark}".encode()
    deadline = time.monotonic() + AGENT_TIMEOUT_S
    while time.monotonic() < deadline and any(_bears(pid, agent) for pid in _pids()):
        time.sleep(0.01)
    needle = f"AKASHIC_SANDBOX={mark}".encode()
    for _ in range(100):
        found = [pid for pid in _pids() if _is_of(pid, needle, folder)]
        if not found:
            return
        for pid in found:
            _kill(pid, needle, folder)
        time.sleep(0.01)


def _pids() -> Sequence[int]:
    own = os.getpid()
    return [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) != own]


def _is_of(pid: int, needle: bytes, folder: str) -> bool:
    if start_time(pid) is None:
        return False
    try:
        return _bears(pid, needle) or any(
            os.readlink(f"/proc/{pid}/{link}").startswith(folder + "/") for link in ("cwd", "exe")
        )
    except OSError:
        return False


def _bears(pid: int, needle: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return needle in file.read().split(b"\0")
    except OSError:
        return False


def _kill(pid: int, needle: bytes, folder: str) -> None:
    # A pidfd pins the process: the number cannot become another one's between the look and the kill.
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        if _is_of(pid, needle, folder):
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    except OSError:
        return
    finally:
        os.close(fd)
