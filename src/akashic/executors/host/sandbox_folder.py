"""Removing a sandbox's folder, whatever a job has left in it."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat

from akashic.executors.host.inode_flags import APPEND_ONLY, IMMUTABLE, change_flags
from akashic.executors.host.marker import OWNER_FILE


def remove_folder(folder: str) -> None:
    """Remove a sandbox's folder, also what a step made unreadable, or deeper than a path can name."""
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            os.unlink(folder)
            return
    except OSError:
        return
    try:
        # Whose it is goes last: of who is killed in the middle, the rest is known as a dead process's and
        # swept.
        for path in [f"{folder}/{name}" for name in os.listdir(folder)]:
            if _is_folder(path):
                shutil.rmtree(path)
            elif path != f"{folder}/{OWNER_FILE}":
                os.unlink(path)
    except (OSError, RecursionError):
        with contextlib.suppress(OSError):
            _take_apart(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _take_apart(folder: str) -> None:
    """Remove all but the owner, each folder from one place, so that no path is long and nothing recurses."""
    import tempfile  # hardly ever needed, and a millisecond of every start

    change_flags(folder, remove=IMMUTABLE | APPEND_ONLY)
    os.chmod(folder, 0o700)
    heap = tempfile.mkdtemp(dir=folder)
    waiting, count = [folder], 0
    while waiting:
        here = waiting.pop()
        for path in [f"{here}/{name}" for name in os.listdir(here)]:
            if path == heap:
                continue
            with contextlib.suppress(OSError):
                # Root's jobs without isolation can make what nobody may change.
                change_flags(path, remove=IMMUTABLE | APPEND_ONLY)
                if _is_folder(path):
                    # A folder that is moved must itself be writable.
                    os.chmod(path, 0o700)
                    count += 1
                    os.rename(path, f"{heap}/{count}")
                    waiting.append(f"{heap}/{count}")
                elif path != f"{folder}/{OWNER_FILE}":
                    os.unlink(path)
        if here != folder:
            with contextlib.suppress(OSError):
                os.rmdir(here)
    os.rmdir(heap)


def _is_folder(path: str) -> bool:
    return stat.S_ISDIR(os.lstat(path).st_mode)


def free_overlay(scratch: str) -> None:
    """Remove what the kernel left of an overlay mount that is gone. Nobody but root may even look into it, so
    that `rm -rf` of the folders above would fail."""
    remove_folder(f"{scratch}/work")
