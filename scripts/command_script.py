"""How a build gives the `akashic` command its script: two hooks of hatchling.

The script beside this file starts Python straight from its first line, into which the installer writes where
Python is. The kernel splits that line at a space and cuts it when it is long, and pip does not care. pip
builds with the Python that it installs for: where its path cannot stand in a first line, the command becomes
an entry point, for which every installer makes a script that a shell starts. Everywhere else that would be
slower: before version 26, pip's scripts import `re` first.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface

SHEBANG_BYTES_MAX = 127
"""What the kernel reads of a first line before Linux 5.1, its end not counted."""
NAME, SCRIPT, ENTRY_POINT = "akashic", "scripts/akashic", "akashic.__main__:main"


def fits_shebang(python: str) -> bool:
    """Whether the kernel starts the interpreter `python` from a script's first line."""
    line = b"#!" + os.fsencode(python)
    return len(line) <= SHEBANG_BYTES_MAX and not any(blank in line for blank in b" \t\n")


class Script(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the script into the wheel."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if fits_shebang(sys.executable):
            build_data["shared_scripts"][SCRIPT] = NAME


class EntryPoint(MetadataHookInterface):
    """Names the entry point instead."""

    def update(self, metadata: dict[str, Any]) -> None:
        if not fits_shebang(sys.executable):
            metadata["scripts"] = {NAME: ENTRY_POINT}
