"""Keeps what a release prints: masked, in a file that is rotated. `python -m … FILE BYTES_MAX SECRETS_FD`.

A process of its own between a release and its log: it outlives the supervisor as the release does, so that
the release can always print, and it ends when nobody can print any more. The secrets come through a
descriptor, never as arguments or variables. It imports little: one starts with every instance.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

from akashic.runner.masking import Masker

CHUNK_BYTES = 65_536
LINE_BYTES_MAX = 1_000_000
"""A line that grows beyond this is written in pieces."""


class RotatingLog:
    """A file that stays below a limit: what it held before is `<name>.1`. What cannot be written is lost;
    the release must not wait for a disk."""

    def __init__(self, path: Path, bytes_max: int) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._open()

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            if self._size and self._size + len(data) > self._bytes_max:
                os.close(self._descriptor)
                self._path.rename(self._path.with_name(self._path.name + ".1"))
                self._open()
            os.write(self._descriptor, data)
            self._size += len(data)

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._descriptor).st_size


def copy(source: int, log: RotatingLog, masker: Masker) -> None:
    """Everything from a descriptor to a log, whole lines masked, until it ends."""
    held = b""
    while chunk := os.read(source, CHUNK_BYTES):
        held += chunk
        cut = held.rfind(b"\n") + 1
        if cut:
            # The end is kept back while it may begin a secret of several lines.
            cut = masker.line_cut(held, cut - masker.pending_lines(held[:cut]))
        if not cut and len(held) > LINE_BYTES_MAX:
            cut = len(held) - masker.pending(held)
        if cut:
            log.write(masker.mask(held[:cut]))
            held = held[cut:]
    if held:
        log.write(masker.mask(held))


def main(arguments: list[str]) -> int:
    path, bytes_max, known = arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with os.fdopen(int(known), "rb") as file:
        masker = Masker(json.load(file))
    copy(0, RotatingLog(Path(path), int(bytes_max)), masker)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
