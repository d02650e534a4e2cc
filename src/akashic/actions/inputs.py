"""Reads inputs as the actions toolkit does: booleans, numbers, lists."""

from __future__ import annotations

import re

from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput

_TRUE = ("true", "True", "TRUE")
_FALSE = ("false", "False", "FALSE")


def declare(*names: str, **defaults: str) -> tuple[ActionInput, ...]:
    """Plain inputs: those without a default by name, then those with one (`_` stands for `-`)."""
    plain = [ActionInput(name=name) for name in names]
    with_default = [
        ActionInput(name=name.replace("_", "-"), default=value) for name, value in defaults.items()
    ]
    return (*plain, *with_default)


def text(ctx: ActionContext, name: str) -> str:
    """The input without blanks around it, "" when it is not given."""
    return ctx.inputs.get(name, "").strip()


def boolean(ctx: ActionContext, name: str, *, default: bool = False) -> bool:
    """A YAML 1.2 boolean. Raises ActionFailed for anything else."""
    value = text(ctx, name)
    if not value:
        return default
    if value in _TRUE:
        return True
    if value in _FALSE:
        return False
    raise ActionFailed(
        f'Input does not meet YAML 1.2 "Core Schema" specification: {name}\n'
        "Support boolean input list: `true | True | TRUE | false | False | FALSE`"
    )


def integer(ctx: ActionContext, name: str, *, default: int, low: int, high: int) -> int:
    """A whole number in a range. Raises ActionFailed."""
    value = text(ctx, name)
    if not value:
        return default
    if not re.fullmatch(r"[+-]?\d{1,18}", value) or not low <= int(value) <= high:
        raise ActionFailed(f"Input '{name}' must be a whole number from {low} to {high}, got {value!r}")
    return int(value)


def lines(ctx: ActionContext, name: str) -> list[str]:
    """One value a line; empty lines are left out."""
    return [line.strip() for line in ctx.inputs.get(name, "").split("\n") if line.strip()]


def items(ctx: ActionContext, name: str) -> list[str]:
    """Values separated by lines or commas; a value in double quotes keeps its commas."""
    found: list[str] = []
    for line in lines(ctx, name):
        for piece in re.findall(r'(?:"(?:[^"]|"")*"|[^,"])+', line):
            value = piece.strip()
            quoted = re.fullmatch(r'"((?:[^"]|"")*)"', value)
            value = quoted.group(1).replace('""', '"') if quoted else value
            if value:
                found.append(value)
    return found
