"""Version ranges as npm reads them: `3.11`, `3.x`, `>=3.9 <3.12`, `^20`, `~1.2`, `1 || 2`, `1 - 2`."""

from __future__ import annotations

import re

Version = tuple[int, int, int]
_PARTIAL = r"v?=?\s*(\d+|[xX*])?(?:\.(\d+|[xX*]))?(?:\.(\d+|[xX*]))?(?:[-+][0-9A-Za-z.+-]+)?"
_COMPARATOR = re.compile(rf"(>=|<=|>|<|\^|~>?|=)?\s*{_PARTIAL}")
_HYPHEN = re.compile(rf"({_PARTIAL})\s+-\s+({_PARTIAL})")
_HIGH = 1 << 30


def parse_version(text: str) -> Version | None:
    """The numbers of `v3.11.4`, `3.13.0rc1` and the like; None for what is no version."""
    match = re.match(r"v?(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?", text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def is_range(text: str) -> bool:
    """Whether `matches` understands it."""
    return all(_intervals(part) is not None for part in text.split("||"))


def matches(version: Version, text: str) -> bool:
    """Whether a version lies in a range."""
    for part in text.split("||"):
        intervals = _intervals(part)
        if intervals is not None and all(low <= version < high for low, high in intervals):
            return True
    return False


def _intervals(text: str) -> list[tuple[Version, Version]] | None:
    """A range without `||` as half-open intervals that must all hold; None for what is no range."""
    text = text.strip()
    hyphen = _HYPHEN.fullmatch(text)
    if hyphen:
        first, last = _bounds(hyphen.groups()[1:4]), _bounds(hyphen.groups()[5:8])
        return [(first[0], last[1])]
    found = []
    at = 0
    for match in _COMPARATOR.finditer(text):
        if match.start() != at and text[at : match.start()].strip(" ,"):
            return None
        if match.end() == match.start():
            continue
        found.append(_interval(match.group(1) or "", match.groups()[1:4]))
        at = match.end()
    return None if text[at:].strip() else found


def _interval(operator: str, parts: tuple[str | None, ...]) -> tuple[Version, Version]:
    low, high = _bounds(parts)
    end = (_HIGH, 0, 0)
    if operator == ">=":
        return low, end
    if operator == ">":
        return high, end
    if operator == "<":
        return (0, 0, 0), low
    if operator == "<=":
        return (0, 0, 0), high
    if operator.startswith("~") and parts[1] and parts[1].isdigit():
        return low, (low[0], low[1] + 1, 0)
    if operator == "^":
        major, minor, patch = low
        given = sum(1 for part in parts if part and part.isdigit())
        if major or given < 2:
            return low, (major + 1, 0, 0)
        return low, ((0, minor + 1, 0) if minor or given < 3 else (0, 0, patch + 1))
    return low, high


def _bounds(parts: tuple[str | None, ...]) -> tuple[Version, Version]:
    numbers = []
    for part in parts:
        if part is None or not part.isdigit():
            break
        numbers.append(min(int(part), _HIGH))
    low = tuple([*numbers, 0, 0, 0][:3])
    if not numbers:
        return (0, 0, 0), (_HIGH, 0, 0)
    raised = [*numbers[:-1], numbers[-1] + 1]
    high = tuple([*raised, 0, 0, 0][:3])
    return (low[0], low[1], low[2]), (high[0], high[1], high[2])
