"""Which locked requirements an image needs, by the image's platform and Python, not by this machine's.

Source: the dependency specifiers specification (environment markers). Installers evaluate some markers for
the interpreter they run on; then the same commit would give other bytes on another machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from packaging.markers import InvalidMarker, Marker

from akashic.errors import UsageError

MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}


class Marked(Protocol):
    """A requirement with a marker, "" for none."""

    @property
    def name(self) -> str: ...
    @property
    def marker(self) -> str: ...


M = TypeVar("M", bound=Marked)


def applying(requirements: Sequence[M], *, platform: str, python: str, file: str) -> list[M]:
    """The requirements whose markers hold on `platform` with the lowest patch release of `python` (`3.11`
    means 3.11.0: what that needs, later ones can bear). Raises UsageError for a marker that is none."""
    environment = marker_environment(platform, python)
    found: list[M] = []
    for requirement in requirements:
        if requirement.marker:
            try:
                marker = Marker(requirement.marker)
            except InvalidMarker as error:
                raise UsageError(f"{file}: {requirement.name}: not a marker: {error}") from None
            if not marker.evaluate(environment):
                continue
        found.append(requirement)
    return found


def marker_environment(platform: str, python: str) -> dict[str, str]:
    """The values that markers are compared with."""
    parts = [*python.split("."), "0", "0"][:3]
    return {
        "implementation_name": "cpython",
        "implementation_version": ".".join(parts),
        "os_name": "posix",
        "platform_machine": MACHINES[platform],
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": ".".join(parts),
        "python_version": ".".join(parts[:2]),
        "sys_platform": "linux",
        "extra": "",
    }
