"""GitHub's filter patterns for branches, tags and paths.

Source: GitHub's "Workflow syntax", "Filter pattern cheat sheet". `*` matches anything but `/`, `**` anything,
`?` zero or one of the character before it, `+` one or more of it, `[…]` one character of a set; `!` at the
start of a pattern takes back what earlier ones matched.

A pattern is a chain of states that are kept as the bits of a number, so that matching takes time linear in
the text, whatever the pattern: patterns and names come from strangers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from akashic.errors import UsageError

PATTERN_CHARACTERS_MAX = 1_000
CLASS_CHARACTERS_MAX = 1_000
"""So many characters may a `[…]` stand for."""


class GlobError(UsageError):
    """A filter pattern is not valid."""


class _State(msgspec.Struct):
    """One place in the chain: which characters lead to the next one, which stay, and whether it can be
    skipped (`skip`: to the next state; `jump`: past the next one)."""

    advance: frozenset[str] | None = frozenset()
    negated: bool = False
    stay: str = ""
    skip: bool = False
    jump: bool = False

    def advances(self, character: str) -> bool:
        return self.advance is not None and (character in self.advance) != self.negated

    def stays(self, character: str) -> bool:
        if self.stay == "same":
            return self.advances(character)
        return self.stay == "any" or (self.stay == "segment" and character != "/")


class Glob(msgspec.Struct):
    """A compiled pattern."""

    pattern: str
    states: list[_State]
    skips: int = 0
    jumps: int = 0
    moves: dict[str, tuple[int, int]] = msgspec.field(default_factory=dict)

    def matches(self, text: str) -> bool:
        """Whether the whole text matches."""
        current = self._closed(1)
        for character in text:
            advance, stay = self.moves.get(character) or self._moves(character)
            current = self._closed(((current & advance) << 1) | (current & stay))
            if not current:
                return False
        return bool(current >> len(self.states) & 1)

    def _closed(self, current: int) -> int:
        while True:
            wider = current | (current & self.skips) << 1 | (current & self.jumps) << 2
            if wider == current:
                return current
            current = wider

    def _moves(self, character: str) -> tuple[int, int]:
        advance = sum(1 << index for index, state in enumerate(self.states) if state.advances(character))
        stay = sum(1 << index for index, state in enumerate(self.states) if state.stays(character))
        self.moves[character] = advance, stay
        return advance, stay


@lru_cache(maxsize=4096)
def compile_glob(pattern: str) -> Glob:
    """A pattern (without its leading `!`). Raises GlobError."""
    if not pattern:
        raise GlobError("a filter pattern must not be empty")
    if len(pattern) > PATTERN_CHARACTERS_MAX:
        raise GlobError(f"a filter pattern has more than {PATTERN_CHARACTERS_MAX} characters")
    states: list[_State] = []
    at = 0
    repeatable = False
    while at < len(pattern):
        character = pattern[at]
        if character == "*":
            at = _stars(pattern, at, states)
            repeatable = False
            continue
        if character in "?+":
            if not repeatable:
                raise GlobError(
                    f"in the pattern `{pattern}`, `{character}` has no character before it to repeat",
                    hint=f"write \\{character} for the character itself",
                )
            if character == "?":
                states[-1].skip = True
            else:
                states[-1].stay = "same"
            repeatable = False
        elif character == "[":
            at = _character_class(pattern, at, states)
            repeatable = True
        else:
            if character == "\\" and at + 1 < len(pattern):
                at += 1
            states.append(_State(advance=frozenset(pattern[at])))
            repeatable = True
        at += 1
    return Glob(
        pattern,
        states,
        skips=sum(1 << index for index, state in enumerate(states) if state.skip),
        jumps=sum(1 << index for index, state in enumerate(states) if state.jump),
    )


def _stars(pattern: str, start: int, states: list[_State]) -> int:
    end = start
    while end < len(pattern) and pattern[end] == "*":
        end += 1
    if end - start == 1:
        states.append(_State(stay="segment", skip=True))
        return end
    if (start == 0 or pattern[start - 1] == "/") and pattern.startswith("/", end):
        # `**/x` matches x at the root too, and `a/**/b` matches a/b: all of `**/` may be absent.
        states.append(_State(skip=True, jump=True))
        states.append(_State(advance=frozenset("/"), stay="any"))
        return end + 1
    states.append(_State(stay="any", skip=True))
    return end


def _character_class(pattern: str, start: int, states: list[_State]) -> int:
    end = pattern.find("]", start + 1)
    inside = pattern[start + 1 : end] if end >= 0 else ""
    if not inside:
        raise GlobError(
            f"in the pattern `{pattern}`, `[` is not closed or has nothing inside",
            hint="write \\[ for the character itself",
        )
    negated = inside[0] in "!^" and len(inside) > 1
    members = inside[1:] if negated else inside
    characters: set[str] = set()
    at = 0
    while at < len(members):
        if at + 2 < len(members) and members[at + 1] == "-":
            low, high = ord(members[at]), ord(members[at + 2])
            if low > high:
                message = f"in the pattern `{pattern}`, the range `{members[at : at + 3]}` is backwards"
                raise GlobError(message)
            if high - low >= CLASS_CHARACTERS_MAX:
                raise GlobError(f"in the pattern `{pattern}`, a range is too wide")
            characters.update(chr(code) for code in range(low, high + 1))
            at += 3
        else:
            characters.add(members[at])
            at += 1
    states.append(_State(advance=frozenset(characters), negated=negated))
    return end


def matches(patterns: Sequence[str], text: str) -> bool:
    """Whether a text is selected: the last pattern that matches decides, one with `!` against it."""
    selected = False
    for pattern in patterns:
        negative = pattern.startswith("!")
        if negative == selected and compile_glob(pattern[1:] if negative else pattern).matches(text):
            selected = not negative
    return selected


def any_match(patterns: Sequence[str], texts: Iterable[str]) -> bool:
    """Whether at least one of the texts is selected."""
    return any(matches(patterns, text) for text in texts)
