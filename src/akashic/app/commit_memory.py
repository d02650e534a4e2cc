"""What git said of the last commit that was looked at: it is never told otherwise, so it is asked only once.

A git process costs a millisecond or two, which is a tenth of a short run.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

_NAME = "commit"
_OBJECT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_BYTES_MAX = 256 * 1024
_FIELDS = 7
_ALTERING = ("shallow", "info/grafts", "refs/replace", "packed-refs", "config")


class CommitMemory:
    """One commit's description, in a file of the state folder: after a line of `marks` and its size its
    fields, parted by NUL, of which the first is the commit's name."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / _NAME

    def recall(self, commit: str, marks: str) -> str | None:
        """The description of a commit, None when another one's is known, or none, or one of other marks."""
        if not commit:
            return None
        with suppress(OSError, UnicodeDecodeError):
            # Whatever may lie there: this neither waits nor reads for ever.
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
            with open(os.open(self._path, flags), "rb") as file:
                content = file.read(_BYTES_MAX + 1)
            known, _, rest = content.partition(b"\n")
            description = rest.decode()
            whole = known == _head(marks, rest) and rest.count(0) == _FIELDS - 1
            if whole and description.startswith(commit + "\0"):
                return description
        return None

    def remember(self, description: str, marks: str) -> None:
        """Keep a description instead of the last one."""
        encoded = description.encode("utf-8", "replace")
        content = _head(marks, encoded) + b"\n" + encoded
        if len(content) > _BYTES_MAX or not self._path.parent.is_dir():
            return
        new = self._path.with_name(f"{_NAME}.{os.getpid()}")
        # Without it git is asked again.
        with suppress(OSError):
            try:
                new.write_bytes(content)
                new.replace(self._path)
            except OSError:
                new.unlink()


def _head(marks: str, description: bytes) -> bytes:
    # Nothing makes the file durable: after a loss of power it may be short, or hold zeros.
    return f"{marks} {len(description)}".encode()


def marks_of(shared: Path) -> str:
    """When what may alter git's description of a commit was changed last: where history is cut off, what
    stands in for other commits, in which encoding a message is (`man git-replace`,
    https://git-scm.com/docs/gitrepository-layout)."""
    marks = []
    for name in _ALTERING:
        try:
            found = (shared / name).stat()
            marks.append(f"{found.st_mtime_ns}:{found.st_size}")
        except OSError:
            marks.append("-")
    return " ".join(marks)


def commit_guess(folders: tuple[Path, Path]) -> str:
    """The commit of the branch that is checked out, as far as plain files say; "" when they do not, and for
    a commit that is checked out without a branch: what tags it has may change. `folders` are git's, for HEAD
    and for refs (https://git-scm.com/docs/gitrepository-layout)."""
    own, shared = folders
    with suppress(OSError, UnicodeDecodeError, ValueError):
        head = (own / "HEAD").read_text()
        if head.startswith("ref: refs/heads/"):
            name = head.removeprefix("ref: ").strip()
            found = _OBJECT.fullmatch((shared / name).read_text().strip())
            return found[0] if found else ""
    return ""
