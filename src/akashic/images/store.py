"""An OCI image layout on disk: blobs by digest, and the index of what is in it.

As the OCI image specification describes it (image-layout.md, image-index.md, descriptor.md). Any number of
processes may add and remove; the index is replaced as a whole, under a lock.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec

from akashic.errors import AkashicError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
# What Docker's engines and registries wrote before the OCI's types; the documents have the same shape.
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
INDEXES = (INDEX, DOCKER_INDEX)
MANIFESTS = (MANIFEST, DOCKER_MANIFEST)
REF_NAME = "org.opencontainers.image.ref.name"

DOCUMENT_BYTES_MAX = 8 * 1024 * 1024
"""The largest manifest, index or configuration that is read."""

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ImageError(AkashicError):
    """An image or a layout is missing, damaged or not allowed; says which and where."""


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that verification found wrong: where (a digest or file) and what."""

    where: str
    message: str


def canonical_json(value: object) -> bytes:
    """JSON with sorted keys and no spaces: the same value gives the same bytes."""
    return msgspec.json.encode(value, order="sorted")


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Layout:
    """The layout in one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def create(self) -> None:
        """Make the folder an empty layout, unless it is one already."""
        (self.path / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        marker = self.path / "oci-layout"
        if not marker.exists():
            _replace(marker, b'{"imageLayoutVersion":"1.0.0"}')
        index = self.path / "index.json"
        with self._locked():
            if not index.exists():
                _replace(index, _index_bytes([]))

    def blob_path(self, digest: str) -> Path:
        """Where a blob lies or would lie. Raises ImageError for what is no SHA-256 digest."""
        if not _DIGEST.fullmatch(digest):
            raise ImageError(f"{digest!r} is not a digest", hint="expected sha256: and 64 hexadecimal digits")
        return self.path / "blobs" / "sha256" / digest.removeprefix("sha256:")

    def put(self, data: bytes) -> str:
        """Keep bytes; returns their digest."""
        digest = digest_of(data)
        path = self.blob_path(digest)
        if not path.exists():
            _replace(path, data)
        return digest

    @contextmanager
    def writer(self) -> Iterator[tuple[IO[bytes], Callable[[str], None]]]:
        """A file to write a blob to, and the function that keeps it under its digest; else it is removed."""
        temporary = self.path / "blobs" / "sha256" / f".writing-{os.getpid()}-{secrets.token_hex(4)}"
        kept = False

        def keep(digest: str) -> None:
            nonlocal kept
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(self.blob_path(digest))
            kept = True

        with temporary.open("xb") as file:
            try:
                yield file, keep
            finally:
                if not kept:
                    temporary.unlink(missing_ok=True)

    def put_file(self, source: Path, digest: str) -> None:
        """Keep a file whose digest is known; a hard link where the file system allows it."""
        path = self.blob_path(digest)
        if path.exists():
            return
        temporary = path.with_name(f".linking-{os.getpid()}-{secrets.token_hex(4)}")
        try:
            os.link(source, temporary)
        except OSError:
            temporary.write_bytes(source.read_bytes())
        temporary.replace(path)

    def read(self, digest: str) -> bytes:
        """A small blob, verified. Raises ImageError when it is missing, too big or damaged."""
        path = self.blob_path(digest)
        try:
            if path.stat().st_size > DOCUMENT_BYTES_MAX:
                raise ImageError(f"{path}: larger than {DOCUMENT_BYTES_MAX} bytes, not a manifest")
            data = path.read_bytes()
        except FileNotFoundError:
            raise ImageError(
                f"{self.path}: the image part {digest} is missing", hint="build the image again"
            ) from None
        if digest_of(data) != digest:
            raise ImageError(f"{path}: damaged, its bytes are not those of its digest", hint="build again")
        return data

    def read_json(self, digest: str) -> dict[str, Any]:
        try:
            return msgspec.json.decode(self.read(digest), type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise ImageError(f"{self.blob_path(digest)}: not valid JSON: {error}") from None

    def entries(self) -> list[dict[str, Any]]:
        """The descriptors in the index, in order. Raises ImageError when it is missing or broken."""
        path = self.path / "index.json"
        try:
            document = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
            return msgspec.convert(document.get("manifests", []), list[dict[str, Any]])
        except FileNotFoundError:
            raise ImageError(f"{self.path}: not an image layout (no index.json)") from None
        except msgspec.MsgspecError as error:
            raise ImageError(f"{path}: not a valid index: {error}") from None

    def change(self, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Replace the index by what `edit` makes of it, under the lock. A broken index is not touched."""
        with self._locked():
            after = edit(self.entries())
            _replace(self.path / "index.json", _index_bytes(after))
            return after

    def collect_garbage(self) -> int:
        """Remove blobs that nothing in the index reaches; the bytes that became free."""
        with _flock(self.path / "blobs", fcntl.LOCK_EX), self._locked():
            reachable = self.reachable([str(entry.get("digest")) for entry in self.entries()])
            freed = 0
            for path in (self.path / "blobs" / "sha256").iterdir():
                if not path.name.startswith(".") and f"sha256:{path.name}" not in reachable:
                    freed += path.stat().st_size
                    path.unlink()
            return freed

    def reachable(self, digests: Sequence[str]) -> set[str]:
        """The blobs that these lead to, themselves included."""
        found: set[str] = set()
        waiting = list(digests)
        while waiting:
            digest = waiting.pop()
            if digest in found:
                continue
            found.add(digest)
            if (
                not self.blob_path(digest).exists()
                or self.blob_path(digest).stat().st_size > DOCUMENT_BYTES_MAX
            ):
                continue
            waiting.extend(child["digest"] for child in _children(self.blob_path(digest).read_bytes()))
        return found

    def verify(self) -> list[Fault]:
        """Recompute every digest and size that the index reaches. Empty when the layout is sound."""
        faults: list[Fault] = []
        seen: set[str] = set()
        waiting = list(self.entries())
        while waiting:
            descriptor = waiting.pop()
            digest = str(descriptor.get("digest"))
            if digest in seen:
                continue
            seen.add(digest)
            faults.extend(self._verify_blob(descriptor, digest, waiting))
        return faults

    def _verify_blob(
        self, descriptor: dict[str, Any], digest: str, waiting: list[dict[str, Any]]
    ) -> Iterator[Fault]:
        try:
            path = self.blob_path(digest)
        except ImageError as error:
            yield Fault(where=digest, message=error.message)
            return
        if not path.exists():
            yield Fault(where=digest, message="missing")
            return
        with path.open("rb") as file:
            actual = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
        size = path.stat().st_size
        if actual != digest:
            yield Fault(where=digest, message=f"damaged: its bytes have the digest {actual}")
        elif descriptor.get("size") != size:
            yield Fault(
                where=digest, message=f"is {size} bytes, its descriptor says {descriptor.get('size')}"
            )
        elif descriptor.get("mediaType") in (*MANIFESTS, *INDEXES):
            waiting.extend(_children(path.read_bytes()))

    @contextmanager
    def building(self) -> Iterator[None]:
        """While it is held, no garbage is collected: what a build has put is not in the index yet."""
        with _flock(self.path / "blobs", fcntl.LOCK_SH):
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _flock(self.path / "oci-layout", fcntl.LOCK_EX):
            yield


@contextmanager
def _flock(path: Path, kind: int) -> Iterator[None]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ImageError(f"{path.parent}: not an image layout (no {path.name})") from None
    try:
        fcntl.flock(descriptor, kind)
        yield
    finally:
        os.close(descriptor)


def _children(data: bytes) -> list[dict[str, Any]]:
    """The descriptors that a manifest or index names; none for anything else."""
    try:
        document = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.MsgspecError:
        return []
    if document.get("mediaType") not in (*MANIFESTS, *INDEXES):
        return []
    children = [*document.get("manifests", []), *document.get("layers", [])]
    for name in ("config", "subject"):
        if isinstance(document.get(name), dict):
            children.append(document[name])
    return [child for child in children if isinstance(child, dict) and "digest" in child]


def _index_bytes(entries: list[dict[str, Any]]) -> bytes:
    return canonical_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries})


def _replace(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".writing-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ImageError(f"{path}: cannot write: {error.strerror}") from error
