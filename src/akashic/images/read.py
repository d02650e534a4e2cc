"""Reads an image of a layout: its manifest, how it is started, its files."""

from __future__ import annotations

import hashlib
import platform as machine
from pathlib import Path
from typing import Any

from akashic.images.config import ImageConfig, parse_config
from akashic.images.store import INDEXES, MANIFESTS, Fault, ImageError, Layout
from akashic.images.unpack import Limits, unpack_layers


def host_platform() -> str:
    """This machine as OCI writes it: `linux/amd64`, `linux/arm64`."""
    names = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    return f"linux/{names.get(machine.machine().lower(), machine.machine().lower())}"


def read_manifest(layout: Path, digest: str, *, platform: str = "") -> dict[str, Any]:
    """The manifest of an image for a platform (empty: this machine's, or the only one). Raises ImageError."""
    store = Layout(layout)
    document = store.read_json(digest)
    if document.get("mediaType") in INDEXES:
        wanted = platform or host_platform()
        children = document.get("manifests", [])
        for child in children:
            about = child.get("platform", {})
            if f"{about.get('os')}/{about.get('architecture')}" == wanted:
                return store.read_json(str(child["digest"]))
        raise ImageError(f"the image {digest} has no part for {wanted}")
    if document.get("mediaType") not in MANIFESTS:
        raise ImageError(f"{digest} is not an image manifest")
    return document


def read_config(layout: Path, digest: str, *, platform: str = "") -> ImageConfig:
    """How the image is started. Raises ImageError when it is missing or damaged."""
    manifest = read_manifest(layout, digest, platform=platform)
    return parse_config(Layout(layout).read_json(str(manifest["config"]["digest"])))


def unpack(
    layout: Path, digest: str, destination: Path, *, platform: str = "", limits: Limits | None = None
) -> ImageConfig:
    """Unpack the image's files into `destination` (new or empty) and say how to start it.

    Every layer's digest is checked first. Raises ImageError (UnsafeImage for hostile content); then nothing
    is left at the destination.
    """
    store = Layout(layout)
    manifest = read_manifest(layout, digest, platform=platform)
    config = parse_config(store.read_json(str(manifest["config"]["digest"])))
    layers: list[tuple[Path, str]] = []
    for descriptor in manifest.get("layers", []):
        path = store.blob_path(str(descriptor.get("digest")))
        _verify_layer(path, str(descriptor["digest"]))
        layers.append((path, str(descriptor.get("mediaType"))))
    unpack_layers(layers, destination, limits or Limits())
    return config


def verify(layout: Path) -> list[Fault]:
    """Check every digest in the layout; empty when it is sound."""
    return Layout(layout).verify()


def _verify_layer(path: Path, digest: str) -> None:
    try:
        with path.open("rb") as file:
            actual = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except FileNotFoundError:
        raise ImageError(f"{path}: the layer is missing", hint="build the image again") from None
    if actual != digest:
        raise ImageError(f"{path}: the layer is damaged", hint="build the image again")
