"""Reading an answer from the terminal, until somebody types it or Ctrl-C makes it needless."""

from __future__ import annotations

import os
import select
from collections.abc import Callable

LOOK_INTERVAL_S = 0.2
LINE_BYTES_MAX = 4096


def line_typed(terminal: int, cancelled: Callable[[], bool]) -> str | None:
    """A line that somebody types; None when the terminal is gone, or `cancelled` says so meanwhile."""
    data = b""
    while not data.endswith(b"\n") and len(data) < LINE_BYTES_MAX:
        if cancelled():
            return None
        ready, _, _ = select.select([terminal], [], [], LOOK_INTERVAL_S)
        if not ready:
            continue
        try:
            more = os.read(terminal, LINE_BYTES_MAX)
        except OSError:
            return None
        if not more:
            return None
        data += more
    return data.decode("utf-8", "replace")
