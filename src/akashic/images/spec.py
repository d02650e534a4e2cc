"""What an image is made of and how it is started, as `akashic.yaml` says under `image:`."""

from __future__ import annotations

from typing import Literal

import msgspec

PLATFORMS_DEFAULT = ("linux/amd64",)
USER_DEFAULT = "1001:1001"
PORT_DEFAULT = 3000
PYTHON_DEFAULT = "3.11"
APPLICATION_FOLDER = "/app"
DEPENDENCIES_FOLDER = "/opt/dependencies"

Compression = Literal["none", "gzip"]


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a started image says that it is well: an HTTP GET of `path` on the image's port answers 200.

    The figures mean what Docker's HEALTHCHECK means by them.
    """

    path: str
    interval_s: float = 30.0
    timeout_s: float = 3.0
    start_period_s: float = 5.0
    retries: int = 3


class ImageSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One image. Paths on this machine are relative to the repository's root, with `/`.

    `context` is the folder whose files become the application; `include` and `exclude` are globs relative to
    it (`**` crosses folders; a folder's name takes everything below it), `exclude` wins. `requirements` is a
    requirements file with a hash for every package, relative to `context`; empty: no dependencies.
    `source_paths` are folders below the context that Python imports from. `workdir` and everything in
    `entrypoint` and `command` are paths in the image, where the context lies at `/app`. `entrypoint` or
    `command` must name something to start. `python` is the version that dependencies are chosen for; the
    image brings no interpreter. `dockerfile` (relative to `context`) is what an engine builds; without one an
    engine is never used. `repository` is where `--push` sends it (`ghcr.io/team/app`). `compose` is a
    compose file, relative to `context`, with the services that a trial of the image needs. `compression` is
    that of the layers: `none` gives the same bytes with every zlib.
    """

    name: str
    context: str = "."
    include: tuple[str, ...] = ("**",)
    exclude: tuple[str, ...] = ()
    requirements: str = ""
    source_paths: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: dict[str, str] = {}
    workdir: str = APPLICATION_FOLDER
    port: int = PORT_DEFAULT
    user: str = USER_DEFAULT
    labels: dict[str, str] = {}
    healthcheck: HealthCheck | None = None
    smoke_paths: tuple[str, ...] = ()
    platforms: tuple[str, ...] = PLATFORMS_DEFAULT
    python: str = PYTHON_DEFAULT
    compression: Compression = "none"
    dockerfile: str = ""
    dockerfile_target: str = ""
    build_args: dict[str, str] = {}
    stop_signal: str = "SIGTERM"
    repository: str = ""
    compose: str = ""
