"""Content by its digest: put once, never changed, verified when it is opened."""

from __future__ import annotations

import hashlib
import itertools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from akashic.errors import AkashicError

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_CHUNK_BYTES = 1024 * 1024
_temporary_numbers = itertools.count()


class BlobMissing(AkashicError):
    """There is no blob of this digest."""


class BlobDamaged(AkashicError):
    """A blob's content is not what its digest says."""


class BlobUnavailable(AkashicError):
    """A blob cannot be written or read: no space, no permission."""


class BlobStore:
    """Blobs below one folder. Many processes may put and read; a blob appears whole or not at all."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def put_bytes(self, content: bytes) -> str:
        """Keep `content`; its digest ("sha256:…")."""
        return self._put(iter((content,)))

    def put_file(self, path: Path | str) -> str:
        """Keep a file's content as it is now; its digest."""
        try:
            with open(path, "rb") as file:
                return self._put(iter(lambda: file.read(_CHUNK_BYTES), b""))
        except OSError as error:
            raise BlobUnavailable(f"{path}: {error.strerror}") from error

    def has(self, digest: str) -> bool:
        return self._place(digest).exists()

    def path(self, digest: str) -> Path:
        """Where the blob lies; read it, never write it. Raises BlobMissing."""
        place = self._place(digest)
        if not place.exists():
            raise BlobMissing(f"there is no blob {digest}")
        return place

    def open(self, digest: str) -> BinaryIO:
        """The blob, verified, open for reading. Raises BlobMissing, BlobDamaged."""
        file = self.path(digest).open("rb")
        sha256 = hashlib.sha256()
        while chunk := file.read(_CHUNK_BYTES):
            sha256.update(chunk)
        if f"sha256:{sha256.hexdigest()}" != digest:
            file.close()
            raise BlobDamaged(
                f"{self.path(digest)}: the content is not {digest}", hint="remove the file and make it again"
            )
        file.seek(0)
        return file

    def read_bytes(self, digest: str) -> bytes:
        """The whole blob, verified."""
        with self.open(digest) as file:
            return file.read()

    def _place(self, digest: str) -> Path:
        if not _DIGEST.match(digest):
            raise BlobMissing(f"{digest[:80]!r} is no digest: expected sha256: and 64 hexadecimal digits")
        value = digest.removeprefix("sha256:")
        return self.folder / "sha256" / value[:2] / value[2:]

    def _put(self, chunks: Iterator[bytes]) -> str:
        sha256 = hashlib.sha256()
        temporary = self.folder / f".new-{os.getpid()}-{next(_temporary_numbers)}"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with temporary.open("xb") as file:
                for chunk in chunks:
                    sha256.update(chunk)
                    file.write(chunk)
            digest = f"sha256:{sha256.hexdigest()}"
            place = self._place(digest)
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                temporary.chmod(0o444)
                temporary.replace(place)
            return digest
        except OSError as error:
            raise BlobUnavailable(f"{self.folder}: {error.strerror}") from error
        finally:
            temporary.unlink(missing_ok=True)
