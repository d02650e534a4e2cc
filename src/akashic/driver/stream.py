"""One run's stream and the state folded from it, kept together under one lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from akashic.driver.ports import Clock
from akashic.engine.codec import decode, encode, run_stream
from akashic.engine.events import RunEvent, StepFinished
from akashic.engine.runstate import RunState
from akashic.engine.state import NoRun, apply
from akashic.journal.protocol import Conflict, Journal, Record

EventHook = Callable[[RunState, RunEvent, float], None]


class RunStream:
    """The journal's side of a run that is driven. All methods may be called from any thread; `lock` is held
    while the state changes, so hold it to read the state."""

    def __init__(self, journal: Journal, run_id: str, clock: Clock, on_event: EventHook) -> None:
        self.lock = threading.RLock()
        self._journal = journal
        self._stream = run_stream(run_id)
        self._clock = clock
        self._on_event = on_event
        self._version = 0
        self._steps_from = self._steps_to = 0
        state: RunState | None = None
        for record in journal.read(self._stream):
            state = apply(state, decode(record), record.at)
            self._version = record.version
        if state is None:
            raise NoRun(f"there is no run {run_id}", hint="akashic runs shows those that there are")
        self.state = state

    def past_steps(self, position: int) -> int:
        """The last position of the journal that holds nothing to decide about: `position`, or later when only
        steps of this run have ended since, by our own report."""
        with self.lock:
            return self._steps_to if self._steps_from <= position < self._steps_to else position

    def absorb(self) -> bool:
        """Take in what other processes have appended; whether there was anything."""
        with self.lock:
            records = self._journal.read(self._stream, after_version=self._version)
            for record in records:
                self._take(record, decode(record))
            return bool(records)

    def decide_and_append(self, events: Sequence[RunEvent], *, durable: bool) -> bool:
        """Append what follows from the state as it is known; false when the stream has moved on, so that the
        decision must be made again."""
        with self.lock:
            try:
                self._append(events, durable)
            except Conflict:
                self.absorb()
                return False
            return True

    def report(self, event: RunEvent, *, durable: bool = False) -> None:
        """Append a fact: it happened, whatever else has."""
        with self.lock:
            while True:
                try:
                    self._append((event,), durable)
                    return
                except Conflict:
                    self.absorb()

    def _append(self, events: Sequence[RunEvent], durable: bool) -> None:
        records = self._journal.append(
            self._stream,
            [encode(event) for event in events],
            at=self._clock.now(),
            expected_version=self._version,
            durable=durable,
        )
        for record, event in zip(records, events, strict=True):
            if isinstance(event, StepFinished):
                if self._steps_to != record.position - 1:
                    self._steps_from = record.position - 1
                self._steps_to = record.position
            self._take(record, event)

    def _take(self, record: Record, event: RunEvent) -> None:
        self.state = apply(self.state, event, record.at)
        self._version = record.version
        self._on_event(self.state, event, record.at)
