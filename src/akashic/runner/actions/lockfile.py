"""`.github/akashic.lock`: the commit that each used action, and each action that those use, is pinned to.

A version tag is a name that its owner can move to other code at any time (CVE-2025-30066). With a lock
file the code that runs is the code that was locked, and a tag that has moved stops the run. The images that
Docker actions pull are pinned to their digests in the same file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from akashic.errors import AkashicError, UsageError
from akashic.runner.actions.uses import RepositoryUse, is_commit

LOCK_PATH = ".github/akashic.lock"
_VERSION = 1
_DIGEST = re.compile(r"(sha256:[0-9a-f]{64})?")


class ActionMovedError(AkashicError):
    """A tag or branch points to another commit than the one that was locked."""


class LockFile(msgspec.Struct, frozen=True):
    """`owner/repo@ref` (owner and repository in lower case) to a commit; of Docker actions, the image as it
    is written to its digest, "" when it has none. `images` is None in files that were written before."""

    path: Path
    pins: Mapping[str, str]
    images: Mapping[str, str] | None = None

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
            images = data.get("images")
            if images is not None:
                sound = sound and all(
                    isinstance(image, str) and isinstance(digest, str) and _DIGEST.fullmatch(digest)
                    for image, digest in images.items()
                )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            sound, pins, images = False, {}, None
        if not sound:
            raise UsageError(
                f"{path}: expected version {_VERSION} and `actions`: owner/repo@ref to a commit SHA",
                hint="Make it anew with: akashic lock",
            )
        return cls(path, pins, images)

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

    def image(self, image: str) -> str:
        """The image that runs for `image`: pinned to its digest. Raises UsageError when it is not locked."""
        if self.images is None or "@" in image:
            return image
        digest = self.images.get(image)
        if digest is None:
            raise UsageError(
                f"docker://{image}: not in {self.path.name}, which pins the images of actions",
                hint="Look at the image, then add it with: akashic lock",
            )
        return f"{without_tag(image)}@{digest}" if digest else image

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
        data: dict[str, object] = {"version": _VERSION, "actions": dict(sorted(self.pins.items()))}
        if self.images is not None:
            data["images"] = dict(sorted(self.images.items()))
        text = json.dumps(data, indent=2) + "\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        part = self.path.with_name(f"{self.path.name}.{os.getpid()}.part")
        part.write_text(text, "utf-8")
        part.replace(self.path)


def without_tag(image: str) -> str:
    """The name of an image, registry included."""
    head, slash, last = image.rpartition("/")
    return f"{head}{slash}{last.partition(':')[0]}"
