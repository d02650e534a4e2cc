"""How a person wants jobs in containers: what `akashic run` was asked with, and what akashic.yaml says."""

from __future__ import annotations

from typing import Literal

import msgspec

PullPolicy = Literal["always", "missing", "never"]

HOST_IMAGE = "-self-hosted"
"""In place of an image: jobs with that label run on this machine (act's spelling)."""


class ContainerOptions(msgspec.Struct, frozen=True, kw_only=True):
    """`images` maps a `runs-on` label, in lower case, to the image that stands for it. `options` are docker's
    create options for a job container that gives none of its own. `platform` is `os/architecture`. Of
    `daemon_socket` a job's containers see the engine's socket, which makes them root on the engine's machine:
    empty mounts none."""

    images: dict[str, str] = {}
    pull: PullPolicy = "missing"
    options: str = ""
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    platform: str = ""
    privileged: bool = False
    userns: str = ""
    daemon_socket: str = ""
