"""`.github/akashic.lock`: the commit that each used action, and each action that those use, is pinned to.

A version tag is a name that its owner can move to other code at any time (CVE-2025-30066). With a lock
file the code that runs is the code that was locked, and a tag that has moved stops the run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from akashic.errors import AkashicError, UsageError
from akashic.runner.actions.uses import RepositoryUse, is_commit

LOCK_PATH = ".github/akashic.lock"
_VERSION = 1


class ActionMovedError(AkashicError):
    """A tag or branch points to another commit than the one that was locked."""


@dataclass(frozen=True, slots=True)
class LockFile:
    """`owner/repo@ref` (owner and repository in lower case) to a commit."""

    path: Path
    pins: Mapping[str, str]

    @classmethod
    def read(cls, root: Path) -> LockFile | None:
        """The repository's lock file, None when it has none. Raises UsageError for one that is not valid."""
        path = root / LOCK_PATH
        try:
            text = path.read_text("utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"{path}: cannot be read: {error}") from error
        try:
            data = json.loads(text)
            pins = data["actions"]
            sound = data["version"] == _VERSION and all(
                isinstance(pin, str) and "@" in pin and isinstance(commit, str) and is_commit(commit)
                for pin, commit in pins.items()
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            sound, pins = False, {}
        if not sound:
            raise UsageError(
                f"{path}: expected version {_VERSION} and `actions`: owner/repo@ref to a commit SHA",
                hint="Make it anew with: akashic lock",
            )
        return cls(path, pins)

    def commit(self, use: RepositoryUse) -> str:
        """The commit of an action. Raises UsageError when it is not locked."""
        if is_commit(use.ref):
            return use.ref.lower()
        commit = self.pins.get(use.pin)
        if commit is None:
            raise UsageError(
                f"{use}: not in {self.path.name}, which pins every action of this repository",
                hint="Look at the action, then add it with: akashic lock",
            )
        return commit

    def check(self, use: RepositoryUse, commit: str) -> None:
        """Refuse a commit that is not the locked one. Raises ActionMovedError."""
        locked = self.commit(use)
        if locked != commit:
            raise ActionMovedError(
                f"{use}: '{use.ref}' points to {commit[:12]} now, "
                f"and {self.path.name} pins it to {locked[:12]}",
                hint="Somebody moved the tag. Compare the two commits; "
                "if the change is right: akashic lock --update",
            )

    def write(self) -> None:
        """Replace the file atomically."""
        text = json.dumps({"version": _VERSION, "actions": dict(sorted(self.pins.items()))}, indent=2) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        part.write_text(text, "utf-8")
        part.replace(self.path)
