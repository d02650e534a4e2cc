"""Waiting for what another process does: for as long as it takes, and only a hang is a failure."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

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
