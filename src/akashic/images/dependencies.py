"""The layer of locked dependencies: the same lock and platform give the same bytes, whoever installs them.

Wheels only, each with a hash from the lock; finished layers are kept in a cache.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from akashic.errors import AkashicError, UsageError
from akashic.images.installed import is_pure, layer_entries, read_packages
from akashic.images.installers import PIP_ARCHITECTURES, install
from akashic.images.locks import LockedRequirement, Package, lock_options, parse_lock
from akashic.images.markers import applying
from akashic.images.spec import DEPENDENCIES_FOLDER, Compression
from akashic.images.tar import Layer, write_layer

MTIME_S = 315_532_800
"""1980-01-01: dependencies do not change with a commit, so neither does their layer."""

FORMAT = 1
"""Part of the cache key: raised when the same wheels would give another layer."""


class DependencyLayer(msgspec.Struct, frozen=True, kw_only=True):
    """A finished layer in the cache: its file and what is in it. `pure` means that no file depends on the
    processor."""

    path: str
    layer: Layer
    packages: tuple[Package, ...]
    pure: bool
    installer: str
    cached: bool = False


def dependency_layer(
    lock_text: str, *, file: str, platform: str, python: str, compression: Compression, cache: Path
) -> DependencyLayer:
    """The layer for one platform, from the cache or installed now.

    Raises UsageError for a lock that is none, PlatformUnavailable when a wheel for the platform cannot be
    had, AkashicError when there is no installer.
    """
    if platform not in PIP_ARCHITECTURES:
        known = ", ".join(PIP_ARCHITECTURES)
        raise UsageError(f"platform {platform!r} is not known", hint=f"expected one of: {known}")
    requirements = applying(parse_lock(lock_text, file), platform=platform, python=python, file=file)
    key = _key(requirements, platform, python, compression)
    found = _from_cache(cache / key)
    if found is None:
        options = lock_options(lock_text)
        found = _build(requirements, options, platform, python, compression, cache / key)
    return found


def _key(requirements: list[LockedRequirement], platform: str, python: str, compression: Compression) -> str:
    document = msgspec.json.encode([FORMAT, requirements, platform, python, compression, DEPENDENCIES_FOLDER])
    return hashlib.sha256(document).hexdigest()[:32]


def _from_cache(folder: Path) -> DependencyLayer | None:
    try:
        found = msgspec.json.decode((folder / "layer.json").read_bytes(), type=DependencyLayer)
        with (folder / "layer").open("rb") as file:
            digest = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    except (OSError, msgspec.MsgspecError):
        return None
    if digest != found.layer.digest:
        return None
    return msgspec.structs.replace(found, path=str(folder / "layer"), cached=True)


def _build(
    requirements: list[LockedRequirement],
    options: Sequence[str],
    platform: str,
    python: str,
    compression: Compression,
    folder: Path,
) -> DependencyLayer:
    work = folder.with_name(f".building-{folder.name}-{os.getpid()}-{secrets.token_hex(4)}")
    target = work / "target"
    target.mkdir(parents=True)
    try:
        lock = work / "requirements.txt"
        lock.write_text(_lock_text(requirements, options), encoding="utf-8")
        installer = install(lock, target, platform, python)
        packages = tuple(read_packages(target, requirements))
        missing = _missing(requirements, packages)
        if missing:
            raise AkashicError(f"the installer left out {', '.join(missing)} without saying why")
        with (work / "layer").open("xb") as file:
            layer = write_layer(layer_entries(target), file, mtime_s=MTIME_S, compression=compression)
        built = DependencyLayer(
            path=str(folder / "layer"),
            layer=layer,
            packages=packages,
            pure=is_pure(target),
            installer=installer,
        )
        (work / "layer.json").write_bytes(msgspec.json.encode(built))
        shutil.rmtree(target)
        shutil.rmtree(folder, ignore_errors=True)
        try:
            work.rename(folder)
        except OSError:
            # Another build of the same lock finished first; its layer has the same bytes.
            found = _from_cache(folder)
            if found is None:
                raise
            return found
        return built
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _missing(requirements: list[LockedRequirement], packages: Sequence[Package]) -> list[str]:
    installed = {package.name for package in packages}
    return [item.name for item in requirements if item.name not in installed]


def _lock_text(requirements: Sequence[LockedRequirement], options: Sequence[str]) -> str:
    """What the installer is given: no markers, for they are decided."""
    lines = [
        f"{item.name}=={item.version} {' '.join(f'--hash=sha256:{digest}' for digest in item.sha256)}"
        for item in requirements
    ]
    return "\n".join([*options, *lines]) + "\n"
