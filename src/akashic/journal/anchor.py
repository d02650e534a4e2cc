"""The head file: how far the journal is known to reach, kept beside the database.

A chain alone cannot show that its last records were removed. The head file names the last durable record;
it is written after the commit, so a crash between the two leaves it behind the database (harmless), never
ahead of it. A database that is behind its head file, or disagrees with it, has lost records.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from akashic.journal.chain import GENESIS_HASH

_LINE_BYTES = 20 + 1 + 64 + 1


class Head(NamedTuple):
    """A record by its position and hash; position 0 stands for an empty journal."""

    position: int
    hash: str


EMPTY = Head(0, GENESIS_HASH)


class HeadFile:
    """The head file of one journal; safe to advance from several processes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: int | None = None

    def create(self) -> None:
        """Make the file for an empty journal, before the database exists; keeps one that is there."""
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            return
        try:
            os.write(descriptor, _line(EMPTY))
        finally:
            os.close(descriptor)

    def read(self) -> Head | None:
        """The head, or None when the file is missing or is not a head file."""
        try:
            return _parse(self.path.read_bytes())
        except OSError:
            return None

    def advance(self, head: Head, is_ours: Callable[[Head], bool]) -> bool:
        """Move the file to `head` when it is ahead and what the file names is part of our chain (`is_ours`);
        otherwise leave it: it is the evidence of what was lost. Whether it moved."""
        descriptor = self._open()
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            known = _parse(os.pread(descriptor, _LINE_BYTES, 0))
            if known is None or known.position >= head.position or not is_ours(known):
                return False
            os.pwrite(descriptor, _line(head), 0)
            return True
        finally:
            fcntl.flock(descriptor, fcntl.LOCK_UN)

    def replace(self, head: Head) -> None:
        """Set the file to `head` whatever it says: somebody has acknowledged the loss."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            os.pwrite(descriptor, _line(head), 0)
            os.ftruncate(descriptor, _LINE_BYTES)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        return self._descriptor


def _line(head: Head) -> bytes:
    return f"{head.position:020d} {head.hash}\n".encode()


def _parse(content: bytes) -> Head | None:
    words = content[:_LINE_BYTES].split()
    if len(content) < _LINE_BYTES or len(words) != 2 or not words[0].isdigit() or len(words[1]) != 64:
        return None
    try:
        bytes.fromhex(words[1].decode())
    except ValueError:
        return None
    return Head(int(words[0]), words[1].decode())
