"""The value of an expression in a scope.

Source: GitHub's "Evaluate expressions" and "Contexts". Evaluation is linear in the size of the expression and
of what it makes, which is limited.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from akashic.workflow.expressions.ast import Call, Compare, Context, Index, Literal, Logical, Node, Not
from akashic.workflow.expressions.coercion import (
    equals,
    is_primitive,
    less_than,
    to_number,
    to_string,
    truthy,
)
from akashic.workflow.expressions.errors import ExpressionError
from akashic.workflow.expressions.functions import PLAIN_FUNCTIONS, Budget
from akashic.workflow.expressions.parser import STATUS_FUNCTIONS, Expression, parse_expression


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What `success()`, `failure()` and `cancelled()` answer.

    For a job: success = no need failed, was cancelled or skipped; failure = a job it depends on, directly or
    not, failed. `needs` maps names to results for the forms with arguments (`success('build')`).
    """

    success: bool = True
    failure: bool = False
    cancelled: bool = False
    needs: Mapping[str, str] = msgspec.field(default_factory=dict)


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What an expression may see: contexts by name; status functions only with `status`; `hashFiles` only
    with `hash_files` (patterns to digest, "" when nothing matches). A context that is not here is an
    error."""

    contexts: Mapping[str, Any]
    status: Status | None = None
    hash_files: Callable[[Sequence[str]], str] | None = None


def evaluate(text: str, scope: Scope) -> Any:
    """The value of an expression (without `${{ }}`) as plain data. Raises ExpressionError."""
    return evaluate_parsed(parse_expression(text), scope)


def evaluate_parsed(expression: Expression, scope: Scope) -> Any:
    """As `evaluate`, of what is parsed already."""
    value = _Evaluation(expression, scope).run()
    return list(value) if isinstance(value, _Filtered) else value


class _Filtered(list[Any]):
    """What an object filter `*` made: a further property or index applies to each of its elements."""


_MISSING: Any = object()


class _Evaluation:
    __slots__ = ("budget", "expression", "scope")

    def __init__(self, expression: Expression, scope: Scope) -> None:
        self.expression = expression
        self.scope = scope
        self.budget = Budget()

    def run(self) -> Any:
        root = self.expression.root
        for name in self.expression.contexts:
            if _lookup(self.scope.contexts, name) is _MISSING:
                raise self.unknown_context(name)
        for name in self.expression.functions:
            if (name in STATUS_FUNCTIONS and self.scope.status is None) or (
                name == "hashfiles" and self.scope.hash_files is None
            ):
                written = "hashFiles" if name == "hashfiles" else name
                raise self.error(f"the function `{written}` is not available here", 0)
        return self.value(root)

    def value(self, node: Node) -> Any:
        return _VISITORS[type(node)](self, node)

    def literal(self, node: Literal) -> Any:
        return node.value

    def context(self, node: Context) -> Any:
        return _lookup(self.scope.contexts, node.name)

    def index(self, node: Index) -> Any:
        key = None if node.index is None else self.value(node.index)
        target = self.value(node.target)
        if node.index is None:
            return self.star(target)
        if isinstance(target, _Filtered):
            found = (_element(item, key) for item in target if not is_primitive(item))
            return self.filtered(item for item in found if item is not _MISSING)
        found_value = _element(target, key)
        return None if found_value is _MISSING else found_value

    def star(self, target: Any) -> _Filtered:
        if isinstance(target, _Filtered):
            return self.filtered(inner for item in target for inner in _elements(item))
        return self.filtered(_elements(target))

    def filtered(self, items: Any) -> _Filtered:
        result = _Filtered()
        for item in items:
            self.spend(1, 0)
            result.append(item)
        return result

    def negation(self, node: Not) -> bool:
        return not truthy(self.value(node.operand))

    def comparison(self, node: Compare) -> bool:
        left, right = self.value(node.left), self.value(node.right)
        if node.operator == "==":
            return equals(left, right)
        if node.operator == "!=":
            return not equals(left, right)
        if node.operator == "<":
            return less_than(left, right)
        if node.operator == ">":
            return less_than(right, left)
        if node.operator == "<=":
            return equals(left, right) or less_than(left, right)
        return equals(left, right) or less_than(right, left)

    def logical(self, node: Logical) -> Any:
        stop = node.operator == "||"
        result: Any = None
        for operand in node.operands:
            result = self.value(operand)
            if truthy(result) == stop:
                break
        return result

    def call(self, node: Call) -> Any:
        if node.name == "case":
            return self.case(node)
        arguments = [self.value(argument) for argument in node.arguments]
        if node.name in STATUS_FUNCTIONS:
            return self.status(node.name, arguments)
        if node.name == "hashfiles":
            assert self.scope.hash_files is not None
            return self.scope.hash_files([to_string(argument) for argument in arguments])
        try:
            return PLAIN_FUNCTIONS[node.name](arguments, self.budget)
        except ValueError as error:
            raise self.error(str(error), node.offset) from None

    def case(self, node: Call) -> Any:
        pairs = node.arguments[:-1]
        for at in range(0, len(pairs), 2):
            predicate = self.value(pairs[at])
            if not isinstance(predicate, bool):
                raise self.error("each condition of `case` must be true or false", node.offset)
            if predicate:
                return self.value(pairs[at + 1])
        return self.value(node.arguments[-1])

    def status(self, name: str, arguments: Sequence[Any]) -> bool:
        status = self.scope.status
        assert status is not None
        if name == "always":
            return True
        if name == "cancelled":
            return status.cancelled
        if not arguments:
            return status.success if name == "success" else status.failure
        results = [_lookup(status.needs, to_string(argument)) for argument in arguments]
        if name == "success":
            return all(result == "success" for result in results)
        return any(result == "failure" for result in results)

    def spend(self, characters: int, offset: int) -> None:
        try:
            self.budget.spend(characters)
        except ValueError as error:
            raise self.error(str(error), offset) from None

    def unknown_context(self, name: str) -> ExpressionError:
        known = ", ".join(sorted(self.scope.contexts)) or "none"
        at = self.expression.text.lower().find(name)
        return self.error(f"unrecognized named-value `{name}`", max(at, 0), hint=f"available here: {known}")

    def error(self, detail: str, offset: int, hint: str = "") -> ExpressionError:
        return ExpressionError(detail, expression=self.expression.text, offset=offset, hint=hint)


_VISITORS: dict[type, Callable[[_Evaluation, Any], Any]] = {
    Literal: _Evaluation.literal,
    Context: _Evaluation.context,
    Index: _Evaluation.index,
    Not: _Evaluation.negation,
    Compare: _Evaluation.comparison,
    Logical: _Evaluation.logical,
    Call: _Evaluation.call,
}


def _lookup(values: Mapping[str, Any], key: str) -> Any:
    """A property without regard to case; an exact match first, because `env` may hold both spellings."""
    found = values.get(key, _MISSING)
    if found is not _MISSING:
        return found
    wanted = key.lower()
    for name, value in values.items():
        if str(name).lower() == wanted:
            return value
    return _MISSING


def _element(target: Any, key: Any) -> Any:
    if isinstance(target, Mapping):
        return _lookup(target, to_string(key)) if is_primitive(key) else _MISSING
    if isinstance(target, list):
        number = to_number(key)
        if math.isfinite(number) and 0 <= number < len(target):
            return target[int(number)]
    return _MISSING


def _elements(target: Any) -> Any:
    if isinstance(target, Mapping):
        return target.values()
    return target if isinstance(target, list) else ()
