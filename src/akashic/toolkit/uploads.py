"""Content that a client sends in pieces, in any order, kept where it will be adopted from with a rename.

Clients send blocks in parallel and name their order only at the end. A block's name usually tells its number,
so it is written where it will belong in the end; then committing costs nothing. Where the guess was wrong, or
there is nothing to guess from, the content is put in order with one more copy.
Source: Azure's "Put Blob", "Put Block", "Put Block List".
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from akashic.toolkit.http import Body, HttpError

BLOCKS_MAX = 50_000
BLOCK_BYTES_MAX = 4000 << 20
UPLOAD_BYTES_MAX = 64 << 30
CONTENT = "content"
_DIGITS = re.compile(rb"[0-9]{6}\Z")


@dataclass(frozen=True, slots=True)
class _Block:
    file: str
    offset: int
    length: int


class Upload:
    """One blob that is being sent, in a folder of its own. Thread-safe."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.size: int | None = None
        """The committed size in bytes; None before."""
        self._lock = threading.Lock()
        self._blocks: dict[str, _Block] = {}
        self._stride = 0
        self._places: dict[int, str] = {}
        self._ranges: list[tuple[int, int]] = []
        self._side_files = 0

    @property
    def content(self) -> Path:
        return self.folder / CONTENT

    def put(self, body: Body, *, md5: str = "") -> None:
        """The whole content at once (Put Blob)."""
        name = self._side_file()
        size = self._write(name, 0, body, bytes_max=UPLOAD_BYTES_MAX, md5=md5)
        with self._lock:
            (self.folder / name).replace(self.content)
            self._blocks.clear()
            self._places.clear()
            self.size = size

    def put_block(self, block_id: str, body: Body, *, md5: str = "") -> None:
        """A piece that counts once it is in a committed list (Put Block). Raises HttpError."""
        number = _number(block_id)
        with self._lock:
            if len(self._blocks) >= BLOCKS_MAX * 2:
                raise HttpError(409, f"more than {BLOCKS_MAX * 2} blocks", "BlockCountExceedsLimit")
            name, offset = self._place(block_id, number, body.length)
        length = self._write(name, offset, body, bytes_max=BLOCK_BYTES_MAX, md5=md5)
        with self._lock:
            self._blocks[block_id] = _Block(name, offset, length)

    def commit(self, block_ids: Sequence[str]) -> None:
        """The content is these blocks, in this order (Put Block List). May be said again."""
        with self._lock:
            blocks: list[_Block] = []
            for block_id in block_ids:
                block = self._blocks.get(block_id)
                if block is None:
                    raise HttpError(400, "the list names a block that was not sent", "InvalidBlockList")
                blocks.append(block)
            size = sum(block.length for block in blocks)
            if size > UPLOAD_BYTES_MAX:
                raise HttpError(413, f"more than {UPLOAD_BYTES_MAX:,} bytes", "RequestBodyTooLarge")
            if not self._in_order(blocks):
                self._reorder(block_ids, blocks)
            self.content.touch()
            os.truncate(self.content, size)
            self.size = size

    def put_range(self, start: int, body: Body, length: int) -> None:
        """A piece at a known place (the older protocols). Raises HttpError when it has another length."""
        if start + length > UPLOAD_BYTES_MAX:
            raise HttpError(413, f"more than {UPLOAD_BYTES_MAX:,} bytes")
        if self._write(CONTENT, start, body, bytes_max=length) != length:
            raise HttpError(400, "the body has another length than its range")
        with self._lock:
            self._ranges.append((start, start + length))

    def commit_range(self, size: int) -> None:
        """The content is `size` bytes. Raises HttpError when some were not sent."""
        with self._lock:
            reached = 0
            for start, end in sorted(self._ranges):
                if start > reached:
                    break
                reached = max(reached, end)
            if reached != size:
                raise HttpError(400, f"{size:,} bytes were announced, and {reached:,} came")
            self.content.touch()
            self.size = size

    def _place(self, block_id: str, number: int | None, length: int | None) -> tuple[str, int]:
        known = self._blocks.get(block_id)
        if known is not None and known.file == CONTENT and known.length == length:
            # Sent again after an error: the same bytes at the same place.
            return known.file, known.offset
        self._stride = self._stride or length or 0
        if number is not None and length is not None and length <= self._stride:
            offset = number * self._stride
            owner = self._places.setdefault(offset, block_id)
            if owner == block_id and offset + length <= UPLOAD_BYTES_MAX:
                return CONTENT, offset
        return self._new_side_file(), 0

    def _in_order(self, blocks: Sequence[_Block]) -> bool:
        offset = 0
        for block in blocks:
            if block.file != CONTENT or block.offset != offset:
                return False
            offset += block.length
        return True

    def _reorder(self, block_ids: Sequence[str], blocks: Sequence[_Block]) -> None:
        name = self._new_side_file()
        placed: dict[str, _Block] = {}
        with open(self.folder / name, "wb") as sink:
            offset = 0
            for block_id, block in zip(block_ids, blocks, strict=True):
                with open(self.folder / block.file, "rb") as source:
                    _copy(source.fileno(), block.offset, sink.fileno(), block.length)
                placed[block_id] = _Block(CONTENT, offset, block.length)
                offset += block.length
        for file in {block.file for block in blocks} - {CONTENT}:
            (self.folder / file).unlink(missing_ok=True)
        (self.folder / name).replace(self.content)
        self._blocks = placed
        self._places = {block.offset: block_id for block_id, block in placed.items()}

    def _write(self, name: str, offset: int, body: Body, *, bytes_max: int, md5: str = "") -> int:
        digest = hashlib.md5(usedforsecurity=False) if md5 else None
        descriptor = os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            written = body.write_to(
                descriptor, offset, bytes_max=bytes_max, also=digest.update if digest else None
            )
        finally:
            os.close(descriptor)
        if digest is not None and base64.b64encode(digest.digest()).decode() != md5:
            raise HttpError(400, "the content is not what Content-MD5 says", "Md5Mismatch")
        return written

    def _side_file(self) -> str:
        with self._lock:
            return self._new_side_file()

    def _new_side_file(self) -> str:
        self._side_files += 1
        return f"part-{self._side_files}"


def _number(block_id: str) -> int | None:
    """The number that clients put at the end of a block's name: six digits, or four bytes; None when there
    is none. Raises HttpError for what is no block's name."""
    try:
        raw = base64.b64decode(block_id, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not 1 <= len(raw) <= 64:
        raise HttpError(400, "a block's name is base64 of 1 to 64 bytes", "InvalidQueryParameterValue")
    if _DIGITS.search(raw):
        number = int(raw[-6:])
    elif len(raw) >= 4:
        number = int.from_bytes(raw[-4:], "big")
    else:
        return None
    return number if number < BLOCKS_MAX else None


def _copy(source: int, offset: int, sink: int, length: int) -> None:
    while length:
        count = os.sendfile(sink, source, offset, min(length, 1 << 30))
        if count == 0:
            raise HttpError(409, "a block was lost")
        offset += count
        length -= count
