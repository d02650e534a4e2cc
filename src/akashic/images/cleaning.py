"""Removes old images from a container engine and from a registry, by the rules of `retention`."""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import datetime
from pathlib import Path

from akashic.containers.engine import Engine
from akashic.containers.errors import EngineError
from akashic.containers.images import ImageSummary
from akashic.executors.docker.actions import REPOSITORY
from akashic.executors.docker.kept import FOLDER
from akashic.images.engine import IMAGE_LABEL
from akashic.images.registry import Repository, referrers_tag
from akashic.images.retention import Cleanup, StoredImage, choose
from akashic.images.store import INDEXES

_VERSION = "org.opencontainers.image.version"
_CREATED = "org.opencontainers.image.created"


def clean_engine(
    engine: Engine, name: str, *, keep: int, protected_tags: Collection[str], dry_run: bool
) -> Cleanup:
    """Remove from the engine all images of `name` that we had it build but the newest `keep` and the
    protected. One that a container uses stays. Raises EngineError, UsageError."""
    images = [_stored(image, name) for image in engine.images.list(labels=[f"{IMAGE_LABEL}={name}"])]
    images.sort(key=_newest_first)
    return _remove(engine, choose(images, keep=keep, protected_tags=protected_tags), dry_run=dry_run)


def clean_runs(engine: Engine, *, keep: int, dry_run: bool) -> Cleanup:
    """Remove from the engine what runs left there: images that were built for Docker actions but the newest
    `keep` (another run builds them again), and those of failed jobs whose folder is gone, with a repository
    that somebody deleted. Raises EngineError."""
    built = [_stored(image, REPOSITORY) for image in engine.images.list(reference=REPOSITORY)]
    lost = [
        _stored(image, "")
        for image in engine.images.list(labels=[FOLDER])
        if not Path(image.labels[FOLDER]).is_dir()
    ]
    built.sort(key=_newest_first)
    chosen = Cleanup(removed=(*built[keep:], *lost), kept=tuple(built[:keep]))
    return _remove(engine, chosen, dry_run=dry_run)


def _newest_first(image: StoredImage) -> tuple[float, str]:
    """Images of one second have no order of their own: a dry run and the real one must agree."""
    return -image.built_at, image.digest


def _stored(image: ImageSummary, name: str) -> StoredImage:
    return StoredImage(
        digest=image.id,
        name=name,
        version=image.labels.get(_VERSION, ""),
        tags=tuple(sorted(image.tags)),
        built_at=float(image.created_at),
    )


def _remove(engine: Engine, chosen: Cleanup, *, dry_run: bool) -> Cleanup:
    if dry_run:
        return chosen
    gone: list[StoredImage] = []
    used: list[StoredImage] = []
    for image in chosen.removed:
        try:
            for reference in image.tags or (image.digest,):
                engine.images.remove(reference)
            gone.append(image)
        except EngineError:
            # A container runs from it: its names may be gone, the image is not.
            used.append(image)
    return Cleanup(removed=tuple(gone), kept=(*chosen.kept, *used))


def clean_registry(
    repository: Repository, *, keep: int, protected_tags: Collection[str], dry_run: bool
) -> Cleanup:
    """Remove from a registry all images but the newest `keep` and the protected, with what refers to them.
    How new an image is its own configuration says. The registry frees the space when it collects its garbage.
    Raises RegistryError, UsageError."""
    by_digest: dict[str, list[str]] = {}
    for tag in repository.tags():
        if not tag.startswith("sha256-") and (found := repository.manifest(tag)) is not None:
            by_digest.setdefault(found.digest, []).append(tag)
    images = [_about(repository, digest, tags) for digest, tags in by_digest.items()]
    images.sort(key=lambda image: (-image.built_at, image.digest))
    chosen = choose(images, keep=keep, protected_tags=protected_tags)
    if not dry_run:
        for image in chosen.removed:
            for referrer in repository.referrers(image.digest):
                repository.delete_manifest(str(referrer["digest"]))
            if (index := repository.manifest(referrers_tag(image.digest))) is not None:
                repository.delete_manifest(index.digest)
            repository.delete_manifest(image.digest)
    return chosen


def _about(repository: Repository, digest: str, tags: Collection[str]) -> StoredImage:
    """An image by what its (first) configuration says; as old as can be when it says nothing."""
    found = repository.manifest(digest)
    document = found.document if found else {}
    if found is not None and found.media_type in INDEXES:
        children = document.get("manifests") or [{}]
        part = repository.manifest(str(children[0]["digest"])) if children[0] else None
        document = part.document if part else {}
    created = ""
    labels: dict[str, str] = {}
    if isinstance(document.get("config"), dict):
        config = json.loads(repository.read_blob(str(document["config"]["digest"])) or b"{}")
        labels = (config.get("config") or {}).get("Labels") or {}
        created = str(config.get("created") or labels.get(_CREATED) or "")
    return StoredImage(
        digest=digest,
        name=repository.name,
        version=str(labels.get(_VERSION, "")),
        tags=tuple(sorted(tags)),
        built_at=_seconds(created),
    )


def _seconds(text: str) -> float:
    try:
        # Nanoseconds, as engines write them, are more than Python reads.
        return datetime.fromisoformat(text[:19] + "+00:00").timestamp()
    except ValueError:
        return 0.0
