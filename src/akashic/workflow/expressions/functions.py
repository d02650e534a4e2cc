"""The built-in functions that need only their arguments.

Source: GitHub's "Evaluate expressions" (functions). Each gets evaluated arguments and a budget that counts
what it makes; a failure is a ValueError, to which the caller adds the place.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from akashic.workflow.expressions.coercion import (
    equals,
    fold_case,
    is_primitive,
    normal_number,
    number_text,
    parse_number,
    to_string,
)

RESULT_CHARACTERS_MAX = 10 * 1024 * 1024
"""What one expression may make in all, in characters: GitHub's memory limit of a template."""
DATA_DEPTH_MAX = 200
"""How deep data may be nested that passes through JSON."""


class Budget:
    """Counts what the evaluation of one expression makes."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = RESULT_CHARACTERS_MAX

    def spend(self, characters: int) -> None:
        self.left -= characters
        if self.left < 0:
            raise ValueError(f"the result is larger than {RESULT_CHARACTERS_MAX:,} characters")

    def text(self, text: str) -> str:
        self.spend(len(text))
        return text


Function = Callable[[Sequence[Any], Budget], Any]


def contains(arguments: Sequence[Any], budget: Budget) -> bool:
    search, item = arguments
    if isinstance(search, list):
        return any(equals(item, value) for value in search)
    if isinstance(search, dict) or not is_primitive(item):
        return False
    return to_string(item).lower() in to_string(search).lower()


def starts_with(arguments: Sequence[Any], budget: Budget) -> bool:
    text, start = arguments
    if not is_primitive(text) or not is_primitive(start):
        return False
    return fold_case(to_string(text)).startswith(fold_case(to_string(start)))


def ends_with(arguments: Sequence[Any], budget: Budget) -> bool:
    text, end = arguments
    if not is_primitive(text) or not is_primitive(end):
        return False
    return fold_case(to_string(text)).endswith(fold_case(to_string(end)))


def join(arguments: Sequence[Any], budget: Budget) -> str:
    values = arguments[0]
    if is_primitive(values):
        return to_string(values)
    if isinstance(values, dict):
        return ""
    separator = ","
    if len(arguments) > 1 and is_primitive(arguments[1]):
        separator = to_string(arguments[1])
    parts = []
    for value in values:
        part = to_string(value)
        budget.spend(len(part) + len(separator))
        parts.append(part)
    return separator.join(parts)


def format_(arguments: Sequence[Any], budget: Budget) -> str:
    pattern = to_string(arguments[0])
    values = arguments[1:]
    parts: list[str] = []
    at = 0
    while at < len(pattern):
        left, right = pattern.find("{", at), pattern.find("}", at)
        if left >= 0 and (right < 0 or right > left):
            parts.append(budget.text(pattern[at:left]))
            if pattern.startswith("{", left + 1):
                parts.append("{")
                at = left + 2
                continue
            parts.append(budget.text(to_string(_format_value(pattern, left + 1, right, values))))
            at = right + 1
        elif right >= 0:
            if not pattern.startswith("}", right + 1):
                raise ValueError(_bad_format(pattern))
            parts.append(budget.text(pattern[at : right + 1]))
            at = right + 2
        else:
            parts.append(budget.text(pattern[at:]))
            break
    return "".join(parts)


_FORMAT_INDEX_DIGITS_MAX = 6


def _format_value(pattern: str, start: int, end: int, values: Sequence[Any]) -> Any:
    inside = pattern[start:end] if end >= 0 else ""
    digits = inside[: len(inside) - len(inside.lstrip("0123456789"))]
    if not digits:
        raise ValueError(_bad_format(pattern))
    if len(digits) > _FORMAT_INDEX_DIGITS_MAX or int(digits) >= len(values):
        raise ValueError(
            f"the format string `{pattern}` names {{{digits}}}, but {len(values)} values are given"
        )
    return values[int(digits)]


def _bad_format(pattern: str) -> str:
    return f"the format string `{pattern}` is not valid (a brace that is meant as such is written twice)"


def to_json(arguments: Sequence[Any], budget: Budget) -> str:
    parts: list[str] = []
    _write_json(arguments[0], "\n", parts, budget, 0)
    return "".join(parts)


_encode_string = json.JSONEncoder(ensure_ascii=False).encode


def _write_json(value: Any, newline: str, parts: list[str], budget: Budget, depth: int) -> None:
    if depth > DATA_DEPTH_MAX:
        raise ValueError(f"the data is nested more than {DATA_DEPTH_MAX} levels deep")
    if isinstance(value, (list, dict)) and value:
        opening, closing = ("[", "]") if isinstance(value, list) else ("{", "}")
        inner = newline + "  "
        parts.append(opening)
        pairs = enumerate(value) if isinstance(value, list) else value.items()
        for number, (key, item) in enumerate(pairs):
            parts.append(inner if number == 0 else "," + inner)
            budget.spend(len(inner) + 2)
            if opening == "{":
                parts.append(budget.text(_encode_string(str(key))))
                parts.append(": ")
            _write_json(item, inner, parts, budget, depth + 1)
        parts.append(newline + closing)
        return
    parts.append(budget.text(_scalar_json(value)))


def _scalar_json(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        number = normal_number(value)
        return number_text(number) if math.isfinite(number) else "null"
    if isinstance(value, str):
        return _encode_string(value)
    return "[]" if isinstance(value, list) else "{}"


def from_json(arguments: Sequence[Any], budget: Budget) -> Any:
    text = to_string(arguments[0])
    if not text.strip():
        raise ValueError("`fromJSON` was given an empty string")
    budget.spend(len(text))
    try:
        value = json.loads(
            text,
            parse_constant=_no_constant,
            parse_int=parse_number,
            parse_float=parse_number,
            object_pairs_hook=_json_object,
        )
    except json.JSONDecodeError as error:
        raise ValueError(
            f"`fromJSON` was given what is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except RecursionError:
        raise ValueError("`fromJSON` was given JSON that is nested too deep") from None
    return _well_formed(value, 0)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"`fromJSON` was given what is not JSON: {name} is no JSON value")


def _json_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    # Objects are looked up without regard to case, so of keys that differ only in case the first one counts.
    if len({key.lower() for key in values}) == len(values):
        return values
    kept: dict[str, tuple[str, Any]] = {}
    for key, value in values.items():
        kept.setdefault(key.lower(), (key, value))
    return dict(kept.values())


def _well_formed(value: Any, depth: int) -> Any:
    """The value without halves of surrogate pairs, which no file or process can take."""
    if depth > DATA_DEPTH_MAX:
        raise ValueError(f"`fromJSON` was given JSON that is nested more than {DATA_DEPTH_MAX} levels deep")
    if isinstance(value, str):
        if value.isascii():
            return value
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_well_formed(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_well_formed(key, depth): _well_formed(item, depth + 1) for key, item in value.items()}
    return value


PLAIN_FUNCTIONS: dict[str, Function] = {
    "contains": contains,
    "startswith": starts_with,
    "endswith": ends_with,
    "format": format_,
    "join": join,
    "tojson": to_json,
    "fromjson": from_json,
}
