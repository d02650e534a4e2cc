"""A job's matrix as its combinations, and the name that people see for each.

Source: GitHub's "Workflow syntax" (`jobs.<job_id>.strategy.matrix`, `include`, `exclude`), and, where it is
silent, the published runner's matrix builder (actions/runner `MatrixBuilder.cs`). The matrix comes with its
expressions evaluated.
"""

from __future__ import annotations

from itertools import product
from typing import Any, NoReturn

import msgspec

from akashic.source.position import InvalidInput, Position, Problem
from akashic.workflow.expressions.coercion import equals, parse_number, to_string

MATRIX_JOBS_MAX = 256
"""GitHub's limit on the jobs that one matrix makes."""
MATRIX_COMPARISONS_MAX = 400_000
"""So many times a combination is compared with an `include` or `exclude`: a hostile matrix must not take
long."""
NAME_CHARACTERS_MAX = 100
"""GitHub cuts the values in an instance's name so that the name stays readable."""


class Combination(msgspec.Struct, frozen=True, kw_only=True):
    """One cell of a matrix. `values` is the `matrix` context, `index` and `total` the `strategy` context's
    `job-index` and `job-total`."""

    values: dict[str, Any]
    index: int
    total: int
    shown: tuple[str, ...]

    def name(self, job_name: str) -> str:
        """`job_name (ubuntu, 3.11)`, as GitHub shows an instance whose job has no `name:` of its own."""
        text = ", ".join(self.shown)
        if not text:
            return job_name
        full = f"{job_name} ({text})"
        return full if len(full) <= NAME_CHARACTERS_MAX else full[: NAME_CHARACTERS_MAX - 3] + "..."


def expand(matrix: Any, *, position: Position, job: str = "") -> list[Combination]:
    """All combinations in GitHub's order: the first variable changes slowest, added ones come last.

    `matrix` is the evaluated value of `strategy.matrix`. Raises InvalidInput: not a mapping, a variable that
    is no list or is empty, a wrong `include`/`exclude`, no combination left, or more than MATRIX_JOBS_MAX.
    """
    of = f" of job `{job}`" if job else ""
    if not isinstance(matrix, dict):
        _fail(position, f"the matrix{of} must be a mapping, not {_kind(matrix)}")
    axes: dict[str, list[Any]] = {}
    for name, values in matrix.items():
        if name in ("include", "exclude"):
            continue
        if not isinstance(values, list):
            _fail(
                position,
                f"the matrix variable `{name}`{of} must be a list, not {_kind(values)}",
                hint=f"write `{name}: [{values}]`" if isinstance(values, (str, int, float)) else "",
            )
        if not values:
            _fail(position, f"the matrix variable `{name}`{of} has no values")
        axes[str(name)] = values
    excludes = _filters(matrix.get("exclude", []), "exclude", of, position)
    includes = _filters(matrix.get("include", []), "include", of, position)
    _check_excludes(excludes, axes, of, position)
    rows = _product(axes, excludes, of, position)
    _check_work(len(rows) * len(includes), of, position)
    originals = _included(rows, includes, axes)
    if not rows:
        _fail(position, f"the matrix{of} has no combinations", hint="it needs a variable or an `include`")
    if len(rows) > MATRIX_JOBS_MAX:
        _too_many(len(rows), of, position)
    total = len(rows)
    return [
        Combination(values=row, index=index, total=total, shown=_shown(row, originals[index], axes))
        for index, row in enumerate(rows)
    ]


def _product(
    axes: dict[str, list[Any]], excludes: list[dict[str, Any]], of: str, position: Position
) -> list[Any]:
    if not axes:
        return []
    cells = 1
    for values in axes.values():
        cells *= len(values)
    # Excluded cells do not count for GitHub's limit, but somebody has to visit them.
    if cells > MATRIX_JOBS_MAX * 64 or (cells > MATRIX_JOBS_MAX and not excludes):
        _too_many(cells, of, position)
    _check_work(cells * len(excludes), of, position)
    rows = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    return [row for row in rows if not any(matches(row, exclude) for exclude in excludes)]


def matches(value: Any, wanted: Any) -> bool:
    """Whether a matrix value has all that a filter of `include` or `exclude` names.

    GitHub's runner makes one comparison `matrix[…] == literal` of each leaf of the filter: strings compare
    without regard to case, types are coerced, what is not there is null, and what the filter does not name
    is not looked at.
    """
    if isinstance(wanted, dict):
        return all(matches(_item(value, name), inner) for name, inner in wanted.items())
    if isinstance(wanted, list):
        return all(matches(_item(value, index), inner) for index, inner in enumerate(wanted))
    return equals(value, wanted)


def _item(value: Any, key: Any) -> Any:
    if isinstance(value, dict):
        return next((item for name, item in value.items() if name.lower() == str(key).lower()), None)
    if isinstance(value, list):
        index = key if isinstance(key, int) else parse_number(str(key))
        return value[int(index)] if 0 <= index < len(value) else None
    return None


def _included(rows: list[Any], includes: list[dict[str, Any]], axes: dict[str, list[Any]]) -> list[bool]:
    """Apply `include` in order; says for each row whether it belongs to the original product."""
    count = len(rows)
    originals = [dict(row) for row in rows]
    known = {name.lower() for name in axes}
    for include in includes:
        filters = {name: value for name, value in include.items() if name.lower() in known}
        extra = {name: value for name, value in include.items() if name.lower() not in known}
        added = False
        for row, original in zip(rows[:count], originals, strict=True):
            if matches(original, filters):
                _put(row, extra)
                added = True
        if not added:
            rows.append(filters | extra)
    return [index < count for index in range(len(rows))]


def _put(row: dict[str, Any], extra: dict[str, Any]) -> None:
    """Add values, of which one that an earlier `include` added is overwritten; case does not distinguish
    names."""
    written = {name.lower(): name for name in row}
    for name, value in extra.items():
        row[written.get(name.lower(), name)] = value


def _shown(row: dict[str, Any], original: bool, axes: dict[str, list[Any]]) -> tuple[str, ...]:
    names = axes if original else row
    return tuple(text for name in names for text in leaves(row[name]))


def leaves(value: Any) -> list[str]:
    """A value of a matrix as names show it: of lists and mappings what they hold."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in leaves(item)]
    if isinstance(value, list):
        return [text for item in value for text in leaves(item)]
    text = to_string(value)
    return [text] if text else []


def _filters(value: Any, key: str, of: str, position: Position) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        _fail(position, f"`{key}` in the matrix{of} must be a list of mappings, not {_kind(value)}")
    for item in value:
        if not isinstance(item, dict):
            _fail(position, f"each entry of `{key}` in the matrix{of} must be a mapping, not {_kind(item)}")
        if not item:
            _fail(position, f"an entry of `{key}` in the matrix{of} is empty")
    return value


def _check_excludes(
    excludes: list[dict[str, Any]], axes: dict[str, list[Any]], of: str, position: Position
) -> None:
    known = {name.lower() for name in axes}
    for exclude in excludes:
        for name in exclude:
            if name.lower() not in known:
                _fail(
                    position,
                    f"`exclude` in the matrix{of} names `{name}`, which is not a variable of the matrix",
                    hint="variables: " + ", ".join(f"`{axis}`" for axis in axes) if axes else "",
                )


def _too_many(count: int, of: str, position: Position) -> NoReturn:
    _fail(position, f"the matrix{of} makes {count:,} jobs; the limit is {MATRIX_JOBS_MAX}")


def _check_work(comparisons: int, of: str, position: Position) -> None:
    if comparisons > MATRIX_COMPARISONS_MAX:
        _fail(
            position,
            f"the matrix{of} needs {comparisons:,} comparisons for its `include` and `exclude`; "
            f"the limit is {MATRIX_COMPARISONS_MAX:,}",
        )


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "a mapping"


def _fail(position: Position, message: str, *, hint: str = "") -> NoReturn:
    raise InvalidInput([Problem(position=position, message=message, rule="matrix", hint=hint)])
