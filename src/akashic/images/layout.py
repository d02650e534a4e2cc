"""Builds an OCI image layout without an engine.

The same commit gives the same digest, byte for byte: layers are normalised (`tar`, `dependencies`), JSON is
canonical, every time is the commit's. There is no base image: the local target supplies Python, which the
label `akashic.runtime` says. A layout holds any number of images; tags and build times stand in its index,
outside of what the digest covers.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from akashic.errors import UsageError
from akashic.images import provenance, sbom
from akashic.images.config import ImageConfig, image_config, parse_config
from akashic.images.dependencies import DependencyLayer, dependency_layer
from akashic.images.installers import PlatformUnavailable
from akashic.images.locks import Package, same_on_every_platform
from akashic.images.naming import attach_documents, name_image
from akashic.images.references import check_tag
from akashic.images.source import Source, SourceFile, content_version, read_file, read_files
from akashic.images.spec import APPLICATION_FOLDER, ImageSpec
from akashic.images.store import CONFIG, INDEX, MANIFEST, Layout, canonical_json
from akashic.images.tar import Entry, Layer, write_layer


class LeftOut(msgspec.Struct, frozen=True, kw_only=True):
    """A platform that was asked for and is not in the image, and why."""

    platform: str
    reason: str


class BuiltImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image in a layout. `path` is the layout's folder, `digest` that of the manifest (one platform) or of
    the index (several), `config` that of the first platform, `size` the bytes of all its parts."""

    name: str
    digest: str
    path: str
    config: ImageConfig
    size: int
    commit: str
    version: str
    dirty: bool
    tags: tuple[str, ...] = ()
    platforms: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    referrers: dict[str, str] = {}
    """Kind (`sbom`, `provenance`) to the digest of the attached artifact."""
    engine: str = "none"
    repository: str = ""
    """Where the specification wants it pushed."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Build:
    """What every part of one build knows."""

    spec: ImageSpec
    source: Source
    lock: str
    version: str
    created_s: int
    options: BuildOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """The image for one platform."""

    platform: str
    descriptor: dict[str, Any]
    config: dict[str, Any]


class BuildOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a build may be told besides the specification. `version` goes into the labels; empty: the commit's
    first digits, with `-dirty.…` for the uncommitted tree. `epoch_s` is SOURCE_DATE_EPOCH; None: the commit's
    time. `builder_id` and `invocation_id` go into the provenance only."""

    tags: tuple[str, ...] = ()
    version: str = ""
    epoch_s: int | None = None
    builder_id: str = ""
    invocation_id: str = ""


def build_layout(
    spec: ImageSpec,
    source: Source,
    layout: Path,
    *,
    cache: Path,
    options: BuildOptions | None = None,
    clock: Callable[[], float] = time.time,
) -> BuiltImage:
    """Build the image of `source` into `layout` (made when it is not there) and name it by the options' tags.

    `cache` keeps dependency layers. Raises UsageError for what the user can mend in the specification or the
    lock, ImageError, AkashicError.
    """
    options = options or BuildOptions()
    _check(spec)
    for tag in options.tags:
        check_tag(tag)
    build, files = _begin(spec, source, options)
    store = Layout(layout)
    store.create()
    with store.building():
        dependencies, left_out = _dependencies(spec, build.lock, cache)
        application = _application_layer(store, spec, files, build.created_s)
        parts = [_part(store, build, found, name, application) for name, found in dependencies.items()]
        top = parts[0].descriptor if len(parts) == 1 else _put_index(store, parts)
        first = next(iter(dependencies.values()))
        attached = _attach(store, build, top, first.packages if first else ())
        name_image(
            store,
            top,
            options.tags,
            name=spec.name,
            version=build.version,
            built_at=clock(),
            referrers=list(attached.values()),
        )
    return BuiltImage(
        name=spec.name,
        digest=top["digest"],
        path=str(layout),
        config=parse_config(parts[0].config),
        size=_distinct_size(store, top["digest"]),
        commit=source.commit,
        version=build.version,
        dirty=source.dirty,
        tags=options.tags,
        platforms=tuple(part.platform for part in parts),
        left_out=left_out,
        repository=spec.repository,
        referrers={kind: descriptor["digest"] for kind, descriptor in attached.items()},
    )


def _begin(spec: ImageSpec, source: Source, options: BuildOptions) -> tuple[_Build, Sequence[SourceFile]]:
    """What is known before anything is written, and the files of the image. Raises UsageError."""
    files = read_files(source, spec.context, spec.include, spec.exclude)
    if not files:
        raise UsageError(f"image {spec.name}: no file matches its context, include and exclude")
    build = _Build(
        spec=spec,
        source=source,
        lock=read_file(source, spec.context, spec.requirements).decode() if spec.requirements else "",
        version=options.version or content_version(source, files),
        created_s=source.commit_time_s if options.epoch_s is None else options.epoch_s,
        options=options,
    )
    return build, files


def _check(spec: ImageSpec) -> None:
    if not spec.entrypoint and not spec.command:
        raise UsageError(
            f"image {spec.name}: nothing to start", hint="give image.entrypoint or image.command"
        )
    if not spec.platforms:
        raise UsageError(f"image {spec.name}: no platform", hint="give image.platforms, such as linux/amd64")
    if not 0 < spec.port < 65536:
        raise UsageError(f"image {spec.name}: port {spec.port}: expected 1 to 65535")


def _dependencies(
    spec: ImageSpec, lock: str, cache: Path
) -> tuple[dict[str, DependencyLayer | None], tuple[LeftOut, ...]]:
    """The layer of each platform that can be had; the first platform must be among them."""
    if not spec.requirements:
        return dict.fromkeys(spec.platforms), ()
    found: dict[str, DependencyLayer | None] = {}
    left_out: list[LeftOut] = []
    first: DependencyLayer | None = None
    for platform in dict.fromkeys(spec.platforms):
        if first is not None and first.pure and same_on_every_platform(lock, spec.requirements):
            found[platform] = first
            continue
        try:
            layer = dependency_layer(
                lock,
                file=spec.requirements,
                platform=platform,
                python=spec.python,
                compression=spec.compression,
                cache=cache,
            )
        except PlatformUnavailable as error:
            if first is None:
                raise
            left_out.append(LeftOut(platform=platform, reason=error.message))
            continue
        first = first or layer
        found[platform] = layer
    return found, tuple(left_out)


def _application_layer(store: Layout, spec: ImageSpec, files: Sequence[SourceFile], mtime_s: int) -> Layer:
    prefix = APPLICATION_FOLDER.strip("/")
    entries = [Entry(path=f"{prefix}/{file.path}", kind=file.kind, content=file.content) for file in files]
    with store.writer() as (target, keep):
        layer = write_layer(entries, target, mtime_s=mtime_s, compression=spec.compression)
        keep(layer.digest)
    return layer


def _part(
    store: Layout, build: _Build, dependencies: DependencyLayer | None, platform: str, application: Layer
) -> _Part:
    layers = [("the application", application)]
    if dependencies is not None:
        store.put_file(Path(dependencies.path), dependencies.layer.digest)
        layers.insert(0, (f"dependencies of {build.spec.requirements}", dependencies.layer))
    config = image_config(
        build.spec,
        platform,
        layers,
        commit=build.source.commit,
        version=build.version,
        created_s=build.created_s,
    )
    config_bytes = canonical_json(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": store.put(config_bytes), "size": len(config_bytes)},
        "layers": [
            {"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size} for _, layer in layers
        ],
        "annotations": config["config"]["Labels"],
    }
    data = canonical_json(manifest)
    os_name, _, architecture = platform.partition("/")
    descriptor = {
        "mediaType": MANIFEST,
        "digest": store.put(data),
        "size": len(data),
        "platform": {"os": os_name, "architecture": architecture},
    }
    return _Part(platform=platform, descriptor=descriptor, config=config)


def _put_index(store: Layout, parts: Sequence[_Part]) -> dict[str, Any]:
    document = {
        "schemaVersion": 2,
        "mediaType": INDEX,
        "manifests": [part.descriptor for part in parts],
        "annotations": parts[0].config["config"]["Labels"],
    }
    data = canonical_json(document)
    return {"mediaType": INDEX, "digest": store.put(data), "size": len(data)}


def _distinct_size(store: Layout, digest: str) -> int:
    return sum(store.blob_path(part).stat().st_size for part in store.reachable([digest]))


def _attach(
    store: Layout, build: _Build, subject: dict[str, Any], packages: Sequence[Package]
) -> dict[str, dict[str, Any]]:
    bill = sbom.cyclonedx(
        build.spec.name,
        build.version,
        packages,
        subject_digest=subject["digest"],
        created_s=build.created_s,
    )
    materials = [provenance.commit_material(build.source)]
    if build.spec.requirements:
        lock_sha256 = hashlib.sha256(build.lock.encode()).hexdigest()
        materials.append({"name": build.spec.requirements, "digest": {"sha256": lock_sha256}})
    statement = provenance.statement(
        build.spec.name,
        digest=subject["digest"],
        build_type=provenance.ENGINELESS,
        parameters={"image": msgspec.to_builtins(build.spec), "uncommittedTree": build.source.dirty},
        materials=materials,
        builder_id=build.options.builder_id,
        invocation_id=build.options.invocation_id,
    )
    return attach_documents(store, subject, bill, statement)
