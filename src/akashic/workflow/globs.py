"""GitHub's filter patterns for branches, tags and paths.

Source: GitHub's "Workflow syntax", "Filter pattern cheat sheet". `*` matches anything but `/`, `**` anything,
`?` zero or one of the character before it, `+` one or more of it, `[…]` one character of a set; `!` at the start
of a pattern takes back what earlier ones matched. Compiled to `re` patterns without nested repetition, so
matching cannot blow up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from akashic.errors import UsageError

PATTERN_CHARACTERS_MAX = 1_000
_STARS_MAX = 16
"""More wildcards in one pattern would let a hostile one take long to fail."""


class GlobError(UsageError):
    """A filter pattern is not valid."""


@lru_cache(maxsize=4096)
def compile_glob(pattern: str) -> re.Pattern[str]:
    """A pattern (without its leading `!`) as a regular expression for the whole text. Raises GlobError."""
    if not pattern:
        raise GlobError("a filter pattern must not be empty")
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise GlobError(f"a filter pattern has more than {PATTERN_CHARACTERS_MAX} characters")
    parts: list[str] = []
    at, repeats = 0, 0
    quantifiable = False
    while at < len(pattern):
        character = pattern[at]
        if character == "*":
            end = at
            while end < len(pattern) and pattern[end] == "*":
                end += 1
            part, at = _stars(pattern, at, end)
            parts.append(part)
            repeats += 1
            quantifiable = False
            continue
        if character in "?+":
            if not quantifiable:
                raise GlobError(
                    f"in the pattern `{pattern}`, `{character}` has no character before it to repeat",
                    hint=f"write \\{character} for the character itself",
                )
            parts.append(character)
            repeats += 1
            quantifiable = False
        elif character == "[":
            part, at = _character_class(pattern, at)
            parts.append(part)
            quantifiable = True
        else:
            if character == "\\" and at + 1 < len(pattern):
                at += 1
            parts.append(re.escape(pattern[at]))
            quantifiable = True
        at += 1
    if repeats > _STARS_MAX:
        raise GlobError(f"the pattern `{pattern}` has more than {_STARS_MAX} wildcards")
    return re.compile("".join(parts), re.DOTALL)


def _stars(pattern: str, start: int, end: int) -> tuple[str, int]:
    if end - start == 1:
        return "[^/]*", end
    whole_segment = (start == 0 or pattern[start - 1] == "/") and pattern.startswith("/", end)
    # `**/x` matches x at the root too, and `a/**/b` matches a/b.
    return ("(?:.*/)?", end + 1) if whole_segment else (".*", end)


def _character_class(pattern: str, start: int) -> tuple[str, int]:
    end = pattern.find("]", start + 1)
    inside = pattern[start + 1 : end] if end >= 0 else ""
    if not inside:
        raise GlobError(
            f"in the pattern `{pattern}`, `[` is not closed or has nothing inside",
            hint="write \\[ for the character",
        )
    negated = inside[0] in "!^" and len(inside) > 1
    members = inside[1:] if negated else inside
    for low, high in re.findall(r"(.)-(.)", members, re.DOTALL):
        if low > high:
            raise GlobError(f"in the pattern `{pattern}`, the range `{low}-{high}` is backwards")
    escaped = "".join(character if character == "-" else re.escape(character) for character in members)
    return f"[{'^' if negated else ''}{escaped}]", end


def matches(patterns: Sequence[str], text: str) -> bool:
    """Whether a text is selected: the last pattern that matches decides, one with `!` against it."""
    selected = False
    for pattern in patterns:
        negative = pattern.startswith("!")
        if negative == selected and compile_glob(pattern[1:] if negative else pattern).fullmatch(text):
            selected = not negative
    return selected


def any_match(patterns: Sequence[str], texts: Iterable[str]) -> bool:
    """Whether at least one of the texts is selected."""
    return any(matches(patterns, text) for text in texts)
