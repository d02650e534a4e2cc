"""What the engine streams: JSON objects one after another, and output of two kinds in one stream.

Source: the Docker Engine API reference, "Stream format" of container attach: eight bytes of head (kind, three
zeros, length in network order) before each piece.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Protocol

LINE_BYTES_MAX = 16 * 1024 * 1024
PIECE_BYTES = 1 << 16


class Readable(Protocol):
    def read1(self, size: int = ..., /) -> bytes: ...


def json_objects(source: Readable) -> Iterator[dict[str, Any]]:
    """The objects of a stream of lines; what is no JSON object is left out."""
    rest = b""
    while True:
        part = source.read1(PIECE_BYTES)
        rest += part
        *lines, rest = rest.split(b"\n") if part else (*rest.split(b"\n"), b"")
        for line in lines:
            found = _object(line)
            if found is not None:
                yield found
        if not part:
            return
        if len(rest) > LINE_BYTES_MAX:
            rest = b""


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line) if line.strip() else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


class Demultiplexer:
    """Takes the heads out of a multiplexed stream and hands the pieces on, both kinds in the order they
    came."""

    def __init__(self, on_output: Callable[[bytes], None]) -> None:
        self._on_output = on_output
        self._head = b""
        self._left = 0

    def feed(self, content: bytes) -> None:
        view = memoryview(content)
        while view:
            if self._left:
                piece = view[: self._left]
                self._left -= len(piece)
                self._on_output(bytes(piece))
                view = view[len(piece) :]
                continue
            needed = 8 - len(self._head)
            self._head += bytes(view[:needed])
            view = view[needed:]
            if len(self._head) == 8:
                self._left = int.from_bytes(self._head[4:], "big")
                self._head = b""
