"""The logs of job attempts: one append-only file each, written by the runner and followed by anyone.

A file is a sequence of frames: a header line `<step> <at> <bytes>` and that many bytes of whole lines. A
reader skips by length and never looks for a mark inside, so a hostile log cannot pass for a header. A frame
that a crash has torn is not there yet for readers, and is cut off by the next writer.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from akashic.errors import AkashicError

FRAME_BYTES_MAX = 256 * 1024
"""A longer append becomes several frames, so that a reader's memory stays bounded (a single line is kept
whole)."""
POLL_INTERVAL_S = 0.05
_NAME_CHARACTERS_MAX = 150
_HEADER_BYTES_MAX = 80


class LogUnavailable(AkashicError):
    """A log cannot be written or read: no space, no permission."""


class LogLine(NamedTuple):
    """One line, without its line end; `at` is in seconds since the epoch; `step` counts from 1."""

    step: int
    at: float
    text: str


class LogFrame(NamedTuple):
    """Whole lines of one step that were appended together; `end` is the offset after the frame."""

    step: int
    at: float
    data: bytes
    end: int


class LogWriter:
    """Appends to the log of one attempt; for one thread at a time. Each append is visible at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _translated(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self.offset = _sound_length(path)
            """Bytes written so far: a frame's border, good for `read(from_offset=)`."""
            os.ftruncate(self._descriptor, self.offset)
            os.lseek(self._descriptor, self.offset, os.SEEK_SET)
        self._closed = False

    def append(self, step_number: int, at: float, text_lines: bytes) -> None:
        """Append whole lines (a missing last line end is added). Raises LogUnavailable."""
        if not text_lines:
            return
        if not text_lines.endswith(b"\n"):
            text_lines += b"\n"
        frames = []
        for part in _parts(text_lines):
            frames.append(b"%d %.6f %d\n" % (step_number, at, len(part)))
            frames.append(part)
        content = memoryview(b"".join(frames))
        with _translated(self.path):
            while content:
                written = os.write(self._descriptor, content)
                self.offset += written
                content = content[written:]

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._descriptor)

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LogStore:
    """The logs below one folder, by run, job key and attempt."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def path(self, run_id: str, key: str, attempt: int) -> Path:
        """Where the log lies; always inside the folder, whatever the names hold."""
        return self.folder / _file_name(run_id) / f"{_file_name(key)}.{attempt}.log"

    def writer(self, run_id: str, key: str, attempt: int) -> LogWriter:
        return LogWriter(self.path(run_id, key, attempt))

    def exists(self, run_id: str, key: str, attempt: int) -> bool:
        return self.path(run_id, key, attempt).exists()

    def frames(
        self, run_id: str, key: str, attempt: int, *, from_offset: int = 0, to_offset: int | None = None
    ) -> Iterator[LogFrame]:
        """The frames between two offsets (a frame's border each, as `LogWriter.offset` and `LogFrame.end`
        give them). Nothing when there is no log."""
        path = self.path(run_id, key, attempt)
        try:
            file = path.open("rb")
        except FileNotFoundError:
            return
        except OSError as error:
            raise LogUnavailable(f"{path}: {error.strerror}") from error
        with file:
            file.seek(from_offset)
            while to_offset is None or file.tell() < to_offset:
                frame = _read_frame(file)
                if frame is None:
                    return
                yield frame

    def read(
        self, run_id: str, key: str, attempt: int, *, from_offset: int = 0, to_offset: int | None = None
    ) -> Iterator[LogLine]:
        """The lines that are there now."""
        frames = self.frames(run_id, key, attempt, from_offset=from_offset, to_offset=to_offset)
        for frame in frames:
            yield from _lines(frame)

    def follow(
        self,
        run_id: str,
        key: str,
        attempt: int,
        *,
        until: Callable[[], bool],
        from_offset: int = 0,
    ) -> Iterator[LogLine]:
        """The lines as they come, from any process, until `until()` is true and all has been read."""
        offset = from_offset
        while True:
            over = until()
            begin = offset
            for frame in self.frames(run_id, key, attempt, from_offset=offset):
                yield from _lines(frame)
                offset = frame.end
            if over:
                return
            if offset == begin:
                time.sleep(POLL_INTERVAL_S)


def _lines(frame: LogFrame) -> Iterator[LogLine]:
    lines = frame.data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    for line in lines:
        yield LogLine(frame.step, frame.at, line.decode(errors="replace").removesuffix("\r"))


def _parts(content: bytes) -> Iterator[bytes]:
    """Cut at line ends into parts of about FRAME_BYTES_MAX."""
    if len(content) <= FRAME_BYTES_MAX:
        yield content
        return
    begin = 0
    while begin < len(content):
        end = content.rfind(b"\n", begin, begin + FRAME_BYTES_MAX) + 1
        if end <= begin:
            end = content.find(b"\n", begin + FRAME_BYTES_MAX) + 1
        yield content[begin:end]
        begin = end


def _read_frame(file: BinaryIO) -> LogFrame | None:
    header = file.readline(_HEADER_BYTES_MAX)
    words = header.split()
    if len(words) != 3 or not header.endswith(b"\n"):
        return None
    try:
        step, at, length = int(words[0]), float(words[1]), int(words[2])
    except ValueError:
        return None
    data = file.read(length)
    return LogFrame(step, at, data, file.tell()) if len(data) == length else None


def _sound_length(path: Path) -> int:
    """The end of the last whole frame; what follows was torn by a crash."""
    size = path.stat().st_size
    offset = 0
    with path.open("rb") as file:
        while offset < size:
            words = file.readline(_HEADER_BYTES_MAX).split()
            if len(words) != 3 or not words[2].isdigit():
                break
            end = file.tell() + int(words[2])
            if end > size:
                break
            offset = end
            file.seek(offset)
    return offset


def _file_name(name: str) -> str:
    """A name as one path component: anything but letters, digits and a few marks is escaped, reversibly
    unless it grows too long."""
    safe = "".join(
        character
        if character.isascii() and (character.isalnum() or character in "_-()")
        else _escaped(character)
        for character in name
    )
    if len(safe) <= _NAME_CHARACTERS_MAX:
        return safe or "%"
    digest = hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:24]
    return f"{safe[: _NAME_CHARACTERS_MAX - 25]}~{digest}"


def _escaped(character: str) -> str:
    return "".join(f"%{byte:02x}" for byte in character.encode(errors="surrogatepass"))


class _translated:  # noqa: N801 - reads as a phrase at its use
    """The system's errors in words of ours."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError):
            raise LogUnavailable(
                f"{self._path}: the log cannot be written: {error.strerror}",
                hint="check space and permissions",
            ) from error
