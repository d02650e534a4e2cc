"""What a layout's index says of its images: tags, versions, build times, and what refers to them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from akashic.images import provenance, sbom
from akashic.images.store import EMPTY, MANIFEST, REF_NAME, ImageError, Layout, canonical_json

BUILT_AT = "akashic.built-at"
NAME = "akashic.image.name"
VERSION = "akashic.image.version"


def name_image(
    store: Layout,
    descriptor: dict[str, Any],
    tags: Sequence[str],
    *,
    name: str,
    version: str,
    built_at: float,
    referrers: Sequence[dict[str, Any]] = (),
) -> None:
    """Put an image into the layout's index: a tag moves from the image that had it, as in a registry."""
    known = {NAME: name, VERSION: version, BUILT_AT: f"{built_at:.3f}"}

    def edit(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        new_digests = {referrer["digest"] for referrer in referrers}
        kept: list[dict[str, Any]] = []
        older: set[str] = set()
        for entry in entries:
            tag = entry.get("annotations", {}).get(REF_NAME)
            if entry["digest"] == descriptor["digest"]:
                if tag and tag not in tags:
                    older.add(tag)
            elif tag in tags and entry["digest"] not in new_digests:
                # The image that loses its tag stays, by its digest.
                rest = {key: value for key, value in entry["annotations"].items() if key != REF_NAME}
                if not any(other["digest"] == entry["digest"] for other in kept):
                    kept.append({**entry, "annotations": rest})
            elif entry["digest"] not in new_digests:
                kept.append(entry)
        names = [*tags, *sorted(older)] or [""]
        for tag in names:
            named = {**known, REF_NAME: tag} if tag else known
            kept.append({**descriptor, "annotations": named})
        return [*kept, *referrers]

    store.change(edit)


def find_image(layout: Path, reference: str, *, name: str = "") -> str:
    """The digest that a tag, a version, a digest or the beginning of one (twelve digits or more) stands for.
    Raises ImageError when there is none or several."""
    matches: list[str] = []
    for entry in Layout(layout).entries():
        notes = entry.get("annotations", {})
        if "artifactType" in entry or (name and notes.get(NAME, name) != name):
            continue
        digest = str(entry["digest"])
        short = reference.removeprefix("sha256:")
        by_digest = len(short) >= 12 and digest.removeprefix("sha256:").startswith(short)
        if by_digest or notes.get(REF_NAME) == reference or notes.get(VERSION) == reference:
            matches.append(digest)
    found = list(dict.fromkeys(matches))
    if len(found) != 1:
        what = "no image" if not found else f"{len(found)} images"
        raise ImageError(
            f"{layout}: {what} named {reference!r}", hint="akashic image list shows what there is"
        )
    return found[0]


def attach(store: Layout, subject: dict[str, Any], media_type: str, content: bytes) -> dict[str, Any]:
    """Keep `content` as an artifact that refers to an image (OCI image specification 1.1, "subject"); returns
    the descriptor that belongs into the index."""
    empty = b"{}"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": media_type,
        "config": {"mediaType": EMPTY, "digest": store.put(empty), "size": len(empty)},
        "layers": [{"mediaType": media_type, "digest": store.put(content), "size": len(content)}],
        "subject": {key: subject[key] for key in ("mediaType", "digest", "size")},
    }
    data = canonical_json(manifest)
    return {"mediaType": MANIFEST, "digest": store.put(data), "size": len(data), "artifactType": media_type}


def attach_documents(
    store: Layout, subject: dict[str, Any], bill: dict[str, Any], statement: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Attach a bill of materials and a statement of provenance; kind to descriptor."""
    return {
        "sbom": attach(store, subject, sbom.MEDIA_TYPE, canonical_json(bill)),
        "provenance": attach(store, subject, provenance.MEDIA_TYPE, canonical_json(statement)),
    }


def artifact_entries(layout: Path, digest: str) -> list[dict[str, Any]]:
    """The index's entries of the artifacts that refer to an image."""
    store = Layout(layout)
    return [
        entry
        for entry in store.entries()
        if "artifactType" in entry
        and store.read_json(str(entry["digest"])).get("subject", {}).get("digest") == digest
    ]


def referrers(layout: Path, digest: str, media_type: str = "") -> list[bytes]:
    """The contents of the artifacts that refer to an image, of one media type or all."""
    store = Layout(layout)
    found: list[bytes] = []
    for entry in store.entries():
        if "artifactType" not in entry or (media_type and entry["artifactType"] != media_type):
            continue
        manifest = store.read_json(str(entry["digest"]))
        if manifest.get("subject", {}).get("digest") == digest:
            found.extend(store.read(str(layer["digest"])) for layer in manifest["layers"])
    return found
