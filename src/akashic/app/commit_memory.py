"""What git said of the last commit that was looked at: it is never told otherwise, so it is asked only once.

A git process costs a millisecond or two, which is a tenth of a short run.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

_NAME = "commit"
_OBJECT = re.compile(r"[0-9a-f]{40}")
_BYTES_MAX = 256 * 1024


class CommitMemory:
    """One commit's description, in a file of the state folder."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / _NAME

    def recall(self, commit: str) -> str | None:
        """The description of a commit, None when another one's is known, or none."""
        if not commit:
            return None
        with suppress(OSError, UnicodeDecodeError):
            description = self._path.read_bytes().decode()
            if description.startswith(commit + "\0"):
                return description
        return None

    def remember(self, description: str) -> None:
        """Keep a description, which begins with the commit's name and a NUL, instead of the last one."""
        content = description.encode("utf-8", "replace")
        if len(content) > _BYTES_MAX or not self._path.parent.is_dir():
            return
        new = self._path.with_name(f"{_NAME}.{os.getpid()}")
        # Without it git is asked again.
        with suppress(OSError):
            new.write_bytes(content)
            new.replace(self._path)


def commit_guess(folders: tuple[Path, Path]) -> str:
    """The commit of the branch that is checked out, as far as plain files say; "" when they do not, and for
    a commit that is checked out without a branch: what tags it has may change. `folders` are git's, for HEAD
    and for refs (https://git-scm.com/docs/gitrepository-layout)."""
    own, shared = folders
    with suppress(OSError, UnicodeDecodeError):
        head = (own / "HEAD").read_text()
        if head.startswith("ref: refs/heads/"):
            name = head.removeprefix("ref: ").strip()
            found = _OBJECT.match((shared / name).read_text())
            return found[0] if found else ""
    return ""
