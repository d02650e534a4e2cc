"""What `uses:` names: a folder of the workspace, a repository's action, or a container image.

Source: GitHub's "Workflow syntax", `jobs.<job_id>.steps[*].uses`.
"""

from __future__ import annotations

import re

import msgspec

from akashic.errors import AkashicError

_REPOSITORY = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]*)/([A-Za-z0-9_.-]+)((?:/[^/@\0]+)*)/?@([^\0]+)")
_REF = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+@#%=,!()-]{0,250}")


class LocalUse(msgspec.Struct, frozen=True):
    """`./path`: a folder of the workspace when the step runs."""

    path: str


class ImageUse(msgspec.Struct, frozen=True):
    """`docker://image`."""

    image: str


class RepositoryUse(msgspec.Struct, frozen=True):
    """`owner/repo[/path]@ref`."""

    owner: str
    repo: str
    path: str
    ref: str

    @property
    def repository(self) -> str:
        return f"{self.owner}/{self.repo}"

    @property
    def name(self) -> str:
        """What stands before the `@`."""
        return f"{self.repository}/{self.path}" if self.path else self.repository

    @property
    def pin(self) -> str:
        """The entry of the lock file: a repository at a ref, whatever the path."""
        return f"{self.repository.lower()}@{self.ref}"

    def __str__(self) -> str:
        return f"{self.name}@{self.ref}"


Use = LocalUse | ImageUse | RepositoryUse


def parse_uses(text: str) -> Use:
    """Read a `uses:` value. Raises AkashicError that says what was expected."""
    text = text.strip()
    if text.startswith("$/"):
        # The repository of the workflow itself; what an action of another repository means by it was resolved
        # when the action was read.
        if "@" in text:
            raise AkashicError(f"uses: '{text}': `$/path` takes no @ref: it is the running commit")
        text = f"./{text[2:]}"
    if text.startswith(("./", ".\\")) or text == ".":
        path = text.replace("\\", "/")
        if ".." in path.split("/") or "\0" in path:
            raise AkashicError(f"uses: '{text}' leaves the workspace")
        return LocalUse(path)
    if text.startswith("docker://"):
        return ImageUse(text.removeprefix("docker://"))
    found = _REPOSITORY.fullmatch(text)
    if found is None:
        raise AkashicError(
            f"uses: expected './path', 'docker://image' or 'owner/repo[/path]@ref', got '{text}'",
            hint="A repository's action needs a version: owner/repo@v1, or a full commit SHA.",
        )
    owner, repo, path, ref = found.groups()
    segments = path.strip("/").split("/") if path.strip("/") else []
    if repo in (".", "..") or ".." in segments or "." in segments:
        raise AkashicError(f"uses: '{text}' is not a path inside a repository")
    if not _REF.fullmatch(ref) or ".." in ref or ref.endswith((".lock", "/")):
        raise AkashicError(f"uses: '{ref}' is not the name of a branch, tag or commit in '{text}'")
    return RepositoryUse(owner, repo, "/".join(segments), ref)


def is_commit(ref: str) -> bool:
    """Whether a ref is a full commit SHA."""
    return len(ref) in (40, 64) and all(c in "0123456789abcdef" for c in ref.lower())
