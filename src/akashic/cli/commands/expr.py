"""`akashic expr eval`: the value of an expression with given contexts."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import Any

from akashic.cli.command import CommandContext
from akashic.errors import EXIT_OK, UsageError
from akashic.source.position import Position
from akashic.source.yaml import load, to_data
from akashic.workflow.expressions import ExpressionError, Scope, Status, condition, evaluate, interpolate

HELP = "evaluate a GitHub expression with the contexts of a file"
_RESULTS = {
    "success": (True, False, False),
    "failure": (False, True, False),
    "cancelled": (False, False, True),
}


def configure(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="expr_command", required=True, metavar="COMMAND")
    eval_ = commands.add_parser("eval", help="print an expression's value as JSON")
    kinds = eval_.add_mutually_exclusive_group()
    kinds.add_argument(
        "--template", action="store_true", help="EXPR is text with ${{ }} in it, not a bare expression"
    )
    kinds.add_argument(
        "--condition", action="store_true", help="EXPR is an `if:`: success() is added as GitHub does"
    )
    eval_.add_argument(
        "--context", metavar="FILE", help="JSON or YAML: a mapping of context names to values (`-`: stdin)"
    )
    eval_.add_argument(
        "--status", choices=sorted(_RESULTS), default="success", help="what success(), failure(), … answer"
    )
    eval_.add_argument("expr", metavar="EXPR")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    success, failure, cancelled = _RESULTS[args.status]
    scope = Scope(
        contexts=_contexts(args.context, context),
        status=Status(success=success, failure=failure, cancelled=cancelled),
    )
    try:
        value = _value(args, scope)
    except ExpressionError as error:
        if not scope.contexts and "unrecognized named-value" in error.detail:
            error.hint = "give contexts with --context FILE (JSON or YAML; - reads them from stdin)"
        raise
    print(json.dumps(_plain(value), allow_nan=False), file=context.stdout)
    return EXIT_OK


def _value(args: argparse.Namespace, scope: Scope) -> Any:
    if args.template:
        return interpolate(args.expr, scope, Position("EXPR"))
    if args.condition:
        return condition(args.expr, scope)
    text = args.expr.strip()
    whole = text.startswith("${{") and text.endswith("}}")
    return interpolate(text, scope, Position("EXPR")) if whole else evaluate(args.expr, scope)


def _contexts(file: str | None, context: CommandContext) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        text = sys.stdin.buffer.read() if file == "-" else (context.cwd / Path(file)).read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        # JSON is nearly YAML, so that a mistake in either is told with its place.
        value = to_data(load(text, file))
    if not isinstance(value, dict):
        raise UsageError(f"{file}: expected a mapping of context names to values", hint='{"github": {…}}')
    return value


def _plain(value: Any) -> Any:
    """The value as JSON can hold it: not-a-number and the infinities become null, as in toJSON."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
