"""What is wrong with an expression, and where in its text."""

from __future__ import annotations

from akashic.errors import AkashicError
from akashic.source.position import Position


class ExpressionError(AkashicError):
    """An expression cannot be parsed or evaluated.

    `offset` counts characters from the start of the expression's own text (0-based), `expression` is that
    text, `detail` the bare sentence, and `position` the place of the value that holds it, once somebody
    knows it.
    """

    def __init__(
        self,
        detail: str,
        *,
        expression: str = "",
        offset: int = 0,
        position: Position | None = None,
        hint: str = "",
    ) -> None:
        self.detail = detail
        self.expression = expression
        self.offset = offset
        self.position = position
        where = f"{position}: " if position is not None else ""
        place = f" (at character {offset + 1} of `{_shortened(expression)}`)" if expression else ""
        super().__init__(f"{where}{detail}{place}", hint=hint)

    def at(self, position: Position) -> ExpressionError:
        """The same error, with the place of the value that holds the expression."""
        if self.position is not None:
            return self
        return ExpressionError(
            self.detail, expression=self.expression, offset=self.offset, position=position, hint=self.hint
        )


_SHOWN_CHARACTERS_MAX = 120


def _shortened(text: str) -> str:
    one_line = " ".join(text.split())
    if len(one_line) <= _SHOWN_CHARACTERS_MAX:
        return one_line
    return one_line[: _SHOWN_CHARACTERS_MAX - 1] + "…"
