"""RUNNER_ARCH of this machine, as GitHub names architectures ("Variables reference")."""

from __future__ import annotations

import platform

_NAMES = {
    "x86_64": "X64",
    "amd64": "X64",
    "aarch64": "ARM64",
    "arm64": "ARM64",
    "armv7l": "ARM",
    "i686": "X86",
}


def machine_architecture() -> str:
    machine = platform.machine()
    return _NAMES.get(machine.lower(), machine.upper())
