"""What is known of a run's jobs before it begins: the conditions and matrices that no job has a say in.

Nothing is guessed: a condition or matrix that reads what a job leaves behind (`needs`) is left open, and so
is one that asks how other jobs ended. A job is foreseen to be skipped when its condition is false whatever
the others do, or when it needs one that is skipped.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from akashic.app.application import Application
from akashic.app.runs import first_record
from akashic.app.selection import Request, Selection, Triggered
from akashic.engine.contexts import job_contexts
from akashic.engine.evaluation import Refusal
from akashic.engine.expand import instances_of
from akashic.engine.runstate import JobState, RunState
from akashic.engine.state import apply
from akashic.workflow.expressions import (
    ExpressionError,
    Scope,
    Status,
    condition,
    expressions_in,
    parse_expression,
    uses_status_function,
)

IF_IS_FALSE = "its `if` is false"
_ALL_SUCCEEDED = Status()


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What is known of one job. `names` are those of its instances, None when only the run knows them."""

    skipped: str = ""
    """Why it will not run; empty when it runs, or may."""
    names: tuple[str, ...] | None = None


def foresee_all(
    application: Application, request: Request, selection: Selection
) -> dict[str, Mapping[str, Foreseen]]:
    """By path, for all workflows that the event triggers."""
    return {
        item.loaded.workflow.path: foresee(application, request, selection, item)
        for item in selection.triggered
    }


def foresee(
    application: Application, request: Request, selection: Selection, triggered: Triggered
) -> Mapping[str, Foreseen]:
    """By job id, for the jobs that were asked for and what they need; empty when the run would not begin."""
    created = first_record(application, request, selection, triggered, run_id="0" * 16, number=1, sequence=1)
    state = apply(None, created, 0.0)
    found: dict[str, Foreseen] = {}
    # Jobs stand in any order in a file; those that they need are asked first.
    remaining = list(state.jobs)
    while remaining:
        path = remaining.pop()
        needs = [need for need in state.jobs[path].needs if need not in found and need in state.jobs]
        if needs:
            remaining += [path, *needs]
        elif path not in found:
            found[path] = _job(state, state.jobs[path], found)
    return {path: found[path] for path in state.jobs}


def _job(state: RunState, job: JobState, found: Mapping[str, Foreseen]) -> Foreseen:
    template = job.job.if_
    text = template.value if template is not None else None
    try:
        asks = text is not None and uses_status_function(text)
        if not asks:
            for need in job.needs:
                if need in found and found[need].skipped:
                    return Foreseen(skipped=f"it needs {need}, which is skipped")
        known = not _condition_reads_needs(text) and not (asks and job.needs)
        scope = Scope(contexts=job_contexts(state, job), status=_ALL_SUCCEEDED)
        if known and not condition(text, scope):
            return Foreseen(skipped=IF_IS_FALSE)
    except ExpressionError:
        # The run says it, with its place.
        return Foreseen()
    return Foreseen(names=_names(state, job))


def _names(state: RunState, job: JobState) -> tuple[str, ...] | None:
    strategy = job.job.strategy
    templates = [job.job.name]
    if strategy is not None:
        templates += [strategy.whole, strategy.matrix]
    try:
        if any(_reads_needs(template.value) for template in templates if template is not None):
            return None
        return tuple(instance.name for instance in instances_of(state, job))
    except (ExpressionError, Refusal):
        return None


def _reads_needs(value: Any) -> bool:
    """Whether an expression anywhere in a value reads `needs`. Raises ExpressionError."""
    return any("needs" in parse_expression(text).contexts for text in expressions_in(value))


def _condition_reads_needs(value: Any) -> bool:
    """The same for an `if`, which is an expression without `${{ }}` too. Raises ExpressionError."""
    if not isinstance(value, str) or not value.strip():
        return False
    return _reads_needs(value if "${{" in value else f"${{{{ {value} }}}}")
