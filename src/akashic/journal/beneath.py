"""Folders reached by open descriptors, from a root down and never through a link: neither a name, nor a link
in an archive, nor one that waits in the destination leads anywhere else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from akashic.errors import AkashicError
from akashic.journal.archive import ArchiveRefused

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folders:
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
