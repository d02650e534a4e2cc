"""The log of one job attempt: masked lines to the store and to whoever watches, in one order for both."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from akashic.driver.ports import Clock, JobReporter
from akashic.runner.output import LineSink
from akashic.runner.parts import BlockReporter

if TYPE_CHECKING:
    from akashic.journal.logs import LogWriter


class JobLog:
    """Thread-safe, because background steps write at the same time."""

    def __init__(self, writer: LogWriter, reporter: JobReporter, clock: Clock) -> None:
        self._writer = writer
        self._clock = clock
        self._lock = threading.Lock()
        self._lines = reporter.lines if isinstance(reporter, BlockReporter) else None
        self._line = reporter.line

    @property
    def offset(self) -> int:
        """Where the next line will stand in the store."""
        return self._writer.offset

    def sink(self, number: int) -> LineSink:
        """Takes complete masked lines of the step with this number."""

        def write(data: bytes) -> None:
            with self._lock:
                self._writer.append(number, self._clock.now(), data)
                text = data.decode("utf-8", "replace")
                if self._lines is not None:
                    self._lines(number, text)
                    return
                for line in text[:-1].split("\n"):
                    self._line(number, line.removesuffix("\r"))

        return write

    def close(self) -> None:
        with self._lock:
            self._writer.close()
