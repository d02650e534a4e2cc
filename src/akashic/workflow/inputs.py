"""The `inputs` of a manual run and of a called workflow: names matched, values typed, defaults filled in.

Source: GitHub's "Workflow syntax" (`on.workflow_dispatch.inputs`, `on.workflow_call.inputs`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from akashic.source.data import did_you_mean
from akashic.source.position import InvalidInput, Position, Problem
from akashic.workflow.expressions import Scope, interpolate
from akashic.workflow.expressions.coercion import parse_number, to_number, to_string
from akashic.workflow.model import Input, Trigger

_WITHOUT_A_VALUE: dict[str, Any] = {"boolean": False, "number": 0}


def dispatch_inputs(
    trigger: Trigger, given: Mapping[str, Any], *, environments: Sequence[str] | None = None
) -> dict[str, Any]:
    """The `inputs` context of a manual run: booleans and numbers typed, choices checked, defaults filled in.

    `environments` are the known ones, None when they are not known. Raises InvalidInput with all problems.
    """
    values, unknown = _by_declaration(trigger.inputs, given)
    problems = [
        _problem(
            trigger.position,
            f"there is no input `{name}`",
            did_you_mean(name, [declared.name for declared in trigger.inputs]),
        )
        for name in unknown
    ]
    result: dict[str, Any] = {}
    for declared in trigger.inputs:
        value, found = values.get(declared.name), declared.name in values
        if not found and declared.default is not None:
            value, found = declared.default.value, True
        if not found and declared.required:
            problems.append(_problem(declared.position, f"the input `{declared.name}` is required"))
        typed, wrong, hint = _dispatched(declared, value, found, environments)
        if wrong:
            problems.append(_problem(declared.position, wrong, hint))
        result[declared.name] = typed
    if problems:
        raise InvalidInput(problems)
    return result


def call_inputs(
    trigger: Trigger, given: Mapping[str, Any], scope: Scope, *, uses: str, position: Position
) -> dict[str, Any]:
    """The `inputs` context of a reusable workflow. `given` is the evaluated `with` of the job at `position`
    that calls it as `uses`; `scope` is for defaults that hold expressions.

    Raises InvalidInput with all problems, and ExpressionError for a default that cannot be evaluated.
    """
    values, unknown = _by_declaration(trigger.inputs, given)
    problems: list[Problem] = []
    result: dict[str, Any] = {}
    for declared in trigger.inputs:
        if declared.name in values:
            typed, wrong = _called(declared, values[declared.name])
            where = position
        elif declared.default is not None:
            typed, wrong = _called(declared, interpolate(declared.default.value, scope, declared.position))
            where = declared.position
        else:
            typed = _WITHOUT_A_VALUE.get(declared.type, "")
            wrong = f"the input `{declared.name}` of {uses} is required" if declared.required else ""
            where = position
        if wrong:
            problems.append(_problem(where, wrong))
        result[declared.name] = typed
    if unknown:
        names = ", ".join(f"`{declared.name}`" for declared in trigger.inputs) or "none"
        problems += [_problem(position, f"{uses} has no input `{name}`; it has {names}") for name in unknown]
    if problems:
        raise InvalidInput(problems)
    return result


def _problem(position: Position, message: str, hint: str = "") -> Problem:
    return Problem(position=position, message=message, hint=hint, rule="input")


def _by_declaration(inputs: Sequence[Input], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """What was given, by declared name (case does not matter), and the names that are not declared."""
    declared = {input_.name.lower(): input_.name for input_ in inputs}
    values: dict[str, Any] = {}
    unknown: list[str] = []
    for name, value in given.items():
        known = declared.get(str(name).lower())
        if known is None:
            unknown.append(str(name))
        else:
            values[known] = value
    return values, unknown


def _dispatched(
    declared: Input, value: Any, found: bool, environments: Sequence[str] | None
) -> tuple[Any, str, str]:
    """(the typed value, what is wrong with it, a hint). People type text, and an empty field is no value."""
    text = to_string(value)
    what = f"the input `{declared.name}`"
    if declared.type == "boolean":
        if not found or text == "":
            return False, "", ""
        if text.lower() in ("true", "false"):
            return text.lower() == "true", "", ""
        return False, f"{what} must be true or false, not `{text}`", ""
    if declared.type == "number":
        if not found or text == "":
            return 0, "", ""
        number = parse_number(text)
        return (0, f"{what} must be a number, not `{text}`", "") if math.isnan(number) else (number, "", "")
    if declared.type == "choice":
        if not found:
            return (declared.options[0] if declared.options else ""), "", ""
        wrong = "" if text in declared.options else f"{what} must be one of its options, not `{text}`"
        return text, wrong, "options: " + ", ".join(declared.options)
    if declared.type == "environment" and text and environments is not None and text not in environments:
        return text, f"{what} names the unknown environment `{text}`", did_you_mean(text, environments)
    return text, "", ""


def _called(declared: Input, value: Any) -> tuple[Any, str]:
    """(the typed value, what is wrong with it). A caller passes values, which must be of the type."""
    what = f"the input `{declared.name}`"
    if declared.type == "boolean":
        if isinstance(value, bool):
            return value, ""
        if isinstance(value, str) and value.lower() in ("true", "false"):
            return value.lower() == "true", ""
        return False, f"{what} must be a boolean, got {to_string(value)!r}"
    if declared.type == "number":
        number = to_number(value) if not isinstance(value, bool) else math.nan
        if math.isnan(number):
            return 0, f"{what} must be a number, got {to_string(value)!r}"
        return (int(number) if abs(number) < 2**53 and number == int(number) else number), ""
    if isinstance(value, (list, dict)):
        return "", f"{what} must be a string"
    return to_string(value), ""
