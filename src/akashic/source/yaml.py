"""YAML as GitHub reads it: YAML 1.2 core scalars, anchors, no merge keys, no duplicate keys; every node with
its place.

Source: the YAML 1.2 core schema, and GitHub's "Workflow syntax" (anchors). The text is hostile: its bytes,
its depth, its nodes and what its aliases expand to are limited.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache
from typing import Any, NoReturn

import msgspec
import yaml

from akashic.source.places import Lines, Places
from akashic.source.position import InvalidInput, Position, Problem

try:
    from yaml.cyaml import CParser as _Parser  # type: ignore[attr-defined]
except ImportError:  # PyYAML without libyaml: the same events, slower.
    from yaml import BaseLoader as _Parser  # type: ignore[assignment]

YAML_BYTES_MAX = 2 * 1024 * 1024
YAML_DEPTH_MAX = 100
YAML_NODES_MAX = 200_000
"""Nodes after every alias is replaced by what it stands for."""


class Scalar(msgspec.Struct, frozen=True):
    """A single value. `text` is what stands in the file (without quotes), `value` what it means; `style` is
    "" (plain), a quote, or `|` or `>` for a block; `lines` are the lines of its file, when known."""

    value: bool | int | float | str | None
    text: str
    position: Position
    style: str = ""
    lines: Lines | None = None

    def place(self, offset: int) -> Position:
        """The place in the file of a character of `text`."""
        found = _places(self).find(offset) if self.lines is not None else None
        return self.position if found is None else Position(self.position.file, *found)


class Sequence(msgspec.Struct, frozen=True):
    """A list of nodes."""

    items: tuple[Node, ...]
    position: Position


class Mapping(msgspec.Struct, frozen=True):
    """Pairs in file order; keys are scalars and differ in their texts."""

    entries: tuple[tuple[Scalar, Node], ...]
    position: Position

    def get(self, key: str) -> Node | None:
        """The value of a key, None when it is not there."""
        for name, node in self.entries:
            if name.text == key:
                return node
        return None


Node = Scalar | Sequence | Mapping


@lru_cache(maxsize=64)
def _places(scalar: Scalar) -> Places:
    assert scalar.lines is not None
    position = scalar.position
    return Places(scalar.text, scalar.style, scalar.lines, position.line, position.column)


def to_data(node: Node) -> Any:
    """A node as plain data; keys become strings."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [to_data(item) for item in node.items]
    return {key.text: to_data(item) for key, item in node.entries}


def load(text: str | bytes, file: str) -> Node:
    """The one document in a text. An empty text is a null scalar.

    Raises InvalidInput: not YAML, not UTF-8, a duplicate key (with both places), more than one document, or
    over a limit.
    """
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > YAML_BYTES_MAX:
        _fail(Position(file), f"the file has {size:,} bytes; the limit is {YAML_BYTES_MAX:,}", "limit")
    decoded = _decoded(text, file) if isinstance(text, bytes) else text
    try:
        return _Composer(decoded, file).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        position = Position(file, mark.line + 1, mark.column + 1) if mark else Position(file)
        detail = ", ".join(part for part in (error.context, error.problem) if part)
        _fail(position, f"this is not valid YAML: {detail}", "yaml", _syntax_hint(error, decoded))
    except yaml.reader.ReaderError as error:
        position = _place(decoded, file, int(error.position))
        _fail(position, f"this is not valid YAML: {error.reason}", "yaml")
    except (UnicodeEncodeError, ValueError) as error:
        _fail(Position(file), f"this is not valid YAML: {error}", "yaml")


def _fail(position: Position, message: str, rule: str, hint: str = "") -> NoReturn:
    raise InvalidInput([Problem(position=position, message=message, rule=rule, hint=hint)])


def _decoded(text: bytes, file: str) -> str:
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = text[: error.start]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        _fail(
            Position(file, line, column),
            f"the file is not UTF-8: byte 0x{text[error.start]:02x} is not text",
            "encoding",
            "save the file as UTF-8",
        )


def _place(text: str, file: str, index: int) -> Position:
    before = text[:index]
    return Position(file, before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1)


def _syntax_hint(error: yaml.MarkedYAMLError, text: str) -> str:
    mark = error.problem_mark
    if mark is None:
        return ""
    lines = text.split("\n")
    line = lines[mark.line] if mark.line < len(lines) else ""
    indentation = line[: len(line) - len(line.lstrip())]
    if "\t" in indentation or line[mark.column : mark.column + 1] == "\t":
        return "indent with spaces; YAML does not allow tabs"
    problem = str(error.problem)
    if "mapping values are not allowed" in problem:
        return "a value that holds `: ` must stand in quotes"
    if "could not find expected ':'" in problem:
        return "check the indentation, and that each key is followed by `: `"
    if "cannot start any token" in problem:
        return "a value that starts with @, ` or % must stand in quotes"
    return ""


_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+\Z")
_RADIX = re.compile(r"0(?:x[0-9a-fA-F]+|o[0-7]+)\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_SPECIAL = re.compile(r"([-+]?)\.(?:inf|Inf|INF)\Z")
_EXACT_DIGITS_MAX = 15
"""GitHub's numbers are doubles: up to so many digits an integer is exact."""
_TAG = "tag:yaml.org,2002:"


def resolve_scalar(text: str) -> bool | int | float | str | None:
    """What an unquoted scalar means in YAML 1.2's core schema."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    first = text[0]
    if not (first.isascii() and (first.isdigit() or first in "-+.")):
        return text
    if _INTEGER.match(text):
        return int(text) if len(text) <= _EXACT_DIGITS_MAX else _double(float(text))
    if _RADIX.match(text):
        value = int(text[2:], 16 if text[1] == "x" else 8)
        return value if value < 2**53 else _double(_large_float(value))
    if _FLOAT.match(text):
        return _double(float(text))
    special = _SPECIAL.match(text)
    if special:
        return -math.inf if special.group(1) == "-" else math.inf
    return math.nan if text in (".nan", ".NaN", ".NAN") else text


def _large_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _double(value: float) -> int | float:
    return int(value) if math.isfinite(value) and value == int(value) and abs(value) < 2**53 else value


class _Composer:
    """Builds nodes from the parser's events, iteratively in the file's size and bounded in depth."""

    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.parser = _Parser(text)
        self.lines = Lines(text)
        self.anchors: dict[str, tuple[Node, int] | None] = {}
        self.nodes = 0

    def document(self) -> Node:
        assert isinstance(self.parser.get_event(), yaml.StreamStartEvent)
        event = self.parser.get_event()
        if isinstance(event, yaml.StreamEndEvent):
            return Scalar(None, "", Position(self.file, 1, 1))
        node, _ = self.node(self.parser.get_event(), 1)
        self.parser.get_event()
        after = self.parser.get_event()
        if not isinstance(after, yaml.StreamEndEvent):
            _fail(
                self.position(after),
                "only one YAML document is allowed in a file",
                "yaml",
                "remove the `---`",
            )
        return node

    def position(self, event: Any) -> Position:
        mark = event.start_mark
        return Position(self.file, mark.line + 1, mark.column + 1)

    def node(self, event: Any, depth: int) -> tuple[Node, int]:
        """The node that starts with `event`, and how many nodes it expands to."""
        kind = type(event)
        if kind is yaml.AliasEvent:
            return self.alias(event)
        self.count(1, event)
        if depth > YAML_DEPTH_MAX:
            _fail(self.position(event), f"nested more than {YAML_DEPTH_MAX} levels deep", "limit")
        anchor = event.anchor
        if anchor is not None:
            self.anchors[anchor] = None
        node: Node
        if kind is yaml.ScalarEvent:
            node, size = self.scalar(event), 1
        elif kind is yaml.SequenceStartEvent:
            node, size = self.sequence(event, depth)
        else:
            node, size = self.mapping(event, depth)
        if anchor is not None:
            self.anchors[anchor] = (node, size)
        return node, size

    def count(self, nodes: int, event: Any) -> None:
        self.nodes += nodes
        if self.nodes > YAML_NODES_MAX:
            _fail(
                self.position(event),
                f"the file has more than {YAML_NODES_MAX:,} values when its aliases are expanded",
                "limit",
            )

    def alias(self, event: Any) -> tuple[Node, int]:
        name = event.anchor
        if name not in self.anchors:
            _fail(self.position(event), f"the alias `*{name}` has no anchor `&{name}` before it", "yaml")
        target = self.anchors[name]
        if target is None:
            _fail(self.position(event), f"the alias `*{name}` stands inside what it refers to", "yaml")
        self.count(target[1], event)
        return target

    def scalar(self, event: Any) -> Scalar:
        text, tag = event.value, event.tag
        plain = event.style in (None, "")
        value: Any = text
        if tag in (None, "!") or not tag.startswith(_TAG):
            value = resolve_scalar(text) if plain and tag != "!" else text
        elif tag != _TAG + "str":
            value = resolve_scalar(text)
        return Scalar(value, text, self.position(event), "" if plain else event.style, self.lines)

    def sequence(self, start: Any, depth: int) -> tuple[Sequence, int]:
        items: list[Node] = []
        size = 1
        while True:
            event = self.parser.get_event()
            if type(event) is yaml.SequenceEndEvent:
                return Sequence(tuple(items), self.position(start)), size
            node, inner = self.node(event, depth + 1)
            items.append(node)
            size += inner

    def mapping(self, start: Any, depth: int) -> tuple[Mapping, int]:
        entries: list[tuple[Scalar, Node]] = []
        seen: dict[str, Position] = {}
        size = 1
        while True:
            event = self.parser.get_event()
            if type(event) is yaml.MappingEndEvent:
                return Mapping(tuple(entries), self.position(start)), size
            key, key_size = self.node(event, depth + 1)
            if not isinstance(key, Scalar):
                _fail(self.position(event), "a key must be a single value, not a list or a mapping", "yaml")
            place = self.position(event)
            if key.text in seen:
                first = seen[key.text]
                _fail(
                    place,
                    f"the key `{key.text}` is written twice "
                    f"(first at line {first.line}, column {first.column})",
                    "duplicate-key",
                    "remove one of them; YAML's merge of mappings is not supported"
                    if key.text == "<<"
                    else "remove one of them, or merge their values",
                )
            seen[key.text] = place
            value, value_size = self.node(self.parser.get_event(), depth + 1)
            entries.append((msgspec.structs.replace(key, position=place), value))
            size += key_size + value_size
