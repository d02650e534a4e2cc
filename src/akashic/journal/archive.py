"""Zip and tar, written and read so that no archive can reach outside the folder it is unpacked into.

Unpacking goes into a fresh folder that this module makes itself inside the destination; only when the whole
archive was read and found sound are its entries moved into place. Both walk folder by folder with open
descriptors and never follow a link, so neither a name, nor a link in the archive, nor one that waits in the
destination leads anywhere else. The libraries' own extraction is not used.
"""

from __future__ import annotations

import os
import stat
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal

import msgspec

from akashic.errors import AkashicError

if TYPE_CHECKING:
    import tarfile

CHUNK_BYTES = 1 << 20
NAME_BYTES_MAX = 4096
PART_BYTES_MAX = 255
RATIO_FREE_BYTES = 64 << 20
"""Archives that unpack to less than this are not judged by their ratio."""

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
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


class _Names:
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


class _Budget:
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


class _Folders:
    """Open descriptors of the folders below one root, made as they are needed, never through a link."""

    OPEN_MAX = 128

    def __init__(self, root: int, *, create: bool = True) -> None:
        self._root = root
        self._create = create
        self._open: dict[tuple[str, ...], int] = {}

    def open(self, parts: tuple[str, ...]) -> int:
        if not parts:
            return self._root
        known = self._open.get(parts)
        if known is not None:
            return known
        parent = self.open(parts[:-1])
        descriptor = _enter(parent, parts[-1], create=self._create)
        if len(self._open) >= self.OPEN_MAX:
            # Ancestors may be among the closed ones; they are opened again when asked for.
            self.close()
        self._open[parts] = descriptor
        return descriptor

    def close(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()


def _enter(parent: int, name: str, *, create: bool) -> int:
    if create:
        with suppress(FileExistsError):
            os.mkdir(name, 0o755, dir_fd=parent)
    try:
        return os.open(name, _FOLDER, dir_fd=parent)
    except NotADirectoryError:
        raise ArchiveRefused(f"{name!r} is a link or a file where a folder is needed") from None
    except OSError as error:
        if stat.S_ISLNK(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            raise ArchiveRefused(f"{name!r} is a link where a folder is needed") from None
        raise AkashicError(f"cannot open the folder {name!r}: {error.strerror}") from error


@contextmanager
def open_beneath(root: str, parts: tuple[str, ...], *, create: bool) -> Iterator[int]:
    """The descriptor of a folder below `root`, reached without following a link below `root`."""
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts:
            below = _enter(descriptor, part, create=create)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def staged(destination: int) -> Iterator[int]:
    """A fresh folder inside `destination` to unpack into. When the block ends well its entries are moved up
    into `destination`; however it ends, the fresh folder is gone afterwards."""
    name = f".akashic-unpack-{os.urandom(8).hex()}"
    os.mkdir(name, 0o700, dir_fd=destination)
    try:
        fresh = os.open(name, _FOLDER, dir_fd=destination)
        try:
            yield fresh
            _merge(fresh, destination)
        finally:
            os.close(fresh)
    finally:
        _remove_tree(destination, name)


def _merge(source: int, target: int) -> None:
    """Move every entry of one folder into another of the same file system. Files and links are replaced,
    folders are joined, a link is never followed."""
    with os.scandir(source) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in names:
        try:
            there = os.stat(name, dir_fd=target, follow_symlinks=False)
        except FileNotFoundError:
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
            continue
        if not is_folder:
            if stat.S_ISDIR(there.st_mode):
                raise ArchiveRefused(f"{name!r} is a folder where the archive has a file")
            os.rename(name, name, src_dir_fd=source, dst_dir_fd=target)
            continue
        if not stat.S_ISDIR(there.st_mode):
            raise ArchiveRefused(f"{name!r} is a link or a file where the archive has a folder")
        below_source = os.open(name, _FOLDER, dir_fd=source)
        try:
            below_target = os.open(name, _FOLDER, dir_fd=target)
            try:
                _merge(below_source, below_target)
            finally:
                os.close(below_target)
        finally:
            os.close(below_source)


def _remove_tree(parent: int, name: str) -> None:
    import shutil

    with suppress(FileNotFoundError):
        shutil.rmtree(name, dir_fd=parent)


def write_zip(out: IO[bytes], members: Iterable[Member], *, level: int) -> ArchiveFacts:
    """Pack files (links are followed: their content is packed) in the given order; `level` is zlib's, 0 to 9.

    What does not shrink is stored as it is. Names are checked as they are when unpacking.
    """
    import zipfile

    names = _Names()
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
    budget = _Budget(limits, packed)
    names = _Names()
    files = 0
    try:
        with zipfile.ZipFile(source) as archive, staged(destination) as fresh:
            if len(archive.infolist()) > limits.entries_max:
                raise ArchiveRefused(f"the archive holds more than {limits.entries_max:,} entries")
            folders = _Folders(fresh)
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
                        _write_file(folders.open(parts[:-1]), parts[-1], content, budget, executable)
                    files += 1
            finally:
                folders.close()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise ArchiveRefused(f"the zip archive is damaged or of an unknown kind: {error}") from error
    return ArchiveFacts(files=files, bytes=budget.bytes)


def _write_file(
    folder: int, name: str, content: IO[bytes], budget: _Budget, executable: bool, size: int | None = None
) -> None:
    descriptor = os.open(name, _NEW_FILE, 0o755 if executable else 0o644, dir_fd=folder)
    written = 0
    with open(descriptor, "wb", buffering=0) as sink:
        while chunk := content.read(CHUNK_BYTES):
            budget.take(len(chunk))
            written += len(chunk)
            sink.write(chunk)
    if size is not None and written != size:
        raise ArchiveRefused(f"the archive ends in the middle of {name!r}")


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

    allowed = None if allow is None else tuple(allow)
    budget = _Budget(limits, os.fstat(source.fileno()).st_size)
    names = _Names()
    files = 0
    try:
        with (
            tarfile.open(fileobj=source, mode="r|", bufsize=CHUNK_BYTES) as archive,
            _staged_all(destinations) as fresh,
        ):
            folders = {name: _Folders(descriptor) for name, descriptor in fresh.items()}
            late: list[tuple[tuple[str, ...], str]] = []
            try:
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
                    _write_file(folder, parts[-1], content, budget, bool(info.mode & 0o111), info.size)
                    os.utime(parts[-1], (info.mtime, info.mtime), dir_fd=folder, follow_symlinks=False)
                for parts, target in late:
                    os.symlink(target, parts[-1], dir_fd=folders[parts[0]].open(parts[1:-1]))
            finally:
                for opened in folders.values():
                    opened.close()
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise ArchiveRefused(f"the tar archive is damaged: {error}") from error
    return ArchiveFacts(files=files, bytes=budget.bytes)


def _check_entry(
    info: tarfile.TarInfo,
    parts: tuple[str, ...],
    destinations: Mapping[str, _Folders],
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
    from contextlib import ExitStack

    with ExitStack() as stack:
        yield {name: stack.enter_context(staged(descriptor)) for name, descriptor in destinations.items()}
