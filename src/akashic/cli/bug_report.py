"""What a maintainer wants to know of a machine."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
from collections.abc import Mapping
from pathlib import Path

from akashic import __version__
from akashic.cli.actrc import actrc_files
from akashic.executors.host import isolation

VERSION_TIMEOUT_S = 10.0


def bug_report(environ: Mapping[str, str]) -> list[str]:
    """This machine and what Akashic finds on it, a line each; nothing that is secret."""
    missing = isolation.probe().missing
    lines = [
        f"akashic: {__version__}",
        f"python: {platform.python_version()} ({platform.python_implementation()})",
        f"sqlite: {sqlite3.sqlite_version}",
        f"system: {platform.platform()}",
        f"processors: {len(os.sched_getaffinity(0))}",
        f"isolation: {f'none: {missing}' if missing else isolation.describe()}",
        *(f"{tool}: {_version(tool, environ)}" for tool in ("git", "bash", "node", "docker")),
    ]
    return lines + [f"actrc: {file}" for file in actrc_files(Path.cwd(), environ) if file.is_file()]


def _version(tool: str, environ: Mapping[str, str]) -> str:
    path = shutil.which(tool, path=environ.get("PATH"))
    if path is None:
        return "not installed"
    try:
        outcome = subprocess.run(
            [path, "--version"], capture_output=True, text=True, check=False, timeout=VERSION_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"cannot be started: {error}"
    return (outcome.stdout.splitlines() or ["says nothing"])[0]
