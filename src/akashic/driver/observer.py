"""Who watches a run live."""

from __future__ import annotations

from typing import Protocol

from akashic.engine.events import RunEvent
from akashic.engine.runstate import RunState


class RunObserver(Protocol):
    """Called while a run is driven, from the threads of its jobs: `event` one call at a time, the others
    concurrently. What it raises is kept in `RunDriver.observer_errors` and it is not called again."""

    def event(self, state: RunState, event: RunEvent, at: float) -> None:
        """Something happened; `state` is the state after it, to be read during the call only."""
        ...

    def job_ready(self, key: str, notes: tuple[str, ...]) -> None:
        """The instance's sandbox is open."""
        ...

    def step_started(self, key: str, number: int, name: str) -> None: ...

    def lines(self, key: str, number: int, block: str) -> None:
        """Complete masked lines of a step's log, each with its line end: a million lines are not a million
        calls."""
        ...


class SilentObserver:
    """Watches nothing; a base for observers that watch one thing."""

    def event(self, state: RunState, event: RunEvent, at: float) -> None:
        return

    def job_ready(self, key: str, notes: tuple[str, ...]) -> None:
        return

    def step_started(self, key: str, number: int, name: str) -> None:
        return

    def lines(self, key: str, number: int, block: str) -> None:
        return
