"""Artifacts: named, immutable bundles of files that a run's jobs leave, as version 4 of GitHub's artifacts:
what is known of one, how it may be called, how long it stays. Source: "Store and share data with workflow
artifacts" and the documentation of `actions/upload-artifact`.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator

import msgspec

from akashic.errors import AkashicError

RETENTION_DAYS_DEFAULT = 90
RETENTION_DAYS_MAX = 90
NAME_CHARACTERS_MAX = 256
_NAME_FORBIDDEN = {
    '"': 'double quote "',
    ":": "colon :",
    "<": "less than <",
    ">": "greater than >",
    "|": "vertical bar |",
    "*": "asterisk *",
    "?": "question mark ?",
    "\r": "carriage return \\r",
    "\n": "line feed \\n",
    "\\": "backslash \\",
    "/": "forward slash /",
}


class ArtifactError(AkashicError):
    """The artifact cannot be stored or found; the message says why."""


class Artifact(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an artifact. `size` is the stored bytes, `digest` is `sha256:` and their hash in hex,
    `bytes` and `files` what it unpacks to; times are seconds since the epoch. `filename` is set for an
    artifact that is one file as it is, not a zip. `foreign` is set for a zip that a client packed: what it
    says of itself is not evidence."""

    id: int
    name: str
    run_id: str
    run_attempt: int
    job_key: str
    size: int
    digest: str
    files: int
    bytes: int
    created_at: float
    expires_at: float
    filename: str = ""
    foreign: bool = False


def check_name(name: str) -> None:
    """Raise ArtifactError for what GitHub refuses as an artifact's name, and for what is no folder's name."""
    if not name:
        raise ArtifactError("an artifact needs a name")
    for character, words in _NAME_FORBIDDEN.items():
        if character in name:
            raise ArtifactError(
                f"the artifact name is not valid: {name!r} contains the character: {words}",
                hint="A name becomes a folder where it is downloaded, so these characters are not allowed:"
                ' " : < > | * ? \\r \\n \\ /',
            )
    if name in (".", "..") or any(ord(c) < 32 for c in name) or len(name.encode()) > NAME_CHARACTERS_MAX:
        raise ArtifactError(f"the artifact name is not valid: {name[:80]!r}")


def matches(name: str, pattern: str) -> bool:
    """Whether an artifact's name matches a `pattern:` input: `*`, `?`, `[…]` and `{a,b}` as minimatch."""
    return any(fnmatch.fnmatchcase(name, choice) for choice in _braces(pattern))


def _braces(pattern: str) -> Iterator[str]:
    start = pattern.find("{")
    end = pattern.find("}", start)
    if start < 0 or end < 0 or "," not in pattern[start:end]:
        yield pattern
        return
    for choice in pattern[start + 1 : end].split(","):
        yield from _braces(pattern[:start] + choice + pattern[end + 1 :])


def retention_of(days: int) -> int:
    """The days that an artifact stays; 0 stands for the default. Raises ArtifactError."""
    if days == 0:
        return RETENTION_DAYS_DEFAULT
    if not 1 <= days <= RETENTION_DAYS_MAX:
        raise ArtifactError(f"'retention-days' must be between 1 and {RETENTION_DAYS_MAX}, got {days}")
    return days
