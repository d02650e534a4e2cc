"""Who drives a run: one process at a time, known to be alive by the lock that dies with it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Protocol

from akashic.errors import AkashicError

PATIENCE_S = 0.2
"""How long `acquire` tries: who looks whether a run is driven, or takes a group from a dead one, holds its
lock for an instant too."""
PAUSE_S = 0.002


class RunBusy(AkashicError):
    """Another process drives this run."""


class RunLock(Protocol):
    """A lock that is held."""

    def release(self) -> None: ...


class RunLocks(Protocol):
    """The locks of all runs."""

    def acquire(self, run_id: str) -> RunLock:
        """Hold the lock of a run until it is released or this process dies. Raises RunBusy."""
        ...

    def is_driven(self, run_id: str) -> bool:
        """Whether a living process holds the lock."""
        ...


class FileRunLocks:
    """Locks as files (flock) in one folder: the kernel frees them with the process, however it ends."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def acquire(self, run_id: str) -> RunLock:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(run_id)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                owner = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
                os.close(descriptor)
                if time.monotonic() < deadline:
                    time.sleep(PAUSE_S)
                    continue
                raise RunBusy(
                    f"the run {run_id} is being driven by another process" + (f" ({owner})" if owner else ""),
                    hint="wait for it, or cancel it with: akashic cancel",
                ) from None
            if _is_same_file(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, str(os.getpid()).encode(), 0)
                return _FileLock(descriptor, path)
            # The holder before us removed the file between our open and our lock.
            os.close(descriptor)

    def is_driven(self, run_id: str) -> bool:
        try:
            descriptor = os.open(self._path(run_id), os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            # Shared, so that two who look at once do not take each other for the driver.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _path(self, run_id: str) -> Path:
        assert "/" not in run_id and run_id not in ("", ".", ".."), run_id
        return self.folder / f"{run_id}.lock"


class _FileLock:
    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    def release(self) -> None:
        if self._descriptor >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1


def _is_same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
