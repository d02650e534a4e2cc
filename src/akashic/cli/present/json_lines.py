"""One JSON object a line: every event as the journal has it, and what is only shown live."""

from __future__ import annotations

import threading
from typing import Any, TextIO

import msgspec

from akashic.engine.events import RunEvent
from akashic.engine.runstate import RunState


class JsonPresenter:
    """A RunObserver for machines. Each object has `type`, `run_id` and the event's own fields."""

    def __init__(self, out: TextIO, run_id: str) -> None:
        self._out = out
        self._run_id = run_id
        self._lock = threading.Lock()
        self._begun = False

    def event(self, state: RunState, event: RunEvent, at: float) -> None:
        if not self._begun:
            # The first event of a run was appended before anyone watched; the workflow's texts are left out.
            self._begun = True
            created = msgspec.to_builtins(state.created)
            created.pop("sources")
            self._write({"at": state.created_at, **created})
        self._write({"at": at, **msgspec.to_builtins(event)})

    def job_ready(self, key: str, notes: tuple[str, ...]) -> None:
        self._write({"type": "JobReady", "key": key, "notes": notes})

    def step_started(self, key: str, number: int, name: str) -> None:
        self._write({"type": "StepStarted", "key": key, "number": number, "name": name})

    def lines(self, key: str, number: int, block: str) -> None:
        for text in block.removesuffix("\n").split("\n"):
            self._write({"type": "LogLine", "key": key, "number": number, "text": text})

    def close(self) -> None:
        return

    def _write(self, value: dict[str, Any]) -> None:
        text = msgspec.json.encode({"run_id": self._run_id, **value}).decode()
        with self._lock:
            self._out.write(text + "\n")
            self._out.flush()
