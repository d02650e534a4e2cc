"""Job-level values: a template to a typed value, or a sentence that says why not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from akashic.source.position import Position
from akashic.workflow.expressions import ExpressionError, Scope, interpolate
from akashic.workflow.expressions.coercion import to_number, to_string
from akashic.workflow.model import Template


class Refusal(Exception):
    """A job cannot run as it is written; the text is for the user. Never leaves the engine."""


def value_of(template: Template, contexts: Mapping[str, Any]) -> Any:
    """The evaluated value. Raises Refusal."""
    try:
        return interpolate(template.value, Scope(contexts=contexts), template.position)
    except ExpressionError as error:
        raise Refusal(error.message) from error


def text_of(template: Template, contexts: Mapping[str, Any], *, what: str) -> str:
    """The value as a string. Raises Refusal for a list or mapping."""
    value = value_of(template, contexts)
    if isinstance(value, (list, dict)):
        raise Refusal(f"{template.position}: {what} must be a string, got {_kind(value)}")
    return to_string(value)


def flag_of(template: Template | None, contexts: Mapping[str, Any], *, what: str, default: bool) -> bool:
    """The value as true or false. Raises Refusal for anything else."""
    if template is None:
        return default
    return as_flag(value_of(template, contexts), template.position, what=what)


def as_flag(value: Any, position: Position, *, what: str) -> bool:
    """An evaluated value as true or false. Raises Refusal for anything else, as GitHub does ("Unexpected
    value ''"): the text of an output is no Boolean, nor is a key that a matrix job lacks."""
    if isinstance(value, bool):
        return value
    raise Refusal(f"{position}: {not_a_flag(what, value)}")


def not_a_flag(what: str, value: Any) -> str:
    """What is wrong with a value that should be true or false, and what to write instead."""
    cure = "where it may be missing, write `${{ … || false }}`" if value in (None, "") else ""
    if isinstance(value, str) and value:
        cure = "text is compared: `${{ … == 'true' }}`"
    return f"{what} must be true or false, got {to_string(value)!r}" + (f" ({cure})" if cure else "")


def number_of(template: Template, contexts: Mapping[str, Any], *, what: str) -> float:
    """The value as a number above 0. Raises Refusal."""
    value = value_of(template, contexts)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < float("inf"):
        raise Refusal(f"{template.position}: {not_a_number(what, value)}")
    return float(value)


def not_a_number(what: str, value: Any) -> str:
    """What is wrong with a value that should be a number above 0, and what to write instead: text is none
    (GitHub's "Evaluate expressions", `fromJSON`)."""
    text = isinstance(value, str) and value and 0 < to_number(value) < float("inf")
    cure = " (text becomes a number with `${{ fromJSON(…) }}`)" if text else ""
    return f"{what} must be a number above 0, got {to_string(value)!r}{cure}"


def _kind(value: object) -> str:
    return "a list" if isinstance(value, list) else "a mapping"
