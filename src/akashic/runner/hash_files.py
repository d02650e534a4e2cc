"""`hashFiles(…)`: one digest over the files of the workspace that match patterns.

Source: GitHub's "Evaluate expressions" (`hashFiles`) and the semantics of actions/toolkit's glob package:
patterns are relative to the workspace, `!` takes away, later patterns win, `**` crosses folders, hidden files
match. The digest is SHA-256 over the binary SHA-256 of each file, in the order of their paths.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache

from akashic.errors import AkashicError
from akashic.executors.protocol import Sandbox

TIMEOUT_S = 120.0
"""GitHub's limit for one call."""
_READ_BYTES = 1024 * 1024
_WILD = re.compile(r"[*?\[]")


def hash_files(sandbox: Sandbox, patterns: Sequence[str]) -> str:
    """The digest in hexadecimal, "" when nothing matches. Links out of the workspace are not followed."""
    workspace = sandbox.workspace
    rules = [_rule(line, workspace) for pattern in patterns for line in pattern.split("\n") if _counts(line)]
    if not any(included for included, _, _ in rules):
        return ""
    root = os.path.realpath(sandbox.host_path(sandbox.workspace))
    deadline = time.monotonic() + TIMEOUT_S
    found: set[str] = set()
    for start in {_start(text) for included, text, _ in rules if included}:
        for path in _files(root, start, deadline):
            matched = False
            for included, _, regexp in rules:
                if matched != included and regexp.fullmatch(path):
                    matched = included
            if matched:
                found.add(path)
    if not found:
        return ""
    total = hashlib.sha256()
    for path in sorted(found):
        total.update(_digest(root, path, deadline))
    return total.hexdigest()


def _counts(line: str) -> bool:
    stripped = line.strip()
    return bool(stripped) and not stripped.startswith("#")


def _rule(line: str, workspace: str) -> tuple[bool, str, re.Pattern[str]]:
    text = line.strip()
    included = True
    while text.startswith("!"):
        included, text = not included, text[1:].strip()
    if f"{text}/".startswith(f"{workspace}/"):
        # Whole paths are made with `github.workspace`; any other `/` in front means the workspace itself.
        text = text[len(workspace) :]
    text = os.path.normpath(text.lstrip("/") or ".")
    if text.startswith(".."):
        raise AkashicError(
            f"hashFiles('{line.strip()}'): the pattern leaves the workspace",
            hint="Only files below GITHUB_WORKSPACE are hashed.",
        )
    return included, text, _regexp(text)


@lru_cache(maxsize=512)
def _regexp(text: str) -> re.Pattern[str]:
    parts: list[str] = []
    segments = text.split("/") if text != "." else ["**"]
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        if segment == "**":
            parts.append(".*" if last else "(?:[^/]+/)*")
            continue
        parts.append(_segment(segment))
        if not last:
            parts.append("/")
    # A pattern that names a folder means everything in it.
    return re.compile("".join(parts) + "(?:/.*)?", re.DOTALL)


def _segment(segment: str) -> str:
    result: list[str] = []
    at = 0
    while at < len(segment):
        char = segment[at]
        at += 1
        if char == "*":
            if not result or result[-1] != "[^/]*":
                result.append("[^/]*")
        elif char == "?":
            result.append("[^/]")
        elif char == "[" and "]" in segment[at + 1 :]:
            end = segment.index("]", at + 1)
            body = segment[at:end].replace("\\", "\\\\").replace("[", "\\[")
            negated = body.startswith(("!", "^"))
            result.append(f"[{'^' if negated else ''}{body[1:] if negated else body}]")
            at = end + 1
        else:
            result.append(re.escape(char))
    return "".join(result)


def _start(text: str) -> str:
    """The folder below which a pattern can match."""
    fixed: list[str] = []
    for segment in text.split("/"):
        if _WILD.search(segment):
            break
        fixed.append(segment)
    return "/".join(fixed)


def _files(root: str, start: str, deadline: float) -> Iterator[str]:
    full = os.path.join(root, start) if start not in ("", ".") else root  # noqa: PTH118
    if os.path.isfile(full):  # noqa: PTH113
        yield start
        return
    for folder, _, names in os.walk(full):
        if time.monotonic() > deadline:
            raise AkashicError(f"hashFiles: not finished after {TIMEOUT_S:g} s")
        relative = folder[len(root) :].lstrip("/")
        for name in names:
            yield f"{relative}/{name}" if relative else name


def _digest(root: str, path: str, deadline: float) -> bytes:
    full = os.path.realpath(os.path.join(root, path))  # noqa: PTH118
    if not full.startswith(root + "/"):
        raise AkashicError(
            f"hashFiles: '{path}' is a link out of the workspace",
            hint=f"Leave it out: add the pattern '!{path}'",
        )
    digest = hashlib.sha256()
    if not os.path.isfile(full):  # noqa: PTH113
        return b""
    with open(full, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
            if time.monotonic() > deadline:
                raise AkashicError(f"hashFiles: not finished after {TIMEOUT_S:g} s")
    return digest.digest()
