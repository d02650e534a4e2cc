"""Time that moves when a test says so."""

from __future__ import annotations

import threading


class ManualClock:
    """A Clock. Starts at 1,000,000 s; `step_s` is added at each look, so that events have different times."""

    def __init__(self, now: float = 1_000_000.0, *, step_s: float = 0.0) -> None:
        self._now = now
        self._step_s = step_s
        self._lock = threading.Lock()

    def now(self) -> float:
        with self._lock:
            self._now += self._step_s
            return self._now

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now += seconds
