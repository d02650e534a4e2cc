"""How git is asked everywhere: with nothing of a surrounding git, and running no program that a repository
names.

May import: `akashic.errors`. What a caller needs besides (another owner's folders, no filters) it adds.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from akashic.errors import UsageError

# A repository's own settings can name programs (hooks, `core.fsmonitor`, the transport `ext`) and change what
# git prints (CVE-2024-32002, CVE-2025-48384). Collecting garbage in the background would outlive the caller.
SAFE = (
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.ext.allow=never",
    "-c", "core.quotePath=false", "-c", "log.showSignature=false", "-c", "advice.detachedHead=false",
    "-c", "gc.auto=0",
)  # fmt: skip
"""Options that stand before every subcommand."""


def git_argv(folder: Path, *argv: str) -> tuple[str, ...]:
    """A git command line for a folder."""
    return ("git", "-C", str(folder), *SAFE, *argv)


def git_env(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for git: settings of a surrounding git (a hook that calls us) must not point us at
    another repository, and its messages are read, so they must be English."""
    env = {key: value for key, value in environ.items() if not key.startswith("GIT_")}
    return env | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}


def git_start(
    folder: Path, environ: Mapping[str, str], *argv: str, settings: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Start git, with `settings` on top of its environment. Raises UsageError when there is none."""
    try:
        return subprocess.Popen(
            git_argv(folder, *argv),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=git_env(environ) | dict(settings or {}),
        )
    except FileNotFoundError:
        raise UsageError("git is not on PATH", hint="install git") from None


def git_output(folder: Path, environ: Mapping[str, str], *argv: str) -> bytes | None:
    """What git prints; None when it fails. Raises UsageError when there is no git."""
    with git_start(folder, environ, *argv) as child:
        output, _ = child.communicate()
    return output if child.returncode == 0 else None
