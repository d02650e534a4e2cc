"""Processes that outlive their starter: known by number and start time, found again, and ended for certain.

A number alone may be another process's by now; with the start time it is not. Everything that is started
carries a mark in its environment, so that what a crash left unrecorded is found too.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

MARK = "AKASHIC_SUPERVISED"
"""`<state folder's mark>/<environment>/<kind>`: in the environment of everything that a supervisor starts."""
POLL_S = 0.02
TAIL_BYTES = 4_000
TAIL_LINES = 15


class ProcessId(msgspec.Struct, frozen=True):
    """A process of this machine. `started` is its start time in clock ticks since boot."""

    pid: int
    started: int


def identify(pid: int) -> ProcessId | None:
    """The identity of a living process; None when it is gone (a zombie is gone)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in ("Z", "X") else ProcessId(pid, int(fields[19]))


def alive(process: ProcessId | None) -> bool:
    return process is not None and identify(process.pid) == process


def spawn(
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str,
    log: Path | int,
    user: tuple[int, int] | None = None,
) -> tuple[ProcessId, subprocess.Popen[bytes]]:
    """Start a process in a session of its own, its output appended to the file `log`, or to a descriptor,
    which is closed here. Never to a pipe of ours: it must be able to write when we have died. Raises
    OSError."""
    uid, gid = user or (None, None)
    descriptor = log if isinstance(log, int) else _open(log)
    try:
        popen = subprocess.Popen(
            argv,
            env=dict(env),
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            close_fds=True,
            start_new_session=True,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
        )
    finally:
        os.close(descriptor)
    return identify(popen.pid) or ProcessId(popen.pid, 0), popen


def _open(log: Path) -> int:
    log.parent.mkdir(parents=True, exist_ok=True)
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def wait_gone(process: ProcessId, timeout_s: float) -> bool:
    """Wait for the end of a process that need not be a child; whether it is gone."""
    deadline = time.monotonic() + timeout_s
    try:
        descriptor = os.pidfd_open(process.pid)
    except OSError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        while alive(process):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            poll.poll(left_s * 1000)
            _reap(process.pid)
        return True
    finally:
        os.close(descriptor)


def stop(process: ProcessId, *, grace_s: float, number: int = signal.SIGTERM) -> None:
    """Ask a process and its group to end, and end what is left of the group after `grace_s`."""
    if alive(process):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, number)
        wait_gone(process, grace_s)
    if process.started:
        kill_group(process)


def kill_group(process: ProcessId) -> None:
    """End the session that a process led, whoever of it is left."""
    for pid in _session_members(process.pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    if alive(process):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process.pid, signal.SIGKILL)
        wait_gone(process, 5.0)


def marked(mark: str) -> dict[int, str]:
    """Every living process whose mark begins with `mark`, by number, with the whole mark."""
    wanted = f"{MARK}={mark}".encode()
    found: dict[int, str] = {}
    for pid in _pids():
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        for entry in environ.split(b"\0"):
            if entry.startswith(wanted) and identify(pid) is not None:
                found[pid] = entry.partition(b"=")[2].decode(errors="replace")
    return found


def environment_of(process: ProcessId) -> dict[str, str]:
    """The environment that a living process was started with; empty when it cannot be read."""
    try:
        content = Path(f"/proc/{process.pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (entry.decode(errors="surrogateescape").partition("=") for entry in content.split(b"\0") if entry)
    return {name: value for name, _, value in pairs}


def rotate(log: Path, bytes_max: int) -> None:
    """Keep a log below its limit: what is there moves to `<name>.1`, and the file goes on empty. The writer
    appends, so it needs not be told."""
    try:
        if log.stat().st_size <= bytes_max:
            return
        log.with_name(log.name + ".1").write_bytes(log.read_bytes()[-bytes_max:])
        os.truncate(log, 0)
    except OSError:
        return  # A full disk must not end what serves.


def tail(log: Path) -> str:
    """The last lines of a log, for an error message."""
    try:
        with log.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    printable = ("".join(c if c.isprintable() else "?" for c in line) for line in text.splitlines())
    return "\n".join(list(printable)[-TAIL_LINES:])


def _pids() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def _session_members(session: int) -> list[int]:
    members: list[int] = []
    for pid in _pids():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and pid != os.getpid():
            members.append(pid)
    return members


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError, OSError):
        os.waitpid(pid, os.WNOHANG)
