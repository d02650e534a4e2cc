"""Marks, colours and figures as people read them."""

from __future__ import annotations

from collections.abc import Sequence

MARKS = {
    "success": "✓",
    "failure": "✗",
    "cancelled": "⊘",
    "skipped": "–",
    "timed_out": "✗",
    "interrupted": "!",
    "running": "●",
    "waiting": "◷",
    "queued": "·",
}
_CODES = {
    "success": "32",
    "failure": "31",
    "timed_out": "31",
    "interrupted": "31",
    "cancelled": "33",
    "waiting": "33",
    "running": "36",
    "skipped": "2",
    "queued": "2",
    "dim": "2",
    "bold": "1",
    "warning": "33",
    "error": "31",
    "notice": "36",
}


class Style:
    """Colours text, or leaves it as it is."""

    def __init__(self, color: bool) -> None:
        self.color = color

    def __call__(self, kind: str, text: str) -> str:
        code = _CODES.get(kind)
        return f"\x1b[{code}m{text}\x1b[0m" if self.color and code else text

    def mark(self, kind: str) -> str:
        """The sign for a status or conclusion."""
        return self(kind, MARKS.get(kind, "?"))


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 m 05 s`, `1 h 02 m`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} m {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} m"


def table(rows: Sequence[Sequence[str]], *, indent: str = "", gap: str = "  ") -> list[str]:
    """Rows in columns as wide as their widest cell; the last column is left ragged. Cells hold no colour."""
    if not rows:
        return []
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    return [
        indent + gap.join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
