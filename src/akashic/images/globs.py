"""Globs over repository paths: `*` within a folder, `**` across folders, a folder's name for all below it."""

from __future__ import annotations

import re


class GlobSet:
    """Several globs at once; a path matches when one of them does. Paths use `/` and have no leading one."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        alternatives = "|".join(_translate(pattern.strip("/")) for pattern in patterns)
        self._regex = re.compile(f"(?:{alternatives})(?:/.*)?", re.DOTALL) if patterns else None

    def matches(self, path: str) -> bool:
        return self._regex is not None and self._regex.fullmatch(path) is not None


def _translate(pattern: str) -> str:
    if pattern in ("", "."):
        return ".*"
    out: list[str] = []
    for number, part in enumerate(parts := pattern.split("/")):
        last = number == len(parts) - 1
        if part == "**":
            out.append(".*" if last else "(?:[^/]+/)*")
        else:
            text = re.escape(part).replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
            out.append(text if last else text + "/")
    return "".join(out)
