"""Finds the image that a user means: in the layout, in a container engine, or in a registry."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from akashic.containers.engine import Engine
from akashic.containers.errors import EngineError
from akashic.containers.references import parse_image_name
from akashic.errors import UsageError
from akashic.images.engine import engine_image, has_image
from akashic.images.naming import find_image
from akashic.images.references import parse_reference
from akashic.images.retention import list_images
from akashic.images.store import ImageError
from akashic.images.transfer import open_repository, pull

Origin = Literal["layout", "engine", "registry"]


class Located(msgspec.Struct, frozen=True, kw_only=True):
    """An image in a layout: the user's own, or one made for as long as it is looked at."""

    layout: str
    digest: str
    origin: Origin
    name: str


@contextmanager
def open_image(
    reference: str, layout: Path, environ: Mapping[str, str], *, platform: str = "", insecure: bool = False
) -> Iterator[Located]:
    """The image that `reference` means: a tag, version or digest of the layout (empty: the newest); else an
    image of the engine; else one of a registry. Raises UsageError, ImageError, EngineError, RegistryError."""
    if digest := _in_layout(reference, layout):
        yield Located(layout=str(layout), digest=digest, origin="layout", name=reference)
        return
    with tempfile.TemporaryDirectory(prefix="akashic-image-") as folder:
        copy = Path(folder) / "layout"
        if _in_engine(reference, environ):
            descriptor = engine_image(Engine.connect(environ), reference, copy)
            origin: Origin = "engine"
        else:
            descriptor = _pull(reference, copy, environ, platform=platform, insecure=insecure)
            origin = "registry"
        yield Located(layout=str(copy), digest=str(descriptor["digest"]), origin=origin, name=reference)


def _in_layout(reference: str, layout: Path) -> str:
    known = list_images(layout) if (layout / "index.json").exists() else []
    if not reference:
        if not known:
            raise UsageError("there is no image yet", hint="akashic image build makes one")
        return known[0].digest
    address = "/" in reference or (":" in reference and not reference.startswith("sha256:"))
    if not known:
        if address:
            return ""
        raise UsageError(f"there is no image {reference!r}", hint="akashic image build makes one")
    # `hello:main` may be one of ours, an image of the engine, or one of a registry.
    name, _, tag = reference.rpartition(":")
    try:
        return find_image(layout, tag, name=name) if address and name else find_image(layout, reference)
    except ImageError:
        if address:
            return ""
        raise


def _in_engine(reference: str, environ: Mapping[str, str]) -> bool:
    try:
        return has_image(Engine.connect(environ), reference)
    except EngineError:
        return False


def _pull(
    reference: str, copy: Path, environ: Mapping[str, str], *, platform: str, insecure: bool
) -> dict[str, object]:
    name = parse_image_name(reference)
    with open_repository(f"{name.registry}/{name.repository}", environ, insecure=insecure) as repository:
        return pull(repository, parse_reference(reference), copy, platform=platform)
