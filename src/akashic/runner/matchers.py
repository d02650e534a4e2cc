"""Problem matchers: regular expressions that turn lines of output into annotations.

Format: actions/toolkit "problem-matchers.md" and the runner's documentation of it: owner, severity, and a
list of patterns; the last pattern may loop. Colour sequences are removed before matching.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from akashic.engine.requests import Annotation

LINE_BYTES_MAX = 2048
"""Longer lines are not matched: a pattern may need quadratic time."""
MATCHERS_MAX = 100
PATTERNS_MAX = 20
_GROUPS = ("severity", "file", "fromPath", "line", "column", "code", "message")
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\(|\)|\||[*+]|\{\d*,\d*\}|.", re.DOTALL)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m?")
_NAMED_GROUP = re.compile(r"\(\?<(?![=!])")


class MatcherError(Exception):
    """A matcher's file is not valid; the message says why."""


class _Pattern(msgspec.Struct, frozen=True):
    regexp: re.Pattern[str]
    groups: dict[str, int]
    loop: bool


class _Matcher:
    """One owner's patterns and how far a multi-line match has come."""

    def __init__(self, owner: str, severity: str, patterns: tuple[_Pattern, ...], default_path: str) -> None:
        self.owner = owner
        self._severity = severity
        self._patterns = patterns
        self._default_path = default_path
        self._seen: dict[str, str] = {}
        self._at = 0

    def match(self, line: str) -> dict[str, str] | None:
        pattern = self._patterns[self._at]
        found = pattern.regexp.search(line)
        if found is None and self._at:
            # A looping pattern has ended, or the sequence broke: this line may begin a new one.
            self._at, self._seen = 0, {}
            pattern = self._patterns[0]
            found = pattern.regexp.search(line)
        if found is None:
            return None
        captured = {
            name: found[number] or ""
            for name, number in pattern.groups.items()
            if number <= len(found.groups())
        }
        last = self._at == len(self._patterns) - 1
        if not last:
            self._seen = {**self._seen, **captured}
            self._at += 1
            return None
        result = {"severity": self._severity, "fromPath": self._default_path, **self._seen, **captured}
        if not pattern.loop or len(self._patterns) == 1:
            self._at, self._seen = 0, {}
        return result


class Matchers:
    """The matchers of a job; they stay from the step that adds them to the end of the job."""

    def __init__(self) -> None:
        self._matchers: dict[str, _Matcher] = {}
        self.history: list[tuple[Literal["add", "remove"], str]] = []
        """What was added (its file) and removed (its owner), in order."""

    def replay(self, history: Sequence[tuple[Literal["add", "remove"], str]]) -> None:
        """Add and remove again what another job did. Raises MatcherError."""
        for operation, content in history:
            if operation == "add":
                self.add(content.encode())
            else:
                self.remove(content)

    def __bool__(self) -> bool:
        return bool(self._matchers)

    def add(self, content: bytes) -> None:
        """Take a matcher file over; an owner that is known is replaced. Raises MatcherError."""
        try:
            config = json.loads(content.decode("utf-8-sig"))
            entries = config["problemMatcher"]
            fresh = [_matcher(entry) for entry in entries]
        except (
            ValueError,
            KeyError,
            TypeError,
            AttributeError,
            RecursionError,
            re.error,
            OverflowError,
        ) as error:
            raise MatcherError(f"Problem matcher file is not valid: {error}") from error
        if len(self._matchers) + len(fresh) > MATCHERS_MAX:
            raise MatcherError(f"A job may use {MATCHERS_MAX} problem matchers at most.")
        self.history.append(("add", content.decode("utf-8-sig")))
        for matcher in fresh:
            self._matchers = {
                matcher.owner: matcher,
                **{k: v for k, v in self._matchers.items() if k != matcher.owner},
            }

    def remove(self, owner: str) -> None:
        """Forget an owner's matcher; unknown owners are fine."""
        self.history.append(("remove", owner))
        self._matchers.pop(owner.lower(), None)

    def match(self, line: str) -> Annotation | None:
        """The annotation that `line` completes; the first matcher that matches wins."""
        if len(line) > LINE_BYTES_MAX:
            return None
        plain = _COLOUR.sub("", line)
        for matcher in self._matchers.values():
            found = matcher.match(plain)
            if found is not None:
                return _annotation(found)
        return None


def _repeats_inside(pattern: str) -> bool:
    """Whether a group that is repeated repeats inside, or has alternatives: matching may take exponential
    time, and the runner would stand still. GitHub takes such patterns."""
    tokens = _TOKEN.findall(pattern)
    # For each open group: whether it holds a repetition or an alternative.
    groups = [False]
    for token, after in zip(tokens, [*tokens[1:], ""], strict=True):
        if token == "(":
            groups.append(False)
        elif token == ")" and len(groups) > 1:
            inside = groups.pop()
            if inside and _is_repetition(after):
                return True
            groups[-1] = groups[-1] or inside
        elif token == "|" or _is_repetition(token):
            groups[-1] = True
    return False


def _is_repetition(token: str) -> bool:
    return token in ("*", "+") or (token.startswith("{") and token.endswith("}") and len(token) > 2)


def _matcher(entry: dict[str, Any]) -> _Matcher:
    owner = entry["owner"]
    if not isinstance(owner, str) or not owner:
        raise ValueError("owner must not be empty")
    raw = entry["pattern"]
    if not isinstance(raw, list) or not 0 < len(raw) <= PATTERNS_MAX:
        raise ValueError(f"'{owner}' needs 1 to {PATTERNS_MAX} patterns")
    for item in raw:
        if _repeats_inside(str(item["regexp"])):
            raise ValueError(f"'{owner}': a repeated group must not repeat inside: {item['regexp']}")
    patterns = tuple(
        _Pattern(
            re.compile(_NAMED_GROUP.sub("(?P<", str(item["regexp"]))),
            {name: int(item[name]) for name in _GROUPS if name in item},
            bool(item.get("loop", False)),
        )
        for item in raw
    )
    if any(pattern.loop for pattern in patterns[:-1]):
        raise ValueError(f"'{owner}': only the last pattern may set 'loop'")
    if "message" not in patterns[-1].groups and len(patterns) == 1:
        raise ValueError(f"'{owner}': the last pattern must set 'message'")
    return _Matcher(owner.lower(), str(entry.get("severity", "")), patterns, str(entry.get("fromPath", "")))


def _annotation(found: dict[str, str]) -> Annotation | None:
    message = found.get("message", "").strip()
    if not message:
        return None
    severity = found.get("severity", "").lower()
    level = severity if severity in ("warning", "notice") else "error"
    if severity == "info":
        level = "notice"
    return Annotation(
        level=level,  # type: ignore[arg-type]
        message=message,
        title=found.get("code", ""),
        file=found.get("file", "").strip(),
        line=_number(found.get("line", "")),
        column=_number(found.get("column", "")),
    )


def _number(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
