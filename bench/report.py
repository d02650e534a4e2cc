"""The table of figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. `measured` is compared with `budget`; both are in `unit` (`×` for a ratio). The budget is
    the most that it may be, or with `at_least` the least; without one the figure is told, not judged."""

    title: str
    act: str
    akashic: str
    measured: float
    budget: float | None
    unit: str
    at_least: bool = False

    @classmethod
    def ratio_of(cls, title: str, unit: str, medians: Mapping[str, float], budget: float | None) -> Row:
        return cls(
            title=title,
            act=amount(medians["act"], unit),
            akashic=amount(medians["akashic"], unit),
            measured=medians["akashic"] / medians["act"],
            budget=budget,
            unit="×",
        )

    @classmethod
    def alone(cls, title: str, unit: str, measured: float, budget: float, *, at_least: bool = False) -> Row:
        return cls(
            title=title,
            act="",
            akashic=amount(measured, unit),
            measured=measured,
            budget=budget,
            unit=unit,
            at_least=at_least,
        )

    @property
    def ok(self) -> bool:
        if self.budget is None:
            return True
        return self.measured >= self.budget if self.at_least else self.measured <= self.budget

    @property
    def limit(self) -> str:
        """The budget as people read it."""
        if self.budget is None:
            return ""
        return ("≥ " if self.at_least else "") + amount(self.budget, self.unit)


def amount(value: float, unit: str) -> str:
    """A figure as people read it."""
    if unit == "×":
        return f"{value:.2f}"
    if unit == "s":
        return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.2f} s"
    return f"{value:.0f} {unit}".rstrip()


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as lines of Markdown that also read well in a terminal."""
    cells = [["workload", "act", "akashic", "ratio", "budget", ""]]
    for row in rows:
        ratio = amount(row.measured, row.unit) if row.unit == "×" else ""
        cells.append([row.title, row.act, row.akashic, ratio, row.limit, _verdict(row)])
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = ["| " + " | ".join(_padded(line, widths)) + " |" for line in cells]
    lines.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return lines


def _verdict(row: Row) -> str:
    if row.budget is None:
        return ""
    return "ok" if row.ok else "over"


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        text.ljust(width) if column in (0, len(widths) - 1) else text.rjust(width)
        for column, (text, width) in enumerate(zip(line, widths, strict=True))
    ]
