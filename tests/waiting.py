"""Waiting for what another process does: for as long as it takes, and only a hang is a failure."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path

PATIENCE_S = 60.0
PAUSE_S = 0.02


def eventually(holds: Callable[[], object], *, timeout_s: float = PATIENCE_S) -> bool:
    """Whether a condition becomes true; an OSError from it means not yet."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if holds():
                return True
        time.sleep(PAUSE_S)
    return False


def living(marker: str, *, where: str = "cmdline") -> list[int]:
    """Processes whose command line (or `environ`ment) holds a word."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        if int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                if marker.encode() in (folder / where).read_bytes():
                    found.append(int(folder.name))
    return found
