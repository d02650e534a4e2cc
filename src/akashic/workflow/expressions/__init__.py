"""GitHub's expression language: `${{ … }}`, `if:` conditions, and what their values are. Pure.

May import: `akashic.source`, `akashic.errors`. Never reads a file: `hashFiles` is handed in with the scope.
"""

from akashic.workflow.expressions.errors import ExpressionError
from akashic.workflow.expressions.evaluate import Scope, Status, evaluate
from akashic.workflow.expressions.parser import Expression, parse_expression
from akashic.workflow.expressions.template import (
    condition,
    expressions_in,
    interpolate,
    split_template,
    uses_status_function,
)

__all__ = [
    "Expression",
    "ExpressionError",
    "Scope",
    "Status",
    "condition",
    "evaluate",
    "expressions_in",
    "interpolate",
    "parse_expression",
    "split_template",
    "uses_status_function",
]
