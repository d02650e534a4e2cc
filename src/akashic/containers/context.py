"""A folder as a build context: a tar without times and owners, so that the same files give the same digest.

Source: the Dockerfile reference, ".dockerignore file" (the last matching line wins, `!` takes back, `**`
crosses folders; the Dockerfile and `.dockerignore` itself are always sent).
"""

from __future__ import annotations

import contextlib
import errno
import os
import tarfile
import tempfile
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from akashic.containers.dockerignore import DockerIgnore
from akashic.containers.errors import BuildFailed

IGNORE_FILE = ".dockerignore"
IN_MEMORY_BYTES_MAX = 8 * 1024 * 1024
PIECE_BYTES = 1 << 18
_IGNORE_BYTES_MAX = 1 << 20


@contextlib.contextmanager
def packed_context(folder: str, dockerfile: str) -> Iterator[tuple[Iterator[bytes], str]]:
    """The tar in pieces and the digest of its content and the Dockerfile's name. Raises BuildFailed when a
    file cannot be read or the Dockerfile is none of the folder's."""
    root = Path(folder)
    wanted = (root / dockerfile).resolve()
    if not wanted.is_relative_to(root.resolve()):
        raise BuildFailed(f"{dockerfile} leads out of its build context {folder}")
    if not wanted.is_file():
        raise BuildFailed(f"there is no {dockerfile} in {folder}")
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES_MAX) as file:
        try:
            _pack(root, dockerfile, file)  # type: ignore[arg-type]
        except OSError as error:
            raise BuildFailed(f"the build context {folder} cannot be read: {error}") from error
        digest = sha256(dockerfile.encode() + b"\0")
        file.seek(0)
        while piece := file.read(PIECE_BYTES):
            digest.update(piece)
        file.seek(0)
        yield iter(lambda: file.read(PIECE_BYTES), b""), digest.hexdigest()


def _pack(root: Path, dockerfile: str, file: BinaryIO) -> None:
    ignore = _ignore_file(root / IGNORE_FILE)
    always = {dockerfile.removeprefix("./"), IGNORE_FILE}
    real_root = os.path.realpath(root)
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if name not in always and ignore.ignores(name):
                continue
            info = archive.gettarinfo(str(path), name)
            if info is None:  # A socket.
                continue
            info.mtime, info.uid, info.gid, info.uname, info.gname = 0, 0, 0, "", ""
            if info.isreg():
                # Hard links of the folder are files of their own in the image.
                info.type, info.linkname = tarfile.REGTYPE, ""
                with _open_inside(real_root, path) as content:
                    archive.addfile(info, content)
            elif info.isdir() or info.issym():
                archive.addfile(info)


def _open_inside(real_root: str, path: Path) -> BinaryIO:
    """A regular file of the context. What writes to the folder at the same time may have put a link in its
    place, or in that of a folder above: what is opened is looked at, not its name. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    file = open(descriptor, "rb")  # noqa: SIM115 - the caller closes it
    opened = Path(f"/proc/self/fd/{descriptor}").readlink()
    if not opened.is_relative_to(real_root):
        file.close()
        raise PermissionError(errno.EACCES, "leads out of the build context", str(path))
    return file


def _ignore_file(path: Path) -> DockerIgnore:
    try:
        with path.open("rb") as file:
            return DockerIgnore(file.read(_IGNORE_BYTES_MAX).decode(errors="replace"))
    except OSError:
        return DockerIgnore("")
