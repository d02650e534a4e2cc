"""A job's `strategy` parsed: its matrix, checked as far as it is known before anything runs.

Source: GitHub's "Workflow syntax" (`jobs.<job_id>.strategy`).
"""

from __future__ import annotations

from akashic.source.data import kind_name
from akashic.source.position import InvalidInput
from akashic.source.yaml import Mapping, Node, Scalar, Sequence
from akashic.workflow.contexts import AVAILABILITY, Availability
from akashic.workflow.matrix import expand
from akashic.workflow.model import Strategy, Template
from akashic.workflow.parse_common import Reader, has_expression, scalars


def parse_strategy(reader: Reader, job: str, node: Node) -> Strategy | None:
    """`strategy:` of a job; None, with a problem, when it is no mapping."""
    what = f"`strategy` of the job `{job}`"
    if has_expression(node):
        return Strategy(
            whole=reader.template(node, AVAILABILITY["jobs.<job_id>.strategy"]), position=node.position
        )
    mapping = reader.mapping(node, what)
    if mapping is None:
        return None
    found = reader.keys(mapping, {"matrix", "fail-fast", "max-parallel"}, what)
    matrix, fast, most = found.get("matrix"), found.get("fail-fast"), found.get("max-parallel")
    availability = AVAILABILITY["jobs.<job_id>.strategy"]
    return Strategy(
        matrix=_matrix(reader, job, matrix, availability) if matrix else None,
        fail_fast=reader.flag(fast, availability, "`fail-fast`") if fast else None,
        max_parallel=_max_parallel(reader, most, availability) if most else None,
        position=mapping.position,
    )


def _max_parallel(reader: Reader, node: Node, availability: Availability) -> Template | None:
    """As GitHub's runner reads it, a number that is not above 0 is no limit."""
    if isinstance(node, Scalar) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return Template(node.value, node.position)
    return reader.number(node, availability, "`max-parallel`")


def _matrix(reader: Reader, job: str, node: Node, availability: Availability) -> Template | None:
    template = reader.template(node, availability)
    if has_expression(node):
        return template
    mapping = reader.mapping(node, f"`matrix` of the job `{job}`")
    if mapping is None:
        return None
    reader.distinct(mapping, f"`matrix` of the job `{job}`")
    if not _matrix_shape(reader, job, mapping):
        return template
    if not any(has_expression(scalar) for scalar in scalars(node)):
        # Everything is known already, so what is wrong is told before anything runs.
        try:
            expand(template.value, position=node.position, job=job)
        except InvalidInput as error:
            for problem in error.problems:
                reader.add(problem.position, problem.message, hint=problem.hint, rule=problem.rule)
    return template


def _matrix_shape(reader: Reader, job: str, mapping: Mapping) -> bool:
    """Whether the matrix has lists where it must; what is wrong is told at its own place."""
    before = len(reader.found)
    axes = {key.text.lower() for key, _ in mapping.entries}
    known = None if any(has_expression(key) for key, _ in mapping.entries) else axes
    for key, value in mapping.entries:
        if has_expression(key) or has_expression(value):
            continue
        place, what = value.position, f"`{key.text}` in the matrix of job `{job}`"
        if not key.text:
            reader.add(key.position, f"a name in the matrix of job `{job}` must not be empty", rule="matrix")
        elif not isinstance(value, Sequence):
            reader.add(place, f"{what} must be a list, not {kind_name(value)}", rule="matrix")
        elif key.text in ("include", "exclude"):
            for item in value.items:
                _matrix_entry(reader, what, item, known if key.text == "exclude" else None)
        elif not value.items:
            reader.add(place, f"{what} has no values", rule="matrix")
    return len(reader.found) == before


def _matrix_entry(reader: Reader, what: str, item: Node, known: set[str] | None) -> None:
    if has_expression(item):
        return
    if not isinstance(item, Mapping):
        message = f"each entry of {what} must be a mapping, not {kind_name(item)}"
        reader.add(item.position, message, rule="matrix")
        return
    reader.distinct(item, f"an entry of {what}")
    if not item.entries:
        reader.add(item.position, f"an entry of {what} is empty", rule="matrix")
    for key, _ in item.entries:
        if not key.text:
            reader.add(key.position, f"a name in an entry of {what} must not be empty", rule="matrix")
        elif known is not None and key.text.lower() not in known and not has_expression(key):
            axes = known - {"include", "exclude"}
            reader.add(
                key.position,
                f"{what} names `{key.text}`, which is not a variable of the matrix",
                hint=reader.hint(key.text, axes),
                rule="matrix",
            )
