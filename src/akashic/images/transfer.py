"""Copies images between a layout and a registry: blobs first, then what refers to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from akashic.containers.auth import find_credentials
from akashic.containers.references import parse_image_name
from akashic.images.naming import artifact_entries
from akashic.images.references import Reference
from akashic.images.registry import Manifest, Repository
from akashic.images.store import INDEXES, MANIFESTS, ImageError, Layout

DEPTH_MAX = 4
"""Indexes inside of indexes."""

LAYER_BYTES_MAX = 16 * 1024**3
UNKNOWN = "unknown"
"""The platform of what is in an index and no image: attestations as BuildKit attaches them."""

Said = Callable[[str], None]


def open_repository(name: str, environ: Mapping[str, str], *, insecure: bool = False) -> Repository:
    """The repository that a name (`registry.example.com/team/app`) stands for, with the user's credentials
    for its registry. Raises UsageError, EngineError for a credential helper that fails."""
    found = parse_image_name(name)
    credential = find_credentials(found.registry, environ)
    return Repository(found.registry, found.repository, credential=credential, insecure=insecure)


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What is in a registry now: the image by digest, its full names, the artifacts that refer to it, and how
    many blobs were sent and were there before."""

    digest: str
    names: tuple[str, ...]
    referrers: dict[str, str]
    sent: int
    present: int


def push(
    layout: Path, digest: str, repository: Repository, tags: Sequence[str], *, say: Said = lambda _: None
) -> Pushed:
    """Copy an image with everything that refers to it, and give it its tags. What is there is not sent again;
    tags move last, so a broken push shows no half image. Raises RegistryError, ImageError, AkashicError."""
    store = Layout(layout)
    sending = _Sending(store, repository, say)
    media_type = str(store.read_json(digest).get("mediaType"))
    sending.manifest(digest, 0)
    for tag in tags:
        repository.put_manifest(tag, media_type, store.read(digest))
    attached: dict[str, str] = {}
    for entry in artifact_entries(layout, digest):
        tracked = sending.manifest(str(entry["digest"]), 0)
        if not tracked:
            wanted = ("mediaType", "digest", "size", "artifactType")
            repository.refer(digest, {name: entry[name] for name in wanted})
        attached[str(entry["artifactType"])] = str(entry["digest"])
    names = tuple(f"{repository}:{tag}" for tag in tags) or (f"{repository}@{digest}",)
    return Pushed(digest=digest, names=names, referrers=attached, sent=sending.sent, present=sending.present)


class _Sending:
    """One push: counts what it sends."""

    def __init__(self, store: Layout, repository: Repository, say: Said) -> None:
        self._store = store
        self._repository = repository
        self._say = say
        self.sent = 0
        self.present = 0

    def manifest(self, digest: str, depth: int) -> bool:
        """Send a manifest or index after its parts; whether the registry tracks what it refers to."""
        if depth > DEPTH_MAX:
            raise ImageError(f"{digest}: indexes lie more than {DEPTH_MAX} deep in each other")
        document = self._store.read_json(digest)
        for child in document.get("manifests", []):
            self.manifest(str(child["digest"]), depth + 1)
        for part in _blobs(document):
            self._blob(part)
        media_type = str(document.get("mediaType"))
        return self._repository.put_manifest(digest, media_type, self._store.read(digest))

    def _blob(self, descriptor: dict[str, Any]) -> None:
        digest = str(descriptor["digest"])
        path = self._store.blob_path(digest)
        if not path.is_file():
            raise ImageError(f"{self._store.path}: the image part {digest} is missing", hint="build it again")
        if self._repository.put_blob(digest, path):
            self.sent += 1
            self._say(f"sent {digest[:19]} ({path.stat().st_size / 1_000_000:.1f} MB)")
        else:
            self.present += 1


def pull(repository: Repository, reference: Reference, layout: Path, *, platform: str = "") -> dict[str, Any]:
    """Copy an image into a layout; the descriptor of its manifest or index, which the caller names there.

    Of an index only the parts for `platform` (empty: all) are copied, so that the layout is complete only
    for it. Every byte is checked against its digest. Raises RegistryError, ImageError, AkashicError.
    """
    found = repository.manifest(reference.digest or reference.tag or "latest")
    if found is None:
        raise ImageError(f"{reference}: the registry has no such image")
    store = Layout(layout)
    store.create()
    with store.building():
        _take(repository, store, found, platform, 0)
    return found.descriptor


def _take(repository: Repository, store: Layout, found: Manifest, platform: str, depth: int) -> None:
    document = found.document
    if depth > DEPTH_MAX or found.media_type not in (*INDEXES, *MANIFESTS):
        raise ImageError(f"{repository}: {found.digest} is a {found.media_type[:100]!r}, not an image")
    store.put(found.data)
    children = document.get("manifests", []) if found.media_type in INDEXES else []
    wanted = [child for child in children if not platform or _platform(child) == platform]
    if children and not wanted:
        there = ", ".join(sorted({_platform(child) for child in children if UNKNOWN not in _platform(child)}))
        raise ImageError(f"{repository}: the image has no part for {platform}, only for {there}")
    for child in wanted:
        part = repository.manifest(str(child["digest"]))
        if part is None:
            raise ImageError(f"{repository}: {child['digest']}, a part of the image, is missing")
        _take(repository, store, part, platform, depth + 1)
    for descriptor in _blobs(document):
        _take_blob(repository, store, descriptor)


def _take_blob(repository: Repository, store: Layout, descriptor: dict[str, Any]) -> None:
    digest = str(descriptor["digest"])
    if store.blob_path(digest).exists():
        return
    limit = min(int(descriptor.get("size", 0)), LAYER_BYTES_MAX)
    taken = 0
    with store.writer() as (target, keep), repository.open_blob(digest) as chunks:
        for chunk in chunks:
            taken += len(chunk)
            if taken > limit:
                raise ImageError(f"{repository}: {digest} is larger than its manifest says")
            target.write(chunk)
        keep(digest)


def _blobs(document: dict[str, Any]) -> list[dict[str, Any]]:
    parts = [document.get("config"), *document.get("layers", [])]
    return [part for part in parts if isinstance(part, dict) and "digest" in part]


def _platform(descriptor: dict[str, Any]) -> str:
    about = descriptor.get("platform") or {}
    variant = f"/{about['variant']}" if about.get("variant") and about.get("architecture") == "arm" else ""
    return f"{about.get('os', '')}/{about.get('architecture', '')}{variant}"
