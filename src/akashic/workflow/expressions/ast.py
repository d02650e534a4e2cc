"""The parsed form of an expression. `offset` is where the node starts in the expression's text."""

from __future__ import annotations

from typing import Any

import msgspec


class Literal(msgspec.Struct, frozen=True):
    value: Any
    offset: int


class Context(msgspec.Struct, frozen=True):
    """A named value: `github`, `env`, … `name` is as written."""

    name: str
    offset: int


class Index(msgspec.Struct, frozen=True):
    """`target.name`, `target[index]`; `index` is None for the object filter `*`."""

    target: Node
    index: Node | None
    offset: int


class Not(msgspec.Struct, frozen=True):
    operand: Node
    offset: int


class Compare(msgspec.Struct, frozen=True):
    operator: str
    left: Node
    right: Node
    offset: int


class Logical(msgspec.Struct, frozen=True):
    """`a && b && c` or `a || b || c`."""

    operator: str
    operands: tuple[Node, ...]
    offset: int


class Call(msgspec.Struct, frozen=True):
    """`name` is in lower case; `written` as in the text."""

    name: str
    written: str
    arguments: tuple[Node, ...]
    offset: int


Node = Literal | Context | Index | Not | Compare | Logical | Call
