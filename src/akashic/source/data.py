"""Reading nodes into values: problems are collected, so that a user sees all of them at once."""

from __future__ import annotations

from collections.abc import Iterable

from akashic.source.position import InvalidInput, Position, Problem, Severity
from akashic.source.yaml import Mapping, Node, Scalar, Sequence

PROBLEMS_MAX = 200
"""So many problems of one file are kept; nobody reads more, and a hostile file must not make millions."""

WORDS_MAX = 500
"""So many known words are compared with a wrong one."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint that names the nearest known word, or all of them when there are few; else empty."""
    from difflib import get_close_matches  # for a mistake only

    words = sorted(set(known))[:WORDS_MAX]
    lower = {name.lower(): name for name in words}
    near = get_close_matches(word.lower()[:100], lower, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{lower[near[0]]}`?"
    if words and len(words) <= 12:
        return "known here: " + ", ".join(f"`{name}`" for name in words)
    return ""


def kind_name(node: Node) -> str:
    """What a node is, for a message: a list, a mapping, a string, …"""
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping"
    if node.value is None:
        return "nothing"
    if isinstance(node.value, bool):
        return "a boolean"
    return "a string" if isinstance(node.value, str) else "a number"


class Problems:
    """Collects what is wrong with one file."""

    def __init__(self) -> None:
        self.found: list[Problem] = []

    def add(
        self,
        position: Position,
        message: str,
        *,
        hint: str = "",
        rule: str = "syntax",
        severity: Severity = "error",
    ) -> None:
        if len(self.found) < PROBLEMS_MAX:
            problem = Problem(position=position, message=message, hint=hint, rule=rule, severity=severity)
            self.found.append(problem)

    def hint(self, word: str, known: Iterable[str]) -> str:
        """As `did_you_mean`; empty when no more problems are kept, because looking takes time."""
        return did_you_mean(word, known) if len(self.found) < PROBLEMS_MAX else ""

    def raise_if_any(self) -> None:
        """Raise InvalidInput with the problems in file order when there is an error among them."""
        if any(problem.severity == "error" for problem in self.found):
            raise InvalidInput(sorted(self.found, key=lambda problem: problem.position))

    def mapping(self, node: Node | None, what: str) -> Mapping | None:
        """The node as a mapping; None, with a problem, when it is something else."""
        if isinstance(node, Mapping):
            return node
        if node is not None:
            self.add(node.position, f"{what} must be a mapping, not {kind_name(node)}")
        return None

    def text(self, node: Node, what: str, *, empty: bool = False) -> str | None:
        """The node as a string (numbers and booleans as written); None, with a problem, otherwise."""
        if isinstance(node, Scalar) and (node.value is not None or empty):
            if not empty and not node.text.strip():
                self.add(node.position, f"{what} must not be empty")
                return None
            return node.text
        self.add(node.position, f"{what} must be a string, not {kind_name(node)}")
        return None

    def texts(self, node: Node, what: str) -> tuple[str, ...]:
        """The node as a list of strings; a single string is a list of one."""
        if isinstance(node, Sequence):
            found = (self.text(item, f"each entry of {what}") for item in node.items)
            return tuple(text for text in found if text is not None)
        text = self.text(node, what)
        return () if text is None else (text,)

    def boolean(self, node: Node, what: str) -> bool | None:
        """The node as true or false; None, with a problem, otherwise."""
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        self.add(node.position, f"{what} must be true or false, not {kind_name(node)}")
        return None

    def keys(
        self, node: Mapping, known: Iterable[str], what: str, *, severity: Severity = "error"
    ) -> dict[str, Node]:
        """The mapping's pairs by key; each key that is not known is a problem with the nearest known one."""
        allowed = frozenset(known)
        found: dict[str, Node] = {}
        for key, value in node.entries:
            if key.text in allowed:
                found[key.text] = value
            else:
                self.add(
                    key.position,
                    f"unknown key `{key.text}` in {what}",
                    hint=self.hint(key.text, allowed),
                    rule="unknown-key",
                    severity=severity,
                )
        return found

    def distinct(self, node: Mapping, what: str) -> None:
        """A problem for each key that differs from an earlier one only in case, as GitHub counts keys."""
        seen: dict[str, Scalar] = {}
        for key, _ in node.entries:
            first = seen.setdefault(key.text.lower(), key)
            if first is not key:
                self.add(
                    key.position,
                    f"`{key.text}` is defined twice in {what} (first at line {first.position.line}, "
                    f"column {first.position.column}, as `{first.text}`); case does not distinguish keys",
                    rule="duplicate-key",
                )
