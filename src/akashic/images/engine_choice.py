"""Whether an engine builds an image, and why."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from akashic.containers.auth import find_credentials
from akashic.containers.dockerfile import base_images
from akashic.containers.engine import Engine
from akashic.containers.errors import EngineError
from akashic.containers.references import parse_image_name
from akashic.errors import AkashicError, UsageError
from akashic.images.registry import Repository
from akashic.images.spec import ImageSpec


class EngineChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an engine builds, and why, in one line."""

    uses_engine: bool
    reason: str


def choose_engine(
    wanted: str, spec: ImageSpec, dockerfile: bytes | None, environ: Mapping[str, str]
) -> EngineChoice:
    """Decide for `auto`, `docker` or `none`. `auto` takes the engine only when it answers and has, or can
    get, every base image. Raises UsageError when `docker` was asked for and cannot be."""
    if wanted == "none":
        return EngineChoice(uses_engine=False, reason="built without an engine, as asked")
    problem = _problem(spec, dockerfile, environ)
    if not problem:
        return EngineChoice(
            uses_engine=True, reason="built with the engine: it answers and has the base images"
        )
    if wanted == "docker":
        raise UsageError(f"no engine can build this image: {problem}", hint="--engine none needs no engine")
    return EngineChoice(uses_engine=False, reason=f"built without an engine: {problem}")


def _problem(spec: ImageSpec, dockerfile: bytes | None, environ: Mapping[str, str]) -> str:
    if dockerfile is None:
        return "image.dockerfile is not set"
    try:
        engine = Engine.connect(environ)
        engine.ping()
    except (EngineError, UsageError) as error:
        return error.message
    for base in base_images(dockerfile.decode(errors="replace"), spec.build_args):
        if not engine.images.exists(base) and not _in_registry(base, environ):
            return f"the base image {base} is neither in the engine nor to be had from its registry"
    return ""


def _in_registry(image: str, environ: Mapping[str, str]) -> bool:
    name = parse_image_name(image)
    try:
        credentials = find_credentials(name.registry, environ)
        with Repository(name.registry, name.repository, credential=credentials, timeout_s=10.0) as repository:
            return repository.manifest(name.digest or name.tag) is not None
    except AkashicError:
        return False
