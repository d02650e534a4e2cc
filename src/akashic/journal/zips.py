"""Zip archives, packed and unpacked by the rules of `archive`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from typing import IO

from akashic.journal.archive import (
    CHUNK_BYTES,
    ArchiveFacts,
    ArchiveRefused,
    Budget,
    Limits,
    Member,
    Names,
    safe_parts,
    write_file,
)
from akashic.journal.beneath import Folders, staged


def write_zip(out: IO[bytes], members: Iterable[Member], *, level: int) -> ArchiveFacts:
    """Pack files (links are followed: their content is packed) in the given order; `level` is zlib's, 0 to 9.

    What does not shrink is stored as it is. Names are checked as they are when unpacking.
    """
    import zipfile

    names = Names()
    files = total = 0
    with zipfile.ZipFile(out, "w", allowZip64=True) as archive:
        for member in members:
            parts = safe_parts(member.name)
            with open(member.path, "rb") as source:
                facts = os.fstat(source.fileno())
                names.add(parts, folder=False)
                first = source.read(CHUNK_BYTES)
                info = zipfile.ZipInfo("/".join(parts), _zip_time(facts.st_mtime))
                info.external_attr = (stat.S_IFREG | (0o755 if facts.st_mode & 0o111 else 0o644)) << 16
                info.compress_type = zipfile.ZIP_DEFLATED if level and _shrinks(first) else zipfile.ZIP_STORED
                # The name with an underscore is the one that every supported Python takes.
                info._compresslevel = level  # type: ignore[attr-defined]
                with archive.open(info, "w", force_zip64=facts.st_size >= 1 << 31) as sink:
                    while first:
                        sink.write(first)
                        total += len(first)
                        first = source.read(CHUNK_BYTES)
            files += 1
    return ArchiveFacts(files=files, bytes=total)


def zip_facts(source: IO[bytes]) -> ArchiveFacts | None:
    """What a zip's own list says that it holds; None for what is no zip. Nothing is unpacked, so nothing of
    it is proven."""
    import zipfile

    try:
        with zipfile.ZipFile(source) as archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OverflowError):
        return None
    return ArchiveFacts(files=len(files), bytes=sum(info.file_size for info in files))


def extract_zip(
    source: IO[bytes],
    destination: int,
    *,
    limits: Limits,
    modes: bool = True,
) -> ArchiveFacts:
    """Unpack a zip into the folder with this descriptor. Links and devices are refused; `modes` keeps the
    executable bit, otherwise files are 0644 as in GitHub's artifacts. Raises ArchiveRefused."""
    import zipfile
    import zlib

    packed = os.fstat(source.fileno()).st_size
    budget = Budget(limits, packed)
    names = Names()
    files = 0
    try:
        with zipfile.ZipFile(source) as archive, staged(destination) as fresh:
            if len(archive.infolist()) > limits.entries_max:
                raise ArchiveRefused(f"the archive holds more than {limits.entries_max:,} entries")
            folders = Folders(fresh)
            try:
                for info in archive.infolist():
                    budget.entry()
                    # `orig_filename` is the name before the library cuts it at a NUL.
                    parts = safe_parts(info.orig_filename)
                    kind = stat.S_IFMT(info.external_attr >> 16)
                    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                        raise ArchiveRefused(f"the archive holds a link or a device: {info.filename!r}")
                    names.add(parts, folder=info.is_dir())
                    if info.is_dir():
                        folders.open(parts)
                        continue
                    executable = modes and bool((info.external_attr >> 16) & 0o111)
                    with archive.open(info) as content:
                        write_file(folders.open(parts[:-1]), parts[-1], content, budget, executable)
                    files += 1
            finally:
                folders.close()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ArchiveRefused(f"the zip archive is damaged or of an unknown kind: {error}") from error
    return ArchiveFacts(files=files, bytes=budget.bytes)


def _zip_time(modified: float) -> tuple[int, int, int, int, int, int]:
    import time

    year, month, day, hour, minute, second = time.gmtime(modified)[:6]
    if not 1980 <= year <= 2107:
        return (1980, 1, 1, 0, 0, 0)
    return (year, month, day, hour, minute, second)


def _shrinks(sample: bytes) -> bool:
    import zlib

    sample = sample[: 32 << 10]
    return len(zlib.compress(sample, 1)) < len(sample) * 0.95
