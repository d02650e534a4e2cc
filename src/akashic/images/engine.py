"""Builds with a container engine where there is one; the result is an OCI layout."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from akashic.errors import AkashicError, UsageError
from akashic.images.config import timestamp
from akashic.images.layout import BuildOptions, BuiltImage
from akashic.images.naming import name_image
from akashic.images.read import read_config, read_manifest
from akashic.images.references import check_tag
from akashic.images.source import Source, content_version, read_files
from akashic.images.spec import ImageSpec
from akashic.images.store import DOCUMENT_BYTES_MAX, INDEX, ImageError, Layout

PROBE_TIMEOUT_S = 20.0
BUILD_TIMEOUT_S = 3600.0

_BLOB = re.compile(r"blobs/sha256/([0-9a-f]{64})")
_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE | re.MULTILINE)


class EngineChoice(msgspec.Struct, frozen=True, kw_only=True):
    """Whether an engine is used, and why, in one line. `command` is empty when none is."""

    command: str
    reason: str


def choose_engine(wanted: str, spec: ImageSpec, dockerfile: bytes | None) -> EngineChoice:
    """Decide for `auto`, `docker` or `none`. `auto` takes the engine only when it answers and has, or can
    get, every base image. Raises UsageError when `docker` was asked for and cannot be."""
    if wanted == "none":
        return EngineChoice(command="", reason="built without an engine, as asked")
    problem = _problem(spec, dockerfile)
    if not problem:
        return EngineChoice(command="docker", reason="built with docker: it answers and has the base images")
    if wanted == "docker":
        raise UsageError(f"docker cannot build this image: {problem}", hint="--engine none needs no engine")
    return EngineChoice(command="", reason=f"built without an engine: {problem}")


def _problem(spec: ImageSpec, dockerfile: bytes | None) -> str:
    if dockerfile is None:
        return "image.dockerfile is not set"
    if shutil.which("docker") is None:
        return "docker is not installed"
    if not _succeeds(("docker", "version", "--format", "{{.Server.Version}}")):
        return "the docker daemon does not answer"
    for base in base_images(dockerfile.decode(errors="replace"), spec.build_args):
        if not _succeeds(("docker", "image", "inspect", base)) and not _succeeds(
            ("docker", "manifest", "inspect", base)
        ):
            return f"the base image {base} cannot be had"
    return ""


def base_images(dockerfile: str, build_args: Mapping[str, str]) -> tuple[str, ...]:
    """The images that a Dockerfile starts from, build arguments filled in; stages of its own left out."""
    values = dict(re.findall(r"^\s*ARG\s+(\w+)=(\S+)", dockerfile, re.MULTILINE | re.IGNORECASE))
    values = {name: value.strip("\"'") for name, value in values.items()} | dict(build_args)
    stages: set[str] = set()
    found: list[str] = []
    for image, stage in _FROM.findall(dockerfile):
        name = re.sub(
            r"\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))",
            lambda match: str(values.get(match[1] or match[3], match[2] or "")),
            image,
        )
        if name.lower() not in stages and name != "scratch":
            found.append(name)
        stages.add(stage.lower())
    return tuple(dict.fromkeys(found))


def build_command(spec: ImageSpec, context: Path, tag: str, args: Mapping[str, str]) -> tuple[str, ...]:
    """The engine's command line. One platform: the classic store of an engine holds no more."""
    flags: list[str] = []
    for name, value in sorted({**args, **spec.build_args}.items()):
        flags += ["--build-arg", f"{name}={value}"]
    for name, value in sorted(spec.labels.items()):
        flags += ["--label", f"{name}={value}"]
    if spec.dockerfile_target:
        flags += ["--target", spec.dockerfile_target]
    dockerfile = str(context / spec.dockerfile)
    return (
        *("docker", "build", "--file", dockerfile, "--tag", tag, "--platform", spec.platforms[0]),
        *(*flags, "--", str(context)),
    )


def build_with_engine(
    spec: ImageSpec, source: Source, layout: Path, *, options: BuildOptions, built_at: float, reason: str
) -> BuiltImage:
    """Build the Dockerfile from what git tracks, and import the result into the layout.

    Raises AkashicError with the end of the engine's output when it fails.
    """
    for tag in options.tags:
        check_tag(tag)
    files = read_files(source, spec.context, spec.include, spec.exclude)
    version = options.version or content_version(source, files)
    work = Path(tempfile.mkdtemp(prefix="akashic-engine-"))
    name = (
        f"akashic-build/{re.sub(r'[^a-z0-9]+', '-', spec.name.lower()).strip('-') or 'image'}:{os.getpid()}"
    )
    try:
        context = work / "context"
        for file in files:
            path = context / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            if file.kind == "link":
                path.symlink_to(os.fsdecode(file.content))
            else:
                path.write_bytes(file.content)
                path.chmod(0o755 if file.kind == "executable" else 0o644)
        args = {"VERSION": version, "COMMIT": source.commit, "BUILD_DATE": timestamp(source.commit_time_s)}
        _run(build_command(spec, context, name, args))
        archive = work / "image.tar"
        _run(("docker", "save", "--output", str(archive), name))
        descriptor = import_archive(archive, layout)
    finally:
        _succeeds(("docker", "image", "rm", "--force", name))
        shutil.rmtree(work, ignore_errors=True)
    name_image(Layout(layout), descriptor, options.tags, name=spec.name, version=version, built_at=built_at)
    digest = str(descriptor["digest"])
    store = Layout(layout)
    return BuiltImage(
        name=spec.name,
        digest=digest,
        path=str(layout),
        config=read_config(layout, digest, platform=spec.platforms[0]),
        size=sum(store.blob_path(part).stat().st_size for part in store.reachable([digest])),
        commit=source.commit,
        version=version,
        dirty=source.dirty,
        tags=options.tags,
        platforms=spec.platforms[:1],
        engine="docker",
        notes=(reason, "an engine's image is not reproducible byte for byte"),
    )


def import_archive(archive: Path, layout: Path) -> dict[str, Any]:
    """Take the one image out of an OCI archive (what `docker save` of version 25 and later writes), every
    blob verified; its descriptor. Raises ImageError for anything else."""
    store = Layout(layout)
    store.create()
    index: dict[str, Any] = {}
    try:
        with store.building(), tarfile.open(archive, "r:") as tar:
            for member in tar:
                reader = tar.extractfile(member) if member.isreg() else None
                if reader is None:
                    continue
                if member.name == "index.json" and member.size <= DOCUMENT_BYTES_MAX:
                    index = msgspec.json.decode(reader.read(), type=dict[str, Any])
                elif match := _BLOB.fullmatch(member.name):
                    _import_blob(store, reader, f"sha256:{match[1]}")
    except (tarfile.TarError, msgspec.MsgspecError) as error:
        raise ImageError(f"the engine's archive cannot be read: {error}") from None
    manifests = index.get("manifests", [])
    if len(manifests) != 1:
        raise ImageError(
            "the engine's archive holds no single OCI image",
            hint="docker 25 or later saves one; --engine none",
        )
    descriptor = {key: manifests[0][key] for key in ("mediaType", "digest", "size")}
    if descriptor["mediaType"] != INDEX:
        read_manifest(layout, str(descriptor["digest"]))
    return descriptor


def _import_blob(store: Layout, reader: Any, digest: str) -> None:
    if store.blob_path(digest).exists():
        return
    actual = hashlib.sha256()
    with store.writer() as (target, keep):
        while chunk := reader.read(1024 * 1024):
            actual.update(chunk)
            target.write(chunk)
        if f"sha256:{actual.hexdigest()}" != digest:
            raise ImageError(f"the engine's archive is damaged: {digest} has other bytes")
        keep(digest)


def _succeeds(argv: Sequence[str]) -> bool:
    try:
        done = subprocess.run(argv, capture_output=True, timeout=PROBE_TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _run(argv: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=BUILD_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AkashicError(f"{' '.join(argv[:2])}: {error}") from None
    if done.returncode != 0:
        end = done.stdout.decode(errors="replace").strip().splitlines()[-20:]
        raise AkashicError(f"{' '.join(argv[:2])} failed:\n" + "\n".join(f"  {line}" for line in end))
