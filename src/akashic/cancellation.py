"""A request to stop that one thread makes and others see: who asked, and why."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Cancellation:
    """Set once, by whoever wants the work to end; seen by everyone who was handed it.

    Callbacks run in the thread that cancels, at once if it is already set. All of them are called, also when
    one fails, and none is called any more when it has been taken back. `force` marks a second, impatient
    request: grace periods are skipped. `terminate` asks processes by SIGTERM, not by SIGINT first.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        # Held while a callback runs, so that who takes one back waits for it: what it uses is closed next.
        self._calling = threading.RLock()
        self._callbacks: list[Callable[[], None]] = []
        self.source = ""
        self.reason = ""
        self.force = False
        self.terminate = False

    def cancel(self, *, source: str, reason: str, force: bool = False, terminate: bool = False) -> None:
        """Ask for the end; the first source and reason stay, `force` may come later. What a callback raises
        is raised when everybody has been told."""
        with self._lock:
            if not self._event.is_set():
                self.source, self.reason, self.terminate = source, reason, terminate
            self.force = self.force or force
            self._event.set()
            callbacks = list(self._callbacks)
        failures: list[Exception] = []
        for callback in callbacks:
            with self._calling:
                try:
                    if callback in self._callbacks:
                        callback()
                except Exception as error:
                    failures.append(error)
        if failures:
            raise failures[0]

    def is_set(self) -> bool:
        return self._event.is_set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until cancelled or the time is over; whether it is cancelled."""
        return self._event.wait(timeout_s)

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called at every request; returns a function that takes it back, and waits for a
        call in another thread."""
        with self._lock:
            self._callbacks.append(callback)
            already = self._event.is_set()
        if already:
            callback()

        def forget() -> None:
            with self._calling, self._lock:
                if callback in self._callbacks:
                    self._callbacks.remove(callback)

        return forget
