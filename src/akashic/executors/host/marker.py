"""Who owns a folder below `work/`: a process, told from a later namesake by its start time."""

from __future__ import annotations

import os

import msgspec

from akashic.executors.protocol import ExecutorError

OWNER_FILE = "owner.json"
_BYTES_MAX = 16 * 1024


class Owner(msgspec.Struct, frozen=True, kw_only=True):
    """The process that opened a sandbox. `started` is in clock ticks since boot, `boot` names that boot."""

    pid: int
    started: int
    boot: str
    mark: str
    run_id: str = ""
    job_key: str = ""


def start_time(pid: int | str) -> int | None:
    """When a process started, in clock ticks since boot; None when there is no such process (or a zombie)."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def boot_id() -> str:
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return ""


def write_owner(folder: str, *, mark: str, run_id: str, job_key: str) -> None:
    """Claim a new folder for this process."""
    started = start_time("self")
    assert started is not None
    owner = Owner(pid=os.getpid(), started=started, boot=boot_id(), mark=mark, run_id=run_id, job_key=job_key)
    try:
        with open(f"{folder}/{OWNER_FILE}", "wb") as file:
            file.write(msgspec.json.encode(owner))
    except OSError as error:
        raise ExecutorError(f"cannot write to {folder}: {error.strerror}") from error


def read_owner(folder: str) -> Owner | None:
    """Whom a folder belongs to; None when that cannot be told. The folder's job may have put anything there,
    also a pipe that nobody ever writes to."""
    try:
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(f"{folder}/{OWNER_FILE}", flags), "rb") as file:
            return msgspec.json.decode(file.read(_BYTES_MAX), type=Owner)
    except (OSError, msgspec.MsgspecError):
        return None


def is_alive(owner: Owner) -> bool:
    """Whether that very process still runs."""
    return owner.boot == boot_id() and start_time(owner.pid) == owner.started
