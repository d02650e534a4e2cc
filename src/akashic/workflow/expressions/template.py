"""`${{ }}` inside YAML values, and `if:` conditions.

Source: GitHub's "Evaluate expressions" and the behaviour of its template reader: a value that is exactly one
expression keeps the expression's type; otherwise each expression becomes a string in place.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from akashic.source.position import Position
from akashic.workflow.expressions.coercion import to_string, truthy
from akashic.workflow.expressions.errors import ExpressionError
from akashic.workflow.expressions.evaluate import Scope, evaluate
from akashic.workflow.expressions.functions import RESULT_CHARACTERS_MAX
from akashic.workflow.expressions.parser import parse_expression

_OPEN, _CLOSE = "${{", "}}"
_CACHED_TEMPLATES_MAX = 8192

Segments = tuple[tuple[str, bool, int], ...]
"""(text, whether it is an expression, offset of the text in the whole string) in order."""


@lru_cache(maxsize=_CACHED_TEMPLATES_MAX)
def split_template(text: str) -> Segments:
    """A string cut into literal parts and the texts of its expressions. Raises ExpressionError when a `${{`
    is not closed; a `}}` inside a quoted string does not close."""
    segments: list[tuple[str, bool, int]] = []
    at = 0
    while True:
        start = text.find(_OPEN, at)
        if start < 0:
            break
        if start > at:
            segments.append((text[at:start], False, at))
        inner = start + len(_OPEN)
        end = _closing(text, inner)
        segments.append((text[inner:end], True, inner))
        at = end + len(_CLOSE)
    if at < len(text) or not segments:
        segments.append((text[at:], False, at))
    return tuple(segments)


def _closing(text: str, start: int) -> int:
    at, close = start, text.find(_CLOSE, start)
    while close >= 0:
        quote = text.find("'", at, close)
        if quote < 0:
            return close
        at = text.find("'", quote + 1) + 1
        if at == 0:
            break
        if close < at:
            close = text.find(_CLOSE, at)
    raise ExpressionError(
        "the expression is not closed: `${{` was found, but not the closing `}}`",
        expression=text,
        offset=start - len(_OPEN),
        hint="check the quotes: strings stand in single quotes, and one inside is written twice",
    )


def expressions_in(value: Any) -> Iterator[str]:
    """The texts of all expressions anywhere in a value, keys included. Raises ExpressionError for an open
    one."""
    if isinstance(value, str):
        if _OPEN in value:
            for text, is_expression, _ in split_template(value):
                if is_expression:
                    yield text
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from expressions_in(key)
            yield from expressions_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from expressions_in(item)


def interpolate(value: Any, scope: Scope, position: Position) -> Any:
    """A value with all its expressions evaluated. `position` is where the value stands, for errors.

    A mapping's key `${{ insert }}` puts the pairs of its value, a mapping, in its place. Raises
    ExpressionError.
    """
    try:
        return _interpolated(value, scope)
    except ExpressionError as error:
        raise error.at(position) from None


def _interpolated(value: Any, scope: Scope) -> Any:
    if isinstance(value, str):
        return _interpolated_text(value, scope) if _OPEN in value else value
    if isinstance(value, list):
        return [_interpolated(item, scope) for item in value]
    if isinstance(value, dict):
        return _interpolated_mapping(value, scope)
    return value


def _interpolated_text(text: str, scope: Scope) -> Any:
    segments = split_template(text)
    if len(segments) == 1:
        return evaluate(segments[0][0], scope)
    parts: list[str] = []
    size = 0
    for part, is_expression, _ in segments:
        shown = to_string(evaluate(part, scope)) if is_expression else part
        size += len(shown)
        if size > RESULT_CHARACTERS_MAX:
            raise ExpressionError(f"the result is larger than {RESULT_CHARACTERS_MAX:,} characters")
        parts.append(shown)
    return "".join(parts)


def _interpolated_mapping(value: dict[Any, Any], scope: Scope) -> dict[Any, Any]:
    result: dict[Any, Any] = {}
    for key, item in value.items():
        if isinstance(key, str) and _OPEN in key:
            if is_insert(key):
                inserted = _interpolated(item, scope)
                if not isinstance(inserted, dict):
                    raise ExpressionError("the value of `${{ insert }}` must be a mapping")
                for name, inner in inserted.items():
                    _put(result, name, inner)
                continue
            _put(result, to_string(_interpolated_text(key, scope)), _interpolated(item, scope))
        else:
            _put(result, key, _interpolated(item, scope))
    return result


def is_insert(key: str) -> bool:
    """Whether a mapping's key is `${{ insert }}`."""
    return key.startswith(_OPEN) and key.endswith(_CLOSE) and key[3:-2].strip() == "insert"


def _put(result: dict[Any, Any], key: Any, value: Any) -> None:
    if key in result:
        raise ExpressionError(f"the key `{key}` is defined twice")
    result[key] = value


def _condition_texts(text: Any) -> tuple[str, Segments | None]:
    """The text of a condition, and its segments when it holds `${{ }}`."""
    shown = to_string(text)
    return (shown, split_template(shown)) if _OPEN in shown else (shown, None)


def uses_status_function(text: Any) -> bool:
    """Whether a condition calls `success()`, `failure()`, `always()` or `cancelled()` anywhere, so that
    GitHub does not add `success() &&`. Raises ExpressionError."""
    shown, segments = _condition_texts(text)
    if segments is None:
        return bool(shown.strip()) and parse_expression(shown).uses_status
    return any(parse_expression(part).uses_status for part, is_expression, _ in segments if is_expression)


def condition(text: Any, scope: Scope) -> bool:
    """Whether an `if:` holds; the scope must have a status. None or blank means `success()`.

    `text` is the condition as written, with or without `${{ }}` (YAML's `true` and `false` too). Text around
    `${{ }}` makes it a string that is not empty, which is true: GitHub's behaviour. Raises ExpressionError.
    """
    if scope.status is None:
        raise AssertionError("a condition needs a scope with a status")
    shown, segments = _condition_texts(text)
    if not shown.strip():
        return scope.status.success
    if not uses_status_function(text) and not scope.status.success:
        return False
    value = evaluate(shown, scope) if segments is None else _interpolated_text(shown, scope)
    return truthy(value)
