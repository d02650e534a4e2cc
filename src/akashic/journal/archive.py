"""What every archive is held to, so that none can reach outside the folder it is unpacked into: names and
sizes. `zips` and `tars` pack and unpack by it.

Unpacking goes into a fresh folder inside the destination (`beneath.staged`); only when the whole archive was
read and found sound are its entries moved into place. The libraries' own extraction is not used.
"""

from __future__ import annotations

import os
import unicodedata
from typing import IO, TYPE_CHECKING

import msgspec

from akashic.errors import AkashicError

if TYPE_CHECKING:
    pass

CHUNK_BYTES = 1 << 20
NAME_BYTES_MAX = 4096
PART_BYTES_MAX = 255
RATIO_FREE_BYTES = 64 << 20
"""Archives that unpack to less than this are not judged by their ratio."""

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class ArchiveRefused(AkashicError):
    """The archive is damaged, or would do what no archive of ours does; nothing of it was put in place."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive may unpack to. `ratio_max` is unpacked bytes for each packed byte."""

    entries_max: int = 1_000_000
    bytes_max: int = 64 << 30
    ratio_max: float = 200.0


class ArchiveFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What was packed or unpacked: files (folders are not counted) and their bytes."""

    files: int = 0
    bytes: int = 0


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """Something to pack: its name in the archive, with `/` between parts, and where it lies on disk."""

    name: str
    path: str


def safe_parts(name: str) -> tuple[str, ...]:
    """The parts of an entry's name; raises ArchiveRefused for one that is absolute, climbs, or is no name."""
    trimmed = name[:-1] if name.endswith("/") else name
    encoded = trimmed.encode("utf-8", "surrogateescape")
    parts = tuple(part for part in trimmed.split("/") if part != ".")
    if not parts or not encoded:
        raise ArchiveRefused(f"an entry of the archive has no name: {name!r}")
    if name.startswith("/") or "\\" in name or (len(parts[0]) == 2 and parts[0][1] == ":"):
        raise ArchiveRefused(f"an entry of the archive has an absolute or foreign path: {name!r}")
    if "\0" in name or any(part in ("", "..") for part in parts):
        raise ArchiveRefused(f"an entry of the archive leaves its folder: {name!r}")
    if len(encoded) > NAME_BYTES_MAX or any(
        len(part.encode("utf-8", "surrogateescape")) > PART_BYTES_MAX for part in parts
    ):
        raise ArchiveRefused(f"an entry of the archive has a name that is too long: {name[:80]!r}…")
    return parts


class Names:
    """The names seen so far: no file twice, no file that is also a folder, no two that differ only in how
    Unicode composes them."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[bool, str]] = {}

    def add(self, parts: tuple[str, ...], *, folder: bool) -> None:
        for depth in range(1, len(parts) + 1):
            is_folder = folder or depth < len(parts)
            name = "/".join(parts[:depth])
            key = name if name.isascii() else unicodedata.normalize("NFC", name)
            known = self._seen.get(key)
            if known is None:
                self._seen[key] = (is_folder, name)
            elif known[1] != name:
                raise ArchiveRefused(f"two entries have the same name in another Unicode form: {name!r}")
            elif not (known[0] and is_folder):
                raise ArchiveRefused(f"the archive holds an entry twice: {name!r}")


class Budget:
    """Counts what is unpacked against the limits."""

    def __init__(self, limits: Limits, packed_bytes: int) -> None:
        self._limits = limits
        self._packed = max(packed_bytes, 1)
        self.entries = 0
        self.bytes = 0

    def entry(self) -> None:
        self.entries += 1
        if self.entries > self._limits.entries_max:
            raise ArchiveRefused(f"the archive holds more than {self._limits.entries_max:,} entries")

    def take(self, count: int) -> None:
        self.bytes += count
        if self.bytes > self._limits.bytes_max:
            raise ArchiveRefused(f"the archive unpacks to more than {self._limits.bytes_max:,} bytes")
        if self.bytes > RATIO_FREE_BYTES and self.bytes / self._packed > self._limits.ratio_max:
            raise ArchiveRefused(
                f"the archive unpacks to more than {self._limits.ratio_max:g} times its size: a bomb"
            )


def write_file(
    folder: int, name: str, content: IO[bytes], budget: Budget, executable: bool, size: int | None = None
) -> None:
    """Write one entry into the folder with this descriptor, where nothing of the name is yet; `size` is what
    the archive says of it, in bytes. Raises ArchiveRefused."""
    descriptor = os.open(name, _NEW_FILE, 0o755 if executable else 0o644, dir_fd=folder)
    written = 0
    with open(descriptor, "wb", buffering=0) as sink:
        while chunk := content.read(CHUNK_BYTES):
            budget.take(len(chunk))
            written += len(chunk)
            sink.write(chunk)
    if size is not None and written != size:
        raise ArchiveRefused(f"the archive ends in the middle of {name!r}")
