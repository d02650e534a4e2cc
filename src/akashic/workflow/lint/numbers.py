"""Rule `number`: versions that YAML reads as numbers, which loses their last zero (`3.10` is 3.1)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from akashic.source.data import Problems
from akashic.source.yaml import Mapping, Node, Scalar, Sequence
from akashic.workflow.expressions.coercion import to_string
from akashic.workflow.lint.document import Document

_FILTERS = ("branches", "branches-ignore", "tags", "tags-ignore")
_VERSION = re.compile(r"[0-9]+\.[0-9]+\Z")


def check(document: Document, problems: Problems) -> None:
    """Look where versions stand as a rule: in `env`, `with`, matrices, and filters of branches and tags."""
    for node in _places(document):
        for scalar in _scalars(node):
            written = scalar.text
            if scalar.style or not isinstance(scalar.value, (int, float)) or not _VERSION.match(written):
                continue
            read = to_string(scalar.value)
            if read != written:
                problems.add(
                    scalar.position,
                    f"`{written}` is the number {read}",
                    hint=f"a version needs quotes: '{written}'",
                    rule="number",
                    severity="warning",
                )


def _places(document: Document) -> Iterator[Node | None]:
    on = document.root.get("on")
    for _, event in on.entries if isinstance(on, Mapping) else ():
        if isinstance(event, Mapping):
            yield from (event.get(name) for name in _FILTERS)
    yield document.root.get("env")
    for job in document.jobs:
        yield from (job.mapping.get("env"), job.mapping.get("with"))
        strategy = job.mapping.get("strategy")
        yield strategy.get("matrix") if isinstance(strategy, Mapping) else None
        for step in job.steps:
            yield from (step.mapping.get("env"), step.mapping.get("with"))


def _scalars(node: Node | None) -> Iterator[Scalar]:
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from _scalars(item)
    elif isinstance(node, Mapping):
        for _, value in node.entries:
            yield from _scalars(value)
