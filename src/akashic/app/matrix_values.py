"""Which values the matrices of workflows can have, as far as the files say it."""

from __future__ import annotations

from collections.abc import Sequence

from akashic.engine.expand import shown_value
from akashic.workflow.matrix import expand
from akashic.workflow.model import Workflow


def matrix_values(workflows: Sequence[Workflow]) -> dict[str, list[str]] | None:
    """By name the values, as `--matrix` names them; None when an expression, or a workflow that is called,
    has a say. Raises InvalidInput for a matrix that cannot be expanded."""
    known: dict[str, list[str]] = {}
    for workflow in workflows:
        for job in workflow.jobs.values():
            if job.uses is not None:
                return None
            if job.strategy is None:
                continue
            template = job.strategy.matrix
            if job.strategy.whole is not None or (template is not None and "${{" in str(template.value)):
                return None
            if template is None:
                continue
            for combination in expand(template.value, position=template.position, job=job.id):
                for name, value in combination.values.items():
                    values = known.setdefault(name, [])
                    if shown_value(value) not in values:
                        values.append(shown_value(value))
    return known
