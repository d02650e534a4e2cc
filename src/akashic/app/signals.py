"""Signals, passed on to a thread of their own: a handler may interrupt the very code whose locks it wants."""

from __future__ import annotations

import _thread
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from types import FrameType
from typing import Any

from akashic.cancellation import Cancellation


@contextmanager
def passed_on(act: Callable[[int], None]) -> Iterator[None]:
    """Have `act` called with each SIGINT, SIGTERM or SIGHUP, one after the other, in a thread that may take
    locks and wait. Elsewhere than in the main thread nothing changes: only there handlers can be set."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: SimpleQueue[int] = SimpleQueue()
    listening, at_work = _thread.allocate_lock(), _thread.allocate_lock()

    def listen() -> None:
        try:
            while number := came.get():
                act(number)
        finally:
            at_work.release()

    def handle(number: int, _frame: FrameType | None) -> None:
        came.put(number)
        # Most runs get no signal, and do without the thread. `threading` takes locks to start one, which may
        # be those that the interrupted code holds.
        if listening.acquire(blocking=False):
            at_work.acquire()
            try:
                _thread.start_new_thread(listen, ())
            except RuntimeError:
                # No more threads are allowed here: the next signal tries again, and the end waits for none.
                at_work.release()
                listening.release()

    wanted = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup asks to live on
        wanted.append(signal.SIGHUP)
    before: dict[int, Any] = {number: signal.signal(number, handle) for number in wanted}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if listening.locked():
            came.put(0)
            at_work.acquire()


@contextmanager
def cancel_on_signals(cancellation: Cancellation, say: Callable[[str], None]) -> Iterator[None]:
    """Ctrl-C, SIGTERM or a closed terminal ask for an orderly end; a second one skips the grace periods."""

    def cancel(number: int) -> None:
        again = cancellation.is_set()
        # Whatever one that is told makes of it: the next signal must find somebody who listens.
        with suppress(Exception):
            cancellation.cancel(
                source="signal", reason=f"cancelled by {signal.Signals(number).name}", force=again
            )
        # The terminal may be what has just gone.
        with suppress(Exception):
            say("ending at once …" if again else "cancelling; press Ctrl-C again to end at once …")

    with passed_on(cancel):
        yield
