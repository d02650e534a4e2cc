"""Which images of a layout stay, and the removal of the others."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import msgspec

from akashic.errors import UsageError
from akashic.images.globs import GlobSet
from akashic.images.naming import BUILT_AT, NAME, VERSION
from akashic.images.store import REF_NAME, Layout

KEEP_DEFAULT = 10
PROTECTED_DEFAULT = ("latest",)


class StoredImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image in a layout, with all its tags. `built_at` is seconds since the epoch, 0 when unknown."""

    digest: str
    name: str
    version: str
    tags: tuple[str, ...]
    built_at: float


class Cleanup(msgspec.Struct, frozen=True, kw_only=True):
    """What was removed (or would be), what stayed, and the bytes that became free."""

    removed: tuple[StoredImage, ...]
    kept: tuple[StoredImage, ...]
    freed_bytes: int = 0


def list_images(layout: Path) -> list[StoredImage]:
    """The images of a layout, the newest first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in Layout(layout).entries():
        if "artifactType" not in entry:
            found.setdefault(str(entry["digest"]), []).append(entry.get("annotations", {}))
    images = [
        StoredImage(
            digest=digest,
            name=str(notes[-1].get(NAME, "")),
            version=str(notes[-1].get(VERSION, "")),
            tags=tuple(sorted({str(note[REF_NAME]) for note in notes if note.get(REF_NAME)})),
            built_at=max(float(note.get(BUILT_AT, 0)) for note in notes),
        )
        for digest, notes in found.items()
    ]
    return sorted(images, key=lambda image: (-image.built_at, image.digest))


def choose(
    images: Sequence[StoredImage],
    *,
    keep: int,
    protected_tags: Collection[str],
    protected_digests: Collection[str] = (),
) -> Cleanup:
    """Which of the images (the newest first) stay: the newest `keep`, those with a protected tag (globs; of a
    full name the part after the colon counts) and those with a protected digest. Raises UsageError."""
    if keep < 1:
        raise UsageError(f"keep {keep}: at least the newest image stays")
    protected = GlobSet(tuple(protected_tags))
    kept = tuple(
        image
        for number, image in enumerate(images)
        if number < keep
        or image.digest in protected_digests
        or any(protected.matches(tag.rpartition(":")[2]) for tag in image.tags)
    )
    return Cleanup(removed=tuple(image for image in images if image not in kept), kept=kept)


def clean_up(
    layout: Path,
    *,
    keep: int = KEEP_DEFAULT,
    protected_tags: Collection[str] = PROTECTED_DEFAULT,
    protected_digests: Collection[str] = (),
    dry_run: bool = False,
) -> Cleanup:
    """Remove all images but the newest `keep`, those with a protected tag (globs) and those with a protected
    digest (what is deployed). What refers to a removed image goes with it. Raises UsageError, ImageError."""
    chosen = choose(
        list_images(layout), keep=keep, protected_tags=protected_tags, protected_digests=protected_digests
    )
    kept, removed = chosen.kept, chosen.removed
    if dry_run or not removed:
        return Cleanup(removed=removed, kept=kept)
    store = Layout(layout)
    gone = {image.digest for image in removed}

    def edit(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        rest = [entry for entry in entries if entry["digest"] not in gone]
        return [entry for entry in rest if "artifactType" not in entry or _subject(store, entry) not in gone]

    store.change(edit)
    return Cleanup(removed=removed, kept=kept, freed_bytes=store.collect_garbage())


def _subject(store: Layout, entry: dict[str, Any]) -> str:
    return str(store.read_json(str(entry["digest"])).get("subject", {}).get("digest", ""))
