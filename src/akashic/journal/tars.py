"""Tar archives, packed and unpacked by the rules of `archive`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

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

if TYPE_CHECKING:
    import tarfile


def write_tar(out: IO[bytes], members: Iterable[Member]) -> ArchiveFacts:
    """Pack files, folders (themselves, not what is in them) and symbolic links (as links), uncompressed.
    Sockets, pipes and devices are left out. Owners are not kept."""
    import tarfile

    files = total = 0
    with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT, bufsize=CHUNK_BYTES) as archive:
        for member in members:
            safe_parts(member.name)
            try:
                facts = os.lstat(member.path)
            except FileNotFoundError:
                # A cache is taken while background processes may still tidy up after themselves.
                continue
            info = tarfile.TarInfo(member.name)
            info.mode = stat.S_IMODE(facts.st_mode) & 0o777
            info.mtime = int(facts.st_mtime)
            if stat.S_ISDIR(facts.st_mode):
                info.type = tarfile.DIRTYPE
                archive.addfile(info)
            elif stat.S_ISLNK(facts.st_mode):
                info.type = tarfile.SYMTYPE
                info.linkname = str(Path(member.path).readlink())
                archive.addfile(info)
                files += 1
            elif stat.S_ISREG(facts.st_mode):
                with open(member.path, "rb") as source:
                    info.size = os.fstat(source.fileno()).st_size
                    archive.addfile(info, source)
                files += 1
                total += info.size
    return ArchiveFacts(files=files, bytes=total)


def extract_tar(
    source: IO[bytes],
    destinations: Mapping[str, int],
    *,
    limits: Limits,
    links: Literal["refuse", "keep"] = "refuse",
    allow: Iterable[tuple[str, ...]] | None = None,
) -> ArchiveFacts:
    """Unpack an uncompressed tar whose entries' first part names one of `destinations` (descriptors of
    folders); the rest of the name is the place below it.

    `links="keep"` makes symbolic links as they were packed, after everything else, and never writes through
    one; hard links, devices and pipes are always refused. `allow` lists the places (parts, the destination's
    name first) at or below which entries may lie; another entry is refused. Raises ArchiveRefused.
    """
    import tarfile

    budget = Budget(limits, os.fstat(source.fileno()).st_size)
    try:
        with (
            tarfile.open(fileobj=source, mode="r|", bufsize=CHUNK_BYTES) as archive,
            _staged_all(destinations) as fresh,
        ):
            folders = {name: Folders(descriptor) for name, descriptor in fresh.items()}
            try:
                files = _unpack(archive, folders, budget, None if allow is None else tuple(allow), links)
            finally:
                for opened in folders.values():
                    opened.close()
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise ArchiveRefused(f"the tar archive is damaged: {error}") from error
    return ArchiveFacts(files=files, bytes=budget.bytes)


def _unpack(
    archive: tarfile.TarFile,
    folders: Mapping[str, Folders],
    budget: Budget,
    allowed: tuple[tuple[str, ...], ...] | None,
    links: str,
) -> int:
    """How many files and links the archive held; they are in the folders now."""
    names = Names()
    files = 0
    late: list[tuple[tuple[str, ...], str]] = []
    for info in archive:
        budget.entry()
        parts = safe_parts(info.name)
        _check_entry(info, parts, folders, allowed, links)
        names.add(parts, folder=info.isdir())
        below = folders[parts[0]]
        if info.isdir():
            below.open(parts[1:])
            continue
        files += 1
        if info.issym():
            late.append((parts, info.linkname))
            continue
        content = archive.extractfile(info)
        assert content is not None, info.name
        folder = below.open(parts[1:-1])
        write_file(folder, parts[-1], content, budget, bool(info.mode & 0o111), info.size)
        os.utime(parts[-1], (info.mtime, info.mtime), dir_fd=folder, follow_symlinks=False)
    for parts, target in late:
        os.symlink(target, parts[-1], dir_fd=folders[parts[0]].open(parts[1:-1]))
    return files


def _check_entry(
    info: tarfile.TarInfo,
    parts: tuple[str, ...],
    destinations: Mapping[str, Folders],
    allowed: tuple[tuple[str, ...], ...] | None,
    links: str,
) -> None:
    kept = info.isdir() or info.isreg() or (info.issym() and links == "keep")
    if not kept:
        raise ArchiveRefused(f"the archive holds a link or a device: {info.name!r}")
    if parts[0] not in destinations or (len(parts) == 1 and not info.isdir()):
        raise ArchiveRefused(f"the archive holds an entry for an unknown place: {info.name!r}")
    if allowed is not None and not any(_related(parts, place, folder=info.isdir()) for place in allowed):
        raise ArchiveRefused(f"the archive holds an entry outside of the paths asked for: {info.name!r}")


def _related(parts: tuple[str, ...], place: tuple[str, ...], *, folder: bool) -> bool:
    below = parts[: len(place)] == place
    above = folder and place[: len(parts)] == parts
    return below or above


@contextmanager
def _staged_all(destinations: Mapping[str, int]) -> Iterator[dict[str, int]]:
    with ExitStack() as stack:
        yield {name: stack.enter_context(staged(descriptor)) for name, descriptor in destinations.items()}
