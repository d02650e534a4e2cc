"""The parsed form of an expression. `offset` is where the node starts in the expression's text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Literal:
    value: Any
    offset: int


@dataclass(frozen=True, slots=True)
class Context:
    """A named value: `github`, `env`, … `name` is as written."""

    name: str
    offset: int


@dataclass(frozen=True, slots=True)
class Index:
    """`target.name`, `target[index]`; `index` is None for the object filter `*`."""

    target: Node
    index: Node | None
    offset: int


@dataclass(frozen=True, slots=True)
class Not:
    operand: Node
    offset: int


@dataclass(frozen=True, slots=True)
class Compare:
    operator: str
    left: Node
    right: Node
    offset: int


@dataclass(frozen=True, slots=True)
class Logical:
    """`a && b && c` or `a || b || c`."""

    operator: str
    operands: tuple[Node, ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Call:
    """`name` is in lower case; `written` as in the text."""

    name: str
    written: str
    arguments: tuple[Node, ...]
    offset: int


Node = Literal | Context | Index | Not | Compare | Logical | Call
