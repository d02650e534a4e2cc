"""Layers: tar archives whose bytes depend on nothing but the names, kinds and contents of their entries."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Literal

import msgspec

from akashic.images.spec import Compression

MEDIA_TYPES: dict[Compression, str] = {
    "none": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
}
GZIP_LEVEL = 6


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One file or link of a layer. `path` is relative to the image's root. A file's content is bytes or the
    path of a file on this machine; a link's is its target."""

    path: str
    kind: Literal["file", "executable", "link"]
    content: bytes | Path


class Layer(msgspec.Struct, frozen=True, kw_only=True):
    """A written layer: the digest and size of the stored bytes, and the digest of the plain tar."""

    digest: str
    size: int
    diff_id: str
    media_type: str


class HashingWriter(io.RawIOBase):
    """Passes bytes on and hashes them on the way."""

    def __init__(self, target: IO[bytes] | gzip.GzipFile) -> None:
        self._target = target
        self._hash = hashlib.sha256()
        self.size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        self._target.write(view)
        self._hash.update(view)
        self.size += view.nbytes
        return view.nbytes

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def write_layer(
    entries: Iterable[Entry], target: IO[bytes], *, mtime_s: int, compression: Compression
) -> Layer:
    """Write the entries, and the folders above them, sorted by path. All belong to user and group 0 (what
    runs as another user cannot change them), files are 0644 or 0755, every time is `mtime_s`."""
    stored = HashingWriter(target)
    if compression == "gzip":
        with gzip.GzipFile("", "wb", GZIP_LEVEL, stored, mtime=0) as packed:
            plain = HashingWriter(packed)
            _write_tar(entries, plain, mtime_s)
    else:
        plain = stored
        _write_tar(entries, plain, mtime_s)
    return Layer(
        digest=stored.digest, size=stored.size, diff_id=plain.digest, media_type=MEDIA_TYPES[compression]
    )


def _write_tar(entries: Iterable[Entry], target: HashingWriter, mtime_s: int) -> None:
    by_path: dict[str, Entry | None] = {}
    for entry in entries:
        by_path[entry.path] = entry
        parent = entry.path.rpartition("/")[0]
        while parent and parent not in by_path:
            by_path[parent] = None
            parent = parent.rpartition("/")[0]
    with tarfile.open(fileobj=target, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(by_path, key=lambda name: name.encode("utf-8", "surrogateescape")):
            _add(archive, path, by_path[path], mtime_s)


def _add(archive: tarfile.TarFile, path: str, entry: Entry | None, mtime_s: int) -> None:
    info = tarfile.TarInfo(path)
    info.mtime = mtime_s
    if entry is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        archive.addfile(info)
    elif entry.kind == "link":
        assert isinstance(entry.content, bytes)
        info.type, info.mode = tarfile.SYMTYPE, 0o777
        info.linkname = entry.content.decode("utf-8", "surrogateescape")
        archive.addfile(info)
    else:
        info.mode = 0o755 if entry.kind == "executable" else 0o644
        if isinstance(entry.content, bytes):
            info.size = len(entry.content)
            archive.addfile(info, io.BytesIO(entry.content))
        else:
            info.size = entry.content.stat().st_size
            with entry.content.open("rb") as file:
                archive.addfile(info, file)
