"""Archives that engines save and load.

Docker 25 and later write an OCI layout; older engines and Podman the "docker archive": `manifest.json`, the
configuration, and one plain tar a layer (moby, image/spec/v1.2.md). Every byte is checked against its digest.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import posixpath
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from akashic.images.inventory import open_blob
from akashic.images.read import read_manifest
from akashic.images.spec import Compression
from akashic.images.store import (
    CONFIG,
    DOCUMENT_BYTES_MAX,
    INDEXES,
    MANIFEST,
    ImageError,
    Layout,
    canonical_json,
)
from akashic.images.tar import MEDIA_TYPES, HashingWriter

_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_CHUNK = 1 << 20
_GZIP_LEVEL = 1
"""An engine's layers are big and not reproducible anyway: time counts more than the last percent."""


def export_archive(layout: Path, digest: str, name: str, *, platform: str = "") -> Iterator[bytes]:
    """One platform's image as an archive that every engine loads, in pieces. Raises ImageError."""
    store = Layout(layout)
    manifest = read_manifest(layout, digest, platform=platform)
    config = store.read(str(manifest["config"]["digest"]))
    config_name = f"{manifest['config']['digest'].removeprefix('sha256:')}.json"
    layers = [f"{number}/layer.tar" for number in range(len(manifest["layers"]))]
    listed = [{"Config": config_name, "RepoTags": [name], "Layers": layers}]
    for path, descriptor in zip(layers, manifest["layers"], strict=True):
        with tempfile.TemporaryFile() as plain:
            # A member's size stands before its bytes, and a packed layer does not tell it.
            with open_blob(store.blob_path(str(descriptor["digest"]))) as blob:
                shutil.copyfileobj(blob, plain, _CHUNK)
            yield from _member(path, plain)
    for path, content in ((config_name, config), ("manifest.json", canonical_json(listed))):
        yield from _member(path, io.BytesIO(content))
    yield bytes(2 * tarfile.BLOCKSIZE)


def _member(path: str, content: IO[bytes]) -> Iterator[bytes]:
    info = tarfile.TarInfo(path)
    info.size = content.seek(0, io.SEEK_END)
    content.seek(0)
    yield info.tobuf()
    while chunk := content.read(_CHUNK):
        yield chunk
    yield bytes(-info.size % tarfile.BLOCKSIZE)


def import_archive(stream: IO[bytes], layout: Path, *, compression: Compression = "none") -> dict[str, Any]:
    """Take the one image of an archive into the layout; its descriptor.

    `stream` is read once, from beginning to end. `compression` is for layers that the archive holds plain.
    Raises ImageError for anything else than one image.
    """
    store = Layout(layout)
    store.create()
    reading = _Reading(store, compression)
    try:
        with store.building(), tarfile.open(fileobj=stream, mode="r|", bufsize=_CHUNK) as archive:
            for member in archive:
                reading.member(archive, member)
            return reading.finish(layout)
    except (tarfile.TarError, msgspec.MsgspecError, EOFError) as error:
        raise ImageError(f"the engine's archive cannot be read: {error}") from None


class _Layer(msgspec.Struct, frozen=True, kw_only=True):
    diff_id: str
    digest: str
    size: int


class _Reading:
    """What was seen of one archive."""

    def __init__(self, store: Layout, compression: Compression) -> None:
        self._store = store
        self._compression: Compression = compression
        self._documents: dict[str, bytes] = {}
        self._layers: dict[str, _Layer] = {}
        self._links: dict[str, str] = {}

    def member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        """Take one member."""
        name = posixpath.normpath(member.name)
        if member.issym():
            # A layer that stands in the archive already.
            self._links[name] = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
            return
        reader = archive.extractfile(member) if member.isreg() else None
        if reader is None:
            return
        if match := _BLOB.fullmatch(name):
            self._blob(reader, f"sha256:{match[1]}")
        elif name.endswith(".tar"):
            self._layers[name] = self._layer(reader)
        elif name.endswith(".json") and "/" not in name and member.size <= DOCUMENT_BYTES_MAX:
            self._documents[name] = reader.read()

    def finish(self, layout: Path) -> dict[str, Any]:
        """The descriptor of the image."""
        if "index.json" in self._documents:
            return self._oci(layout)
        if "manifest.json" in self._documents:
            return self._docker()
        raise ImageError(
            "the engine's archive holds no image", hint="--engine none builds without the engine"
        )

    def _oci(self, layout: Path) -> dict[str, Any]:
        index = msgspec.json.decode(self._documents["index.json"], type=dict[str, Any])
        manifests = index.get("manifests", [])
        if len({entry.get("digest") for entry in manifests}) != 1:
            raise ImageError(f"the engine's archive holds {len(manifests)} images, expected one")
        chosen = manifests[0]
        if chosen.get("mediaType") in INDEXES:
            # An engine with the containerd store writes an index of the image and its attestations, and may
            # name platforms that it has not got.
            children = self._store.read_json(str(chosen["digest"])).get("manifests", [])
            present = [child for child in children if _is_image(child, self._store)]
            chosen = present[0] if len(present) == 1 else chosen
        descriptor = {key: chosen[key] for key in ("mediaType", "digest", "size")}
        if descriptor["mediaType"] not in INDEXES:
            read_manifest(layout, str(descriptor["digest"]))
        return descriptor

    def _docker(self) -> dict[str, Any]:
        listed = msgspec.json.decode(self._documents["manifest.json"], type=list[dict[str, Any]])
        if len(listed) != 1:
            raise ImageError(f"the engine's archive holds {len(listed)} images, expected one")
        config = self._documents.get(str(listed[0].get("Config")))
        if config is None:
            # The archive may name the configuration by its place among the blobs, which is verified there.
            match = _BLOB.fullmatch(str(listed[0].get("Config")))
            if match is None:
                raise ImageError("the engine's archive lacks the image's configuration")
            config = self._store.read(f"sha256:{match[1]}")
        document = msgspec.json.decode(config, type=dict[str, Any])
        layers = [self._find(str(name)) for name in listed[0].get("Layers") or []]
        expected = document.get("rootfs", {}).get("diff_ids", [])
        if [layer.diff_id for layer in layers] != expected:
            raise ImageError("the engine's archive is damaged: its layers are not those of its configuration")
        media_type = MEDIA_TYPES[self._compression]
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": self._store.put(config), "size": len(config)},
            "layers": [
                {"mediaType": media_type, "digest": layer.digest, "size": layer.size} for layer in layers
            ],
        }
        data = canonical_json(manifest)
        return {"mediaType": MANIFEST, "digest": self._store.put(data), "size": len(data)}

    def _find(self, name: str) -> _Layer:
        name = posixpath.normpath(name)
        for _ in range(2):
            if name in self._layers:
                return self._layers[name]
            name = self._links.get(name, name)
        raise ImageError(f"the engine's archive lacks the layer {name!r}")

    def _layer(self, reader: IO[bytes]) -> _Layer:
        plain = hashlib.sha256()
        with self._store.writer() as (target, keep):
            stored = HashingWriter(target)
            packed = (
                gzip.GzipFile("", "wb", _GZIP_LEVEL, stored, mtime=0) if self._compression == "gzip" else None
            )
            while chunk := reader.read(_CHUNK):
                plain.update(chunk)
                (packed or stored).write(chunk)
            if packed is not None:
                packed.close()
            keep(stored.digest)
        return _Layer(diff_id=f"sha256:{plain.hexdigest()}", digest=stored.digest, size=stored.size)

    def _blob(self, reader: IO[bytes], digest: str) -> None:
        actual = hashlib.sha256()
        with self._store.writer() as (target, keep):
            while chunk := reader.read(_CHUNK):
                actual.update(chunk)
                target.write(chunk)
            if f"sha256:{actual.hexdigest()}" != digest:
                raise ImageError(f"the engine's archive is damaged: {digest} has other bytes")
            keep(digest)


def _is_image(descriptor: dict[str, Any], store: Layout) -> bool:
    platform = descriptor.get("platform") or {}
    return platform.get("os") != "unknown" and store.blob_path(str(descriptor["digest"])).exists()
