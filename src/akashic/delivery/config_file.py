"""Reads `akashic.yaml`: every mistake in one go, each with its place, what was expected, and the nearest
word.

The structures of `config` are the grammar; this module walks them beside the nodes of the file.
"""

from __future__ import annotations

import difflib
import re
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec import inspect as types

from akashic.delivery import CONFIG_NAME
from akashic.delivery.config import SLUG, Config
from akashic.source.position import InvalidInput, Position, Problem
from akashic.source.yaml import Mapping, Node, Scalar, Sequence, load, to_data

RULE = "config"
_DEFAULT_TAG = {"target": "local"}


def parse_config(text: str | bytes, file: str = CONFIG_NAME) -> Config:
    """The configuration in a text. Raises InvalidInput with every problem."""
    node = load(text, file)
    reader = _Reader()
    if isinstance(node, Scalar) and node.value is None:
        return Config()
    found = reader.read(node, types.type_info(Config), "")
    if not reader.problems:
        _check_names(found, node, reader)
    if reader.problems:
        raise InvalidInput(sorted(reader.problems, key=lambda problem: problem.position))
    return msgspec.convert(found, Config)


def schema() -> dict[str, Any]:
    """The JSON schema of `akashic.yaml`, for editors."""
    generated = msgspec.json.schema(Config)
    # A target without a type is a local one; msgspec would ask for the tag.
    generated["$defs"]["LocalTarget"]["required"] = []
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "akashic.schema.json",
        "title": CONFIG_NAME,
        **_tidied(generated),
    }


def _tidied(value: Any) -> Any:
    """Docstrings as one paragraph each."""
    if isinstance(value, dict):
        return {
            key: " ".join(item.split()) if key == "description" and isinstance(item, str) else _tidied(item)
            for key, item in value.items()
        }
    return [_tidied(item) for item in value] if isinstance(value, list | tuple) else value


class _Reader:
    """Collects problems instead of stopping at the first one."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def wrong(self, position: Position, path: str, message: str, hint: str = "") -> None:
        where = f"{path}: " if path else ""
        self.problems.append(Problem(position=position, message=where + message, rule=RULE, hint=hint))

    def read(self, node: Node, kind: Any, path: str) -> Any:
        """The node as plain data for `kind`; problems are noted."""
        if isinstance(kind, types.Metadata):
            kind = kind.type
        match kind:
            case types.StructType():
                return self.struct(node, kind, path)
            case types.UnionType():
                return self.union(node, kind, path)
            case types.DictType():
                return self.dictionary(node, kind, path)
            case types.ListType() | types.VarTupleType():
                return self.list(node, kind, path)
            case types.AnyType():
                return to_data(node)
            case _:
                return self.scalar(node, kind, path)

    def struct(self, node: Node, kind: Any, path: str) -> Any:
        if not isinstance(node, Mapping):
            self.wrong(
                node.position, path, f"expected keys and values, found {_found(node)}", _keys_hint(kind)
            )
            return None
        fields = {field.encode_name: field for field in kind.fields}
        found: dict[str, Any] = {}
        for key, value in node.entries:
            if kind.tag_field and key.text == kind.tag_field:
                found[key.text] = kind.tag
                continue
            field = fields.get(key.text)
            if field is None:
                near = difflib.get_close_matches(key.text, fields, 1, 0.5)
                hint = f"did you mean {near[0]!r}?" if near else _keys_hint(kind)
                self.wrong(key.position, path, f"unknown key {key.text!r}", hint)
                continue
            found[key.text] = self.read(value, field.type, _join(path, key.text))
        for name, field in fields.items():
            if field.required and node.get(name) is None:
                self.wrong(node.position, path, f"the key {name!r} is missing")
        return found

    def union(self, node: Node, kind: Any, path: str) -> Any:
        structs = [t for t in kind.types if isinstance(t, types.StructType)]
        if any(isinstance(t, types.NoneType) for t in kind.types) and _is_null(node):
            return None
        if len(structs) == 1:
            return self.read(node, structs[0], path)
        if not structs:
            return self.scalar(node, kind, path)
        if not isinstance(node, Mapping):
            self.wrong(node.position, path, f"expected keys and values, found {_found(node)}")
            return None
        tags = {str(struct.tag): struct for struct in structs}
        tag_node = node.get("type")
        name = (
            tag_node.text if isinstance(tag_node, Scalar) else _DEFAULT_TAG.get(path.rpartition("/")[2], "")
        )
        if name not in tags:
            position = tag_node.position if tag_node is not None else node.position
            near = difflib.get_close_matches(name, tags, 1, 0.5)
            expected = ", ".join(sorted(tags))
            hint = f"did you mean {near[0]!r}?" if near else ""
            self.wrong(position, _join(path, "type"), f"expected one of {expected}, found {name!r}", hint)
            return None
        found = self.struct(node, tags[name], path)
        return {**found, "type": name} if isinstance(found, dict) else found

    def dictionary(self, node: Node, kind: Any, path: str) -> Any:
        if _is_null(node):
            return {}
        if not isinstance(node, Mapping):
            self.wrong(node.position, path, f"expected keys and values, found {_found(node)}")
            return None
        key_kind = kind.key_type.type if isinstance(kind.key_type, types.Metadata) else kind.key_type
        pattern = getattr(key_kind, "pattern", None)
        found: dict[str, Any] = {}
        folded: dict[str, str] = {}
        for key, value in node.entries:
            if pattern and not re.search(pattern, key.text):
                self.wrong(
                    key.position,
                    path,
                    f"{key.text!r} is not a name",
                    "expected letters, digits, '.', '_' and '-'",
                )
                continue
            if pattern and key.text.casefold() in folded:
                self.wrong(
                    key.position, path, f"{key.text!r} and {folded[key.text.casefold()]!r} are the same name"
                )
            folded[key.text.casefold()] = key.text
            found[key.text] = self.read(value, kind.value_type, _join(path, key.text))
        return found

    def list(self, node: Node, kind: Any, path: str) -> Any:
        if _is_null(node):
            return []
        if not isinstance(node, Sequence):
            self.wrong(node.position, path, f"expected a list, found {_found(node)}", "write it as [a, b]")
            return None
        if kind.max_length is not None and len(node.items) > kind.max_length:
            self.wrong(node.position, path, f"has {len(node.items)} entries; the limit is {kind.max_length}")
        items = enumerate(node.items)
        return [self.read(item, kind.item_type, _join(path, str(number))) for number, item in items]

    def scalar(self, node: Node, kind: Any, path: str) -> Any:
        if not isinstance(node, Scalar):
            self.wrong(node.position, path, f"expected {_expected(kind)}, found {_found(node)}")
            return None
        value: Any = node.value
        if isinstance(kind, types.StrType) and not isinstance(value, str):
            # A number or a truth value where text is meant: the text as it stands in the file.
            value = node.text
            if node.value is None:
                self.wrong(node.position, path, f"expected {_expected(kind)}, found nothing")
                return None
        try:
            return msgspec.convert(value, _python_type(kind))
        except msgspec.ValidationError:
            shown = repr(node.text)
            choices = [str(choice) for choice in kind.values] if isinstance(kind, types.LiteralType) else []
            near = difflib.get_close_matches(node.text, choices, 1, 0.5)
            hint = f"did you mean {near[0]!r}?" if near else ""
            self.wrong(node.position, path, f"expected {_expected(kind)}, found {shown}", hint)
            return None


def _check_names(found: dict[str, Any], node: Node, reader: _Reader) -> None:
    """What one part of the file says about another."""
    environments = found.get("environments") or {}
    names = {name.casefold() for name in environments}
    receivers = {r.get("name", "") for r in (found.get("notifications") or {}).get("receivers", [])}
    for name, environment in environments.items():
        path = f"environments/{name}"
        place = _position(node, "environments", name)
        for other in environment.get("promote_from", ()):
            if other.casefold() not in names:
                reader.wrong(place, f"{path}/promote_from", f"there is no environment {other!r}")
        for receiver in environment.get("notifications", ()):
            if receiver not in receivers:
                reader.wrong(place, f"{path}/notifications", f"there is no receiver {receiver!r}")
        if environment.get("preview") is not None:
            host = urlsplit(environment.get("url", "")).netloc
            if SLUG not in host:
                expected = "http://${slug}.preview.localhost:4303"
                reader.wrong(place, f"{path}/url", f"a preview needs {SLUG} in its host name", expected)
        approvals = environment.get("approvals") or {}
        reviewers, count = approvals.get("reviewers", ()), approvals.get("count", 1)
        if reviewers and count > len(set(reviewers)):
            message = f"{count} approvals are needed and there are {len(set(reviewers))} reviewers"
            reader.wrong(place, f"{path}/approvals", message)
    ports: dict[int, str] = {}
    for name, environment in environments.items():
        port = (environment.get("target") or {}).get("port", 0)
        if port and port in ports:
            place = _position(node, "environments", name)
            reader.wrong(
                place, f"environments/{name}/target/port", f"{port} is the port of {ports[port]} too"
            )
        ports[port] = name


def _position(node: Node, *keys: str) -> Position:
    for key in keys:
        inner = node.get(key) if isinstance(node, Mapping) else None
        if inner is None:
            break
        node = inner
    return node.position


def _python_type(kind: Any) -> Any:
    """The type that `kind` describes, constraints included."""
    constraints = {
        name: getattr(kind, name)
        for name in ("gt", "ge", "lt", "le", "pattern", "min_length", "max_length")
        if getattr(kind, name, None) is not None
    }
    bases: dict[type, Any] = {
        types.StrType: str,
        types.IntType: int,
        types.FloatType: float,
        types.BoolType: bool,
    }
    base = bases.get(type(kind))
    if isinstance(kind, types.LiteralType):
        from typing import Literal

        return Literal[tuple(kind.values)]
    assert base is not None, kind
    from typing import Annotated

    return Annotated[base, msgspec.Meta(**constraints)] if constraints else base


def _expected(kind: Any) -> str:
    match kind:
        case types.LiteralType():
            return "one of " + ", ".join(str(value) for value in kind.values)
        case types.BoolType():
            return "true or false"
        case types.IntType() | types.FloatType():
            word = "a whole number" if isinstance(kind, types.IntType) else "a number"
            low = kind.ge if kind.ge is not None else kind.gt
            if low is not None and kind.le is not None:
                return f"{word} from {low:g} to {kind.le:g}"
            return f"{word}, at least {low:g}" if low is not None else word
        case types.StrType():
            if kind.pattern == "^/":
                return "a path that begins with /"
            return f"text that matches {kind.pattern}" if kind.pattern else "text"
    return "another kind of value"


def _found(node: Node) -> str:
    if isinstance(node, Mapping):
        return "keys and values"
    if isinstance(node, Sequence):
        return "a list"
    return "nothing" if node.value is None else repr(node.text)


def _keys_hint(kind: Any) -> str:
    return "known keys: " + ", ".join(field.encode_name for field in kind.fields)


def _join(path: str, key: str) -> str:
    return f"{path}/{key}" if path else key


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None
