"""Unpacks an image's layers into a fresh folder, trusting nothing in them.

Every name is checked before anything is written: no way out of the folder, nothing written through a link, no
links that lead out (also by way of other links), no devices, no set-id bits, and caps on number and size. The
checks are ours; `tarfile` only reads.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, cast

import msgspec

from akashic.images.store import ImageError

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
LINKS_MAX = 40
NAME_BYTES_MAX = 255
PATH_BYTES_MAX = 3000


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What an image may take at most: entries in all layers, bytes unpacked."""

    entries_max: int = 300_000
    bytes_max: int = 8 * 1024**3


class UnsafeImage(ImageError):
    """A layer holds what is never unpacked."""


def unpack_layers(layers: Iterable[tuple[Path, str]], destination: Path, limits: Limits) -> None:
    """Unpack layers (file and media type, lowest first) into `destination`, which must not exist or be empty.

    Raises UnsafeImage or ImageError, and then nothing is left at the destination.
    """
    if destination.is_symlink() or (destination.exists() and any(destination.iterdir())):
        raise ImageError(f"{destination}: not empty; an image is unpacked into a folder of its own")
    destination.mkdir(parents=True, exist_ok=True, mode=0o755)
    try:
        unpacking = _Unpacking(destination, limits)
        for path, media_type in layers:
            with path.open("rb") as file:
                unpacking.layer(file, media_type)
        unpacking.check_links()
    except tarfile.TarError as error:
        shutil.rmtree(destination, ignore_errors=True)
        raise ImageError(f"a layer is not a readable tar archive: {error}") from None
    except (OSError, EOFError) as error:
        shutil.rmtree(destination, ignore_errors=True)
        raise ImageError(f"{destination}: cannot unpack the image: {error}") from error
    except BaseException:
        shutil.rmtree(destination, ignore_errors=True)
        raise


class _Unpacking:
    """One destination. `folders` are those that exist and are real; `links` maps each link to its target."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self.root = root
        self.limits = limits
        self.folders: set[str] = {""}
        self.files: set[str] = set()
        self.links: dict[str, str] = {}
        self.entries = 0
        self.bytes = 0

    def layer(self, file: IO[bytes], media_type: str) -> None:
        packed = media_type.endswith("gzip")
        if not packed and not media_type.endswith("tar"):
            raise ImageError(
                f"layers of the type {media_type} cannot be unpacked", hint="expected tar or tar+gzip"
            )
        stream = cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if packed else file
        of_this_layer: set[str] = set()
        with tarfile.open(fileobj=stream, mode="r|", errorlevel=2) as archive:
            for member in archive:
                self.entries += 1
                if self.entries > self.limits.entries_max:
                    raise UnsafeImage(f"the image has more than {self.limits.entries_max} entries")
                self._member(archive, member, of_this_layer)

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo, of_this_layer: set[str]) -> None:
        path = checked_path(member.name)
        if not path:
            if member.isdir():
                return
            raise UnsafeImage(f"{member.name!r}: an entry replaces the root of the image")
        parent, _, name = path.rpartition("/")
        self._make_folders(parent)
        if name == OPAQUE:
            self._remove_below(parent, of_this_layer)
            return
        if name.startswith(WHITEOUT):
            hidden = name.removeprefix(WHITEOUT)
            if hidden in ("", ".", ".."):
                raise UnsafeImage(f"{member.name!r}: a whiteout without a name")
            self._remove(f"{parent}/{hidden}" if parent else hidden)
            return
        of_this_layer.add(path)
        if member.isdir():
            self._make_folders(path, replace=True)
            return
        self._remove(path)
        if member.issym():
            self._link(path, member.linkname)
        elif member.islnk():
            self._hard_link(path, member)
        elif member.isreg():
            self._file(archive, member, path)
        else:
            raise UnsafeImage(f"{member.name!r}: devices, pipes and sockets are not unpacked")

    def _make_folders(self, path: str, *, replace: bool = False) -> None:
        made = ""
        parts = path.split("/") if path else []
        for number, part in enumerate(parts):
            made = f"{made}/{part}" if made else part
            if made in self.folders:
                continue
            if made in self.links or made in self.files:
                if replace and number == len(parts) - 1:
                    self._remove(made)
                else:
                    raise UnsafeImage(f"{path!r}: would be written through {made!r}, which is no folder")
            (self.root / made).mkdir(mode=0o755)
            self.folders.add(made)

    def _file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
        if member.size > self.limits.bytes_max - self.bytes:
            raise UnsafeImage(
                f"{member.name!r}: the image is larger than {self.limits.bytes_max} bytes unpacked"
            )
        self.bytes += member.size
        source = archive.extractfile(member)
        assert source is not None
        # No set-user-id, no set-group-id, no sticky bit, never writable by others.
        mode = 0o755 if member.mode & 0o111 else 0o644
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self.root / path, flags, mode), "wb") as target:
            shutil.copyfileobj(source, target, 1024 * 1024)
            os.fchmod(target.fileno(), mode)
        os.utime(self.root / path, (member.mtime, member.mtime))
        self.files.add(path)

    def _link(self, path: str, target: str) -> None:
        if not target or "\0" in target or len(os.fsencode(target)) > PATH_BYTES_MAX:
            raise UnsafeImage(f"{path!r}: a symbolic link with an unusable target")
        if target.startswith("/"):
            # In the image an absolute target begins at the image's root; here that is the destination.
            inside = checked_path(target)
            ups = path.count("/")
            target = "../" * ups + inside if inside else ("../" * ups or ".")
        self.links[path] = target
        (self.root / path).symlink_to(target)

    def _hard_link(self, path: str, member: tarfile.TarInfo) -> None:
        target = checked_path(member.linkname)
        if target not in self.files:
            raise UnsafeImage(
                f"{member.name!r}: a hard link to {member.linkname!r}, which is no file of the image"
            )
        os.link(self.root / target, self.root / path, follow_symlinks=False)
        self.files.add(path)

    def _remove(self, path: str) -> None:
        if path in self.folders:
            shutil.rmtree(self.root / path)
            below = path + "/"
            self.folders = {name for name in self.folders if name != path and not name.startswith(below)}
            self.files = {name for name in self.files if not name.startswith(below)}
            self.links = {name: to for name, to in self.links.items() if not name.startswith(below)}
        elif path in self.files or path in self.links:
            (self.root / path).unlink()
            self.files.discard(path)
            self.links.pop(path, None)

    def _remove_below(self, folder: str, keep: set[str]) -> None:
        """An opaque whiteout: what lower layers put into the folder is hidden, what this layer put stays."""
        prefix = f"{folder}/" if folder else ""
        known = [*self.folders, *self.files, *self.links]
        children = {name[len(prefix) :].split("/")[0] for name in known if name and name.startswith(prefix)}
        for child in children:
            path = prefix + child
            if path not in keep and not any(name.startswith(path + "/") for name in keep):
                self._remove(path)

    def check_links(self) -> None:
        """Follow every link as the kernel would; none may leave the root, directly or by way of others."""
        for path in self.links:
            self._resolve(path)

    def _resolve(self, path: str) -> None:
        waiting = path.split("/")[::-1]
        at: list[str] = []
        followed = 0
        while waiting:
            part = waiting.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if not at:
                    raise UnsafeImage(f"{path!r}: a symbolic link leads out of the image")
                at.pop()
                continue
            target = self.links.get("/".join([*at, part]))
            if target is None:
                at.append(part)
                continue
            followed += 1
            if followed > LINKS_MAX:
                return  # a loop, or what the kernel refuses too (ELOOP): it leads nowhere
            waiting.extend(target.split("/")[::-1])


def checked_path(name: str) -> str:
    """The name of an entry, relative and normalised. Raises UnsafeImage for `..`, NUL, and what is too long.

    A leading `/` is the image's root.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    too_long = any(len(os.fsencode(part)) > NAME_BYTES_MAX for part in parts)
    if ".." in parts or "\0" in name or too_long or len(os.fsencode(name)) > PATH_BYTES_MAX:
        raise UnsafeImage(f"{name[:200]!r}: a name that leads out of the image or cannot be kept")
    return "/".join(parts)
