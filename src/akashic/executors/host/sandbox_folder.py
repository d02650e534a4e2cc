"""Removing a sandbox's folder, whatever a job has left in it."""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Any

from akashic.executors.host.marker import OWNER_FILE


def remove_folder(folder: str) -> None:
    """Remove a sandbox's folder, also what a step made unreadable."""
    if not os.path.lexists(folder):
        return

    def allow(_: Any, path: str, __: Any) -> None:
        try:
            os.chmod(os.path.dirname(path), 0o700)
            if os.path.isdir(path) and not os.path.islink(path):
                os.chmod(path, 0o700)
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)
        except OSError:
            return

    # Whose it is goes last: of who is killed in the middle, the rest is known as a dead process's and swept.
    with contextlib.suppress(OSError):
        for path in [f"{folder}/{name}" for name in os.listdir(folder) if name != OWNER_FILE]:
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, onerror=allow)
            else:
                os.unlink(path)
    shutil.rmtree(folder, onerror=allow)
    shutil.rmtree(folder, ignore_errors=True)


def free_overlay(scratch: str) -> None:
    """Remove what the kernel left of an overlay mount that is gone. Nobody but root may even look into it, so
    that `rm -rf` of the folders above would fail."""
    remove_folder(f"{scratch}/work")
