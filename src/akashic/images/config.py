"""The image's configuration document: how it is started, and by whom it was made from what."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from akashic.images.spec import APPLICATION_FOLDER, DEPENDENCIES_FOLDER, HealthCheck, ImageSpec
from akashic.images.store import ImageError
from akashic.images.tar import Layer

RUNTIME = "akashic.runtime"
HEALTH_PATH = "akashic.health.path"
SMOKE_PATHS = "akashic.smoke.paths"

_NANOSECONDS = 1_000_000_000


class ImageConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a target needs to start an image. Paths are those in the image. `runtime` is what the image does
    not bring along (`python>=3.11`); empty when it brings all."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    workdir: str = "/"
    user: str = ""
    ports: tuple[int, ...] = ()
    labels: dict[str, str] = {}
    healthcheck: HealthCheck | None = None
    has_healthcheck: bool = False
    smoke_paths: tuple[str, ...] = ()
    stop_signal: str = "SIGTERM"
    runtime: str = ""
    platform: str = ""
    created: str = ""

    @property
    def argv(self) -> tuple[str, ...]:
        """The command line: the entry point, then the command."""
        return (*self.entrypoint, *self.command)


def timestamp(seconds: int) -> str:
    """RFC 3339 in UTC, whatever the machine's time zone."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def image_env(spec: ImageSpec) -> dict[str, str]:
    """The image's environment: where Python finds dependencies and sources, then what the user set."""
    folders = [APPLICATION_FOLDER, DEPENDENCIES_FOLDER]
    if spec.source_paths:
        folders = [
            *(f"{APPLICATION_FOLDER}/{path.strip('/')}" for path in spec.source_paths),
            DEPENDENCIES_FOLDER,
        ]
    return {
        "PATH": f"{DEPENDENCIES_FOLDER}/bin:/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": ":".join(folders),
        "PYTHONUNBUFFERED": "1",
        **spec.env,
    }


def image_labels(
    spec: ImageSpec, *, commit: str, version: str, created_s: int, runtime: bool = True
) -> dict[str, str]:
    """The labels: the OCI annotations with a meaning of their own, ours, and what the user set (wins).
    `runtime` false: the image brings its interpreter along."""
    labels = {
        "org.opencontainers.image.title": spec.name,
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.revision": commit,
        "org.opencontainers.image.created": timestamp(created_s),
    }
    if runtime:
        labels[RUNTIME] = f"python>={spec.python}"
    if spec.healthcheck is not None:
        labels[HEALTH_PATH] = spec.healthcheck.path
    if spec.smoke_paths:
        labels[SMOKE_PATHS] = " ".join(spec.smoke_paths)
    return {**labels, **spec.labels}


def image_config(
    spec: ImageSpec,
    platform: str,
    layers: Sequence[tuple[str, Layer]],
    *,
    commit: str,
    version: str,
    created_s: int,
) -> dict[str, Any]:
    """The OCI configuration document (config.md); `Healthcheck` is Docker's addition to it."""
    os_name, _, architecture = platform.partition("/")
    settings: dict[str, Any] = {
        "User": spec.user,
        "ExposedPorts": {f"{spec.port}/tcp": {}},
        "Env": [f"{name}={value}" for name, value in image_env(spec).items()],
        "Entrypoint": list(spec.entrypoint),
        "Cmd": list(spec.command),
        "WorkingDir": spec.workdir,
        "StopSignal": spec.stop_signal,
        "Labels": image_labels(spec, commit=commit, version=version, created_s=created_s),
    }
    if spec.healthcheck is not None:
        settings["Healthcheck"] = _docker_healthcheck(spec.healthcheck, spec.port)
    created = timestamp(created_s)
    return {
        "architecture": architecture,
        "os": os_name,
        "created": created,
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for _, layer in layers]},
        "history": [{"created": created, "created_by": f"akashic: {what}"} for what, _ in layers],
    }


def _docker_healthcheck(check: HealthCheck, port: int) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}{check.path}"
    script = f"import urllib.request as r; r.urlopen({url!r}, timeout={check.timeout_s:g})"
    return {
        "Test": ["CMD", "python3", "-c", script],
        "Interval": int(check.interval_s * _NANOSECONDS),
        "Timeout": int(check.timeout_s * _NANOSECONDS),
        "StartPeriod": int(check.start_period_s * _NANOSECONDS),
        "Retries": check.retries,
    }


def parse_config(document: Mapping[str, Any]) -> ImageConfig:
    """Read a configuration document, ours or an engine's. Raises ImageError when it is not one."""
    settings = document.get("config") or {}
    labels = settings.get("Labels") or {}
    try:
        values: dict[str, Any] = {
            "entrypoint": settings.get("Entrypoint") or (),
            "command": settings.get("Cmd") or (),
            "env": dict(item.partition("=")[::2] for item in settings.get("Env") or ()),
            "workdir": settings.get("WorkingDir") or "/",
            "user": settings.get("User") or "",
            "ports": [int(port.partition("/")[0]) for port in settings.get("ExposedPorts") or ()],
            "labels": labels,
            "healthcheck": _parse_healthcheck(settings.get("Healthcheck"), labels),
            "has_healthcheck": bool(settings.get("Healthcheck")),
            "smoke_paths": labels.get(SMOKE_PATHS, "").split(),
            "stop_signal": settings.get("StopSignal") or "SIGTERM",
            "runtime": labels.get(RUNTIME, ""),
            "platform": f"{document.get('os', '')}/{document.get('architecture', '')}",
            "created": document.get("created", ""),
        }
        return msgspec.convert(values, ImageConfig)
    except (msgspec.MsgspecError, AttributeError, TypeError, ValueError) as error:
        raise ImageError(f"the image's configuration is not valid: {error}") from None


def _parse_healthcheck(found: Mapping[str, Any] | None, labels: Mapping[str, str]) -> dict[str, Any] | None:
    path = labels.get(HEALTH_PATH)
    if path is None:
        return None
    found = found or {}
    default = HealthCheck(path=path)
    return {
        "path": path,
        "interval_s": found.get("Interval", default.interval_s * _NANOSECONDS) / _NANOSECONDS,
        "timeout_s": found.get("Timeout", default.timeout_s * _NANOSECONDS) / _NANOSECONDS,
        "start_period_s": found.get("StartPeriod", default.start_period_s * _NANOSECONDS) / _NANOSECONDS,
        "retries": found.get("Retries", default.retries),
    }
