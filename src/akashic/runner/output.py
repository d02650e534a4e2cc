"""From raw chunks of a step's output to masked lines: commands are obeyed, problem matchers see each line.

Order as in GitHub's runner: a line is first tried as a command in its raw form (an `add-mask` holds what it
hides), what is left is masked and stored. Whole blocks are handled at once; only lines that may be
commands are looked at one by one, so plain output costs almost nothing a line.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from akashic.runner.commands import candidates
from akashic.runner.masking import Masker

if TYPE_CHECKING:
    from akashic.runner.commands import Commands, Effects
    from akashic.runner.matchers import Matchers

LINE_BYTES_MAX = 4 * 1024 * 1024
"""A line that grows beyond this is stored in pieces, so that memory stays bounded."""

_LONE_RETURN = re.compile(rb"\r(?!\n)")

LineSink = Callable[[bytes], None]
"""Takes complete, masked lines, each ending with a newline."""


class LineWriter:
    """Masks complete lines and hands them to the log and the live view of one step."""

    def __init__(self, masker: Masker, sink: LineSink) -> None:
        self._masker = masker
        self._sink = sink
        self._held = b""

    def write(self, lines: bytes) -> None:
        """`lines` end with a newline. The end is kept back while it may begin a multi-line secret."""
        if self._held:
            lines = self._held + lines
            self._held = b""
        pending = self._masker.pending_lines(lines)
        if pending:
            # Keep whole lines: the secret may begin in the middle of one, or another may run across the cut.
            at = self._masker.line_cut(lines, len(lines) - pending)
            self._held, lines = lines[at:], lines[:at]
            if not lines:
                return
        self._sink(self._masker.mask(lines))

    def flush(self) -> None:
        """Write what was kept back."""
        if self._held:
            held, self._held = self._held, b""
            self._sink(self._masker.mask(held))


def _with_newlines(block: bytes) -> bytes:
    """A carriage return alone ends a line too, as progress bars write it: GitHub's runner reads lines so
    (`StreamReader.ReadLine`)."""
    return _LONE_RETURN.sub(b"\n", block) if b"\r" in block else block


class StepOutput:
    """The sink of one step's output; `feed` may be called from any one thread at a time."""

    def __init__(self, writer: LineWriter, masker: Masker, matchers: Matchers) -> None:
        self._writer = writer
        self._masker = masker
        self._matchers = matchers
        self._partial: list[bytes] = []
        self._partial_bytes = 0
        self._lock = threading.RLock()
        self.commands: Commands | None = None
        self.effects: Effects | None = None

    def feed(self, chunk: bytes) -> None:
        """Take a chunk as the process wrote it."""
        if not chunk:
            return
        with self._lock:
            newline = max(chunk.rfind(b"\n"), chunk.rfind(b"\r", 0, len(chunk) - 1))
            if newline < 0:
                self._partial.append(chunk)
                self._partial_bytes += len(chunk)
                if self._partial_bytes > LINE_BYTES_MAX:
                    self._cut()
                return
            block = chunk[: newline + 1]
            if self._partial:
                block = b"".join((*self._partial, block))
            rest = chunk[newline + 1 :]
            self._partial = [rest] if rest else []
            self._partial_bytes = len(rest)
            self._block(_with_newlines(block))

    def finish(self) -> None:
        """The process has ended: what is left is a line too."""
        with self._lock:
            if self._partial:
                block = b"".join(self._partial).removesuffix(b"\r") + b"\n"
                self._partial, self._partial_bytes = [], 0
                self._block(_with_newlines(block))
            self._writer.flush()

    def say(self, text: str) -> None:
        """Write lines of the runner's own: masked, no commands."""
        with self._lock:
            self._writer.write(text.encode("utf-8", "replace") + b"\n")

    def _cut(self) -> None:
        data = b"".join(self._partial)
        pending = self._masker.pending(data)
        cut = len(data) - pending
        self._writer.write(data[:cut] + b"\n")
        self._partial, self._partial_bytes = [data[cut:]], pending

    def _block(self, block: bytes) -> None:
        if self.commands is None:
            self._lines(block)
            return
        done = 0
        for start, end in candidates(block):
            text = block[start:end].decode("utf-8", "replace").removesuffix("\r")
            if start > done:
                # What came before a possible `add-mask` is masked with what was known then.
                self._lines(block[done:start])
                done = start
            if self.commands.process(text):
                done = min(end + 1, len(block))
        if done < len(block):
            self._lines(block[done:])

    def _lines(self, lines: bytes) -> None:
        """Write what is no command, and show it to the problem matchers, which need each line."""
        self._writer.write(lines)
        if not self._matchers:
            return
        for line in lines.splitlines():
            annotation = self._matchers.match(line.decode("utf-8", "replace"))
            if annotation is not None and self.effects is not None:
                self.effects.annotate(annotation, mask=self._masker.mask_text)
