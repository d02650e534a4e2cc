"""Expressions parsed: precedence, the limit on depth, and the functions' numbers of arguments.

Source: GitHub's "Evaluate expressions"; the limits are those of GitHub's own parser.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from akashic.workflow.expressions.ast import Call, Compare, Context, Index, Literal, Logical, Node, Not
from akashic.workflow.expressions.errors import ExpressionError
from akashic.workflow.expressions.lexer import Token, tokenize

EXPRESSION_DEPTH_MAX = 50
"""GitHub's limit on the depth of one expression."""
ARGUMENTS_MAX = 255
_CACHED_EXPRESSIONS_MAX = 8192

STATUS_FUNCTIONS = frozenset({"success", "failure", "always", "cancelled"})
FUNCTIONS: dict[str, tuple[str, int, int]] = {
    "case": ("case", 3, ARGUMENTS_MAX),
    "contains": ("contains", 2, 2),
    "endswith": ("endsWith", 2, 2),
    "format": ("format", 1, ARGUMENTS_MAX),
    "fromjson": ("fromJSON", 1, 1),
    "join": ("join", 1, 2),
    "startswith": ("startsWith", 2, 2),
    "tojson": ("toJSON", 1, 1),
    "hashfiles": ("hashFiles", 1, ARGUMENTS_MAX),
    "success": ("success", 0, ARGUMENTS_MAX),
    "failure": ("failure", 0, ARGUMENTS_MAX),
    "always": ("always", 0, 0),
    "cancelled": ("cancelled", 0, 0),
}
"""Every function by its name in lower case: how GitHub spells it, fewest and most arguments."""


class Expression(msgspec.Struct, frozen=True):
    """A parsed expression. `contexts` and `functions` are the names it uses, in lower case."""

    text: str
    root: Node
    contexts: frozenset[str]
    functions: frozenset[str]

    @property
    def uses_status(self) -> bool:
        """Whether `success()`, `failure()`, `always()` or `cancelled()` is called anywhere in it."""
        return not self.functions.isdisjoint(STATUS_FUNCTIONS)


@lru_cache(maxsize=_CACHED_EXPRESSIONS_MAX)
def parse_expression(text: str) -> Expression:
    """Parse what stands between `${{` and `}}`. Remembered by text. Raises ExpressionError."""
    return _Parser(text).parse()


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = tokenize(text)
        self.at = 0
        self.depth = 0
        self.contexts: set[str] = set()
        self.functions: set[str] = set()

    def parse(self) -> Expression:
        if self.tokens[0].kind == "end":
            raise ExpressionError("an expression was expected, but there is none", expression=self.text)
        root = self.expression()
        if self.peek().kind != "end":
            raise self.unexpected()
        return Expression(self.text, root, frozenset(self.contexts), frozenset(self.functions))

    def expression(self) -> Node:
        self.enter()
        node = self.logical("||")
        self.depth -= 1
        return node

    def logical(self, operator: str) -> Node:
        first = self.logical("&&") if operator == "||" else self.binary(("==", "!="))
        if self.peek().kind != operator:
            return first
        self.enter()
        offset = self.peek().offset
        operands = [first]
        while self.accept(operator):
            operands.append(self.logical("&&") if operator == "||" else self.binary(("==", "!=")))
        self.depth -= 1
        return Logical(operator, tuple(operands), offset)

    def binary(self, operators: tuple[str, ...]) -> Node:
        equality = operators[0] == "=="
        node = self.binary(("<", "<=", ">", ">=")) if equality else self.unary()
        # A chain nests to the left, so that evaluating it recurses: it counts for the depth.
        chained = 0
        while self.peek().kind in operators:
            token = self.next()
            right = self.binary(("<", "<=", ">", ">=")) if equality else self.unary()
            node = Compare(token.kind, node, right, token.offset)
            self.enter()
            chained += 1
        self.depth -= chained
        return node

    def unary(self) -> Node:
        if self.peek().kind != "!":
            return self.postfix()
        token = self.next()
        self.enter()
        operand = self.unary()
        self.depth -= 1
        return Not(operand, token.offset)

    def postfix(self) -> Node:
        start = self.peek()
        node = self.primary()
        if start.kind == "literal":
            return node
        entered = 0
        while self.peek().kind in ("[", "."):
            token = self.next()
            index: Node | None
            if self.accept("*"):
                index = None
            elif token.kind == "[":
                index = self.expression()
            elif self.peek().kind == "name":
                name = self.next()
                index = Literal(name.text, name.offset)
            else:
                raise self.unexpected()
            if token.kind == "[":
                self.expect("]")
            self.enter()
            entered += 1
            node = Index(node, index, token.offset)
        self.depth -= entered
        return node

    def primary(self) -> Node:
        token = self.peek()
        if token.kind == "literal":
            self.next()
            return Literal(token.value, token.offset)
        if token.kind == "name":
            self.next()
            if self.accept("("):
                return self.call(token)
            self.contexts.add(token.text.lower())
            return Context(token.text, token.offset)
        if token.kind == "(":
            self.next()
            node = self.expression()
            self.expect(")")
            return node
        raise self.unexpected()

    def call(self, name: Token) -> Node:
        arguments: list[Node] = []
        if not self.accept(")"):
            arguments.append(self.expression())
            while self.accept(","):
                arguments.append(self.expression())
            self.expect(")")
        key = name.text.lower()
        self.check_function(name, key, len(arguments))
        self.functions.add(key)
        return Call(key, name.text, tuple(arguments), name.offset)

    def check_function(self, name: Token, key: str, count: int) -> None:
        known = FUNCTIONS.get(key)
        if known is None:
            from difflib import get_close_matches  # for a mistake only

            near = get_close_matches(key, FUNCTIONS, n=1)
            raise ExpressionError(
                f"there is no function `{name.text}`",
                expression=self.text,
                offset=name.offset,
                hint=f"did you mean `{FUNCTIONS[near[0]][0]}`?" if near else "",
            )
        spelled, fewest, most = known
        if count < fewest or count > most:
            expected = str(fewest) if fewest == most else f"{fewest} to {most}"
            raise ExpressionError(
                f"`{spelled}` takes {expected} argument{'' if expected == '1' else 's'}, not {count}",
                expression=self.text,
                offset=name.offset,
            )
        if key == "case" and count % 2 == 0:
            raise ExpressionError(
                "`case` takes pairs of a condition and a value, then a default: an odd number of arguments",
                expression=self.text,
                offset=name.offset,
            )

    def enter(self) -> None:
        self.depth += 1
        if self.depth > EXPRESSION_DEPTH_MAX:
            raise ExpressionError(
                f"the expression is nested more than {EXPRESSION_DEPTH_MAX} levels deep",
                expression=self.text,
                offset=self.peek().offset,
            )

    def peek(self) -> Token:
        return self.tokens[self.at]

    def next(self) -> Token:
        token = self.tokens[self.at]
        self.at += 1
        return token

    def accept(self, kind: str) -> bool:
        if self.tokens[self.at].kind != kind:
            return False
        self.at += 1
        return True

    def expect(self, kind: str) -> None:
        if not self.accept(kind):
            raise self.unexpected(f"`{kind}` was expected")

    def unexpected(self, expected: str = "") -> ExpressionError:
        token = self.peek()
        what = "the expression ends too early" if token.kind == "end" else f"unexpected symbol `{token.text}`"
        detail = f"{what}; {expected}" if expected else what
        return ExpressionError(detail, expression=self.text, offset=token.offset)
