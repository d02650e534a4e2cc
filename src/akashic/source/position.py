"""Where a word stands in a file, and what is wrong there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from akashic.errors import UsageError

Severity = Literal["error", "warning", "info"]


class Position(msgspec.Struct, frozen=True, order=True):
    """A place in a file; line and column count from 1, 0 when unknown. `file` is as the user wrote it."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file


_PLACE = re.compile(r"[^\n]*?:\d+:\d+: ")


def placed(message: str, position: Position) -> str:
    """What is wrong, with its place in the file: `position`, unless the message names one itself."""
    known = not position.line or _PLACE.match(message) is not None
    return message if known else f"{position}: {message}"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is wrong, or worth a look: where, how bad, which rule, what, and what to do."""

    position: Position
    message: str
    severity: Severity = "error"
    rule: str = "syntax"
    hint: str = ""

    def __str__(self) -> str:
        text = f"{self.position}: {self.severity}: {self.message} [{self.rule}]"
        return f"{text}\n  hint: {self.hint}" if self.hint else text


class InvalidInput(UsageError):
    """A file or value that a user wrote is not valid; `problems` has at least one error, in file order."""

    lead = ""

    def __init__(self, problems: Sequence[Problem]) -> None:
        assert problems
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
