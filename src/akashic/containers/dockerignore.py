"""`.dockerignore`: which files of a folder go to the engine.

Source: Docker's documentation, "Build context", ".dockerignore files": one pattern a line, Go's
`filepath.Match` and `**`, `!` takes back what an earlier line left out, the last line that matches decides.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from akashic.errors import UsageError


class DockerIgnore:
    """The patterns of one file. Raises UsageError for one that is none, as Docker refuses it."""

    def __init__(self, text: str) -> None:
        self._rules: list[tuple[re.Pattern[str], bool]] = []
        for raw in text.lstrip("\ufeff").splitlines():
            line = raw.strip()
            if not line or raw.startswith("#"):
                continue
            ignores = not line.startswith("!")
            parts = [part for part in line.removeprefix("!").strip().split("/") if part not in ("", ".")]
            if parts:
                self._rules.append((_compiled(line, parts), ignores))

    def ignores(self, path: str) -> bool:
        """Whether a file is left out; a pattern that matches a folder holds for all below it."""
        decided = False
        for pattern, ignores in self._rules:
            if pattern.match(path):
                decided = ignores
        return decided


def _compiled(line: str, parts: Sequence[str]) -> re.Pattern[str]:
    try:
        return re.compile(_pattern(parts), re.DOTALL)
    except re.error as error:
        raise UsageError(f".dockerignore: {line[:100]!r} is no pattern: {error}") from error


def _pattern(parts: Sequence[str]) -> str:
    found = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            found += ".*" if last else "(?:[^/]+/)*"
        else:
            found += _part(part) + ("" if last else "/")
    return found + r"(?:/.*)?\Z"


def _part(part: str) -> str:
    found, at = "", 0
    while at < len(part):
        character = part[at]
        at += 1
        if part.startswith("**", at - 1):
            found, at = found + ".*", at + 1
        elif character == "*":
            found += "[^/]*"
        elif character == "?":
            found += "[^/]"
        elif character == "\\" and at < len(part):
            found, at = found + re.escape(part[at]), at + 1
        elif character == "[" and (end := part.find("]", at + 1)) > 0:
            inside = part[at:end].replace("\\", "\\\\").replace("[", r"\[")
            found, at = found + f"[{inside}]", end + 1
        else:
            found += re.escape(character)
    return found
