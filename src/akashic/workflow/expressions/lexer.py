"""An expression's text as tokens, in one linear pass.

Source: GitHub's "Evaluate expressions" (literals, operators).
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from akashic.workflow.expressions.coercion import parse_number
from akashic.workflow.expressions.errors import ExpressionError

EXPRESSION_CHARACTERS_MAX = 21_000
"""GitHub's limit on the length of one expression."""

_PUNCTUATION = frozenset("()[],*")
_BOUNDARY = re.compile(r"[()\[\],.!><=&|\s]")
_NUMBER_BOUNDARY = re.compile(r"[()\[\],!><=&|\s]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
_DOT_AFTER = frozenset({"name", "]", ")", "*"})
_KEYWORDS: dict[str, Any] = {
    "true": True,
    "false": False,
    "null": None,
    "NaN": math.nan,
    "Infinity": math.inf,
}


class Token(msgspec.Struct, frozen=True):
    """`kind` is "name", "literal", "end", or the operator itself; `value` is a literal's value."""

    kind: str
    text: str
    offset: int
    value: Any = None


def tokenize(text: str) -> list[Token]:
    """All tokens, the last one of kind "end". Raises ExpressionError."""
    if len(text) > EXPRESSION_CHARACTERS_MAX:
        raise ExpressionError(
            f"the expression has {len(text):,} characters; the limit is {EXPRESSION_CHARACTERS_MAX:,}",
            expression=text,
        )
    tokens: list[Token] = []
    offset, end = 0, len(text)
    while offset < end:
        if text[offset].isspace():
            offset += 1
            continue
        token, offset = _token(text, offset, tokens[-1].kind if tokens else "")
        tokens.append(token)
    tokens.append(Token("end", "", end))
    return tokens


def _token(text: str, offset: int, previous: str) -> tuple[Token, int]:
    character = text[offset]
    if character in _PUNCTUATION or (character == "." and previous in _DOT_AFTER):
        return Token(character, character, offset), offset + 1
    if character in "!<>":
        operator = character + "=" if text.startswith("=", offset + 1) else character
        return Token(operator, operator, offset), offset + len(operator)
    if character in "=&|":
        if not text.startswith(character, offset + 1):
            raise _unexpected(text, offset, _word_end(text, offset))
        return Token(character * 2, character * 2, offset), offset + 2
    if character == "'":
        return _string(text, offset)
    if character.isascii() and (character.isdigit() or character in ".+-"):
        return _number(text, offset)
    return _word(text, offset, previous)


def _string(text: str, offset: int) -> tuple[Token, int]:
    at = offset + 1
    while True:
        at = text.find("'", at)
        if at < 0:
            raise ExpressionError(
                "the string is not closed",
                expression=text,
                offset=offset,
                hint="strings stand in single quotes; a quote inside is written twice: 'it''s'",
            )
        if not text.startswith("'", at + 1):
            break
        at += 2
    value = text[offset + 1 : at].replace("''", "'")
    return Token("literal", text[offset : at + 1], offset, value), at + 1


def _number(text: str, offset: int) -> tuple[Token, int]:
    boundary = _NUMBER_BOUNDARY.search(text, offset + 1)
    end = boundary.start() if boundary else len(text)
    value = parse_number(text[offset:end])
    if math.isnan(value):
        raise _unexpected(text, offset, end)
    return Token("literal", text[offset:end], offset, value), end


def _word(text: str, offset: int, previous: str) -> tuple[Token, int]:
    end = _word_end(text, offset)
    word = text[offset:end]
    if not _NAME.match(word):
        raise _unexpected(text, offset, end)
    if previous != "." and word in _KEYWORDS:
        return Token("literal", word, offset, _KEYWORDS[word]), end
    return Token("name", word, offset), end


def _word_end(text: str, offset: int) -> int:
    boundary = _BOUNDARY.search(text, offset + 1)
    return boundary.start() if boundary else len(text)


def _unexpected(text: str, offset: int, end: int) -> ExpressionError:
    hint = "strings stand in single quotes, not in double quotes" if text[offset] == '"' else ""
    return ExpressionError(
        f"unexpected symbol `{text[offset:end]}`", expression=text, offset=offset, hint=hint
    )
