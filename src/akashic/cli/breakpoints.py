"""A step that stands still, at the terminal: a shell in its place, then retry, continue or abort."""

from __future__ import annotations

import io
import sys
import threading
from typing import TextIO

from akashic.cli.asking import line_typed
from akashic.cli.command import CommandContext
from akashic.errors import AkashicError
from akashic.runner.breakpoints import open_shell
from akashic.runner.parts import Answer, Breakpoint, Stop

_ANSWERS: dict[str, Answer] = {"r": "retry", "c": "continue", "a": "abort"}


class HeldStream(io.TextIOBase):
    """A stream that keeps what is written while somebody else has the terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._kept: list[str] | None = None
        self._lock = threading.RLock()

    def write(self, text: str) -> int:
        with self._lock:
            if self._kept is not None:
                self._kept.append(text)
                return len(text)
            return self._stream.write(text)

    def flush(self) -> None:
        with self._lock:
            if self._kept is None:
                self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def hold(self) -> None:
        """Keep what comes from now on."""
        with self._lock:
            self._stream.flush()
            self._kept = []

    def release(self) -> None:
        """Write what was kept, and all that comes."""
        with self._lock:
            kept, self._kept = self._kept or [], None
            self._stream.write("".join(kept))
            self._stream.flush()


def terminal_breakpoint(context: CommandContext) -> Breakpoint:
    """A breakpoint that asks at the terminal. One at a time: other jobs that stop wait for their turn."""
    lock = threading.Lock()

    def ask(stop: Stop) -> Answer:
        with lock:
            if stop.cancelled():
                return "abort"
            held = context.stdout if isinstance(context.stdout, HeldStream) else None
            if held is not None:
                held.hold()
            try:
                return _at_terminal(stop, context.stderr)
            finally:
                if held is not None:
                    held.release()

    return ask


def _at_terminal(stop: Stop, out: TextIO) -> Answer:
    what = "stands before" if stop.moment == "before" else "failed at"
    out.write(f"\n{stop.job_key} {what} step {stop.number}, {stop.name}\n")
    if stop.reason:
        out.write(f"  {stop.reason}\n")
    out.write("a shell in the step's environment and workspace; leave it with `exit`\n")
    out.flush()
    try:
        open_shell(stop)
    except AkashicError as error:
        out.write(f"{error.message}\n")
    words = "[r]etry" if stop.moment == "failed" else "[r]un it"
    while True:
        out.write(f"{words}, [c]ontinue or [a]bort? ")
        out.flush()
        line = line_typed(sys.stdin.fileno(), stop.cancelled)
        if line is None:
            out.write("\n")
            return "abort"
        answer = _ANSWERS.get(line.strip().lower()[:1])
        if answer is not None:
            return answer
