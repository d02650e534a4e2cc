"""A job whose `if` holds becomes its instances: the matrix, keys, names and the `strategy` context.

Source: GitHub's "Workflow syntax" (`jobs.<job_id>.strategy`, `jobs.<job_id>.name`), "Contexts" (`strategy`).
"""

from __future__ import annotations

import math
from typing import Any

from akashic.engine.contexts import job_contexts
from akashic.engine.evaluation import Refusal, as_flag, text_of, value_of
from akashic.engine.events import JobInstance
from akashic.engine.runstate import JobState, RunState
from akashic.source.position import InvalidInput, Position
from akashic.workflow.expressions import expressions_in
from akashic.workflow.expressions.coercion import to_number
from akashic.workflow.matrix import Combination, expand
from akashic.workflow.model import Strategy

_FIELDS = frozenset({"matrix", "fail-fast", "max-parallel"})


def instances_of(state: RunState, job: JobState) -> tuple[JobInstance, ...]:
    """The instances of a job, as the user's filter leaves them, maybe none. Raises Refusal."""
    contexts = job_contexts(state, job)
    strategy = job.job.strategy
    fail_fast, max_parallel = strategy_of(strategy, contexts)
    fields = _fields(strategy, contexts) if strategy is not None else {}
    if strategy is None or "matrix" not in fields:
        context = _strategy_context(fail_fast, 0, 1, max_parallel)
        name = _name(state, job, contexts, None, context)
        return (JobInstance(key=job.path, name=name, strategy=context),)
    position = strategy.matrix.position if strategy.matrix is not None else strategy.position
    combinations = _combinations(fields["matrix"], position, job)
    wanted = state.created.filter.matrix
    instances = []
    for combination in combinations:
        if not _is_wanted(combination.values, wanted):
            continue
        context = _strategy_context(fail_fast, combination.index, combination.total, max_parallel)
        name = _name(state, job, contexts, combination, context)
        key = f"{job.path}({combination.index})"
        instances.append(JobInstance(key=key, name=name, matrix=combination.values, strategy=context))
    return tuple(instances)


def strategy_of(strategy: Strategy | None, contexts: dict[str, Any]) -> tuple[bool, int]:
    """`fail-fast` (true when not given) and `max-parallel` (0: no limit). Raises Refusal."""
    if strategy is None:
        return True, 0
    fields = _fields(strategy, contexts)
    fail_fast = "fail-fast" not in fields or as_flag(fields["fail-fast"], strategy.position, what="fail-fast")
    if "max-parallel" not in fields:
        return fail_fast, 0
    number = to_number(fields["max-parallel"])
    if isinstance(fields["max-parallel"], bool) or not math.isfinite(number):
        raise Refusal(f"{strategy.position}: max-parallel must be a number")
    # As in GitHub's runner, a number that is not above 0 is no limit.
    return fail_fast, max(0, int(number))


def _fields(strategy: Strategy, contexts: dict[str, Any]) -> dict[str, Any]:
    """What stands below `strategy:`, evaluated. Raises Refusal."""
    if strategy.whole is None:
        written = {
            "matrix": strategy.matrix,
            "fail-fast": strategy.fail_fast,
            "max-parallel": strategy.max_parallel,
        }
        return {name: value_of(item, contexts) for name, item in written.items() if item is not None}
    value = value_of(strategy.whole, contexts)
    if not isinstance(value, dict):
        raise Refusal(f"{strategy.position}: strategy must be a mapping")
    unknown = [name for name in value if name not in _FIELDS]
    if unknown:
        raise Refusal(f"{strategy.position}: strategy has no key '{unknown[0]}'")
    return value


def _combinations(matrix: Any, position: Position, job: JobState) -> list[Combination]:
    try:
        return expand(matrix, position=position, job=job.job.id)
    except InvalidInput as error:
        raise Refusal(error.message) from error


def _strategy_context(fail_fast: bool, index: int, total: int, max_parallel: int) -> dict[str, Any]:
    return {
        "fail-fast": fail_fast,
        "job-index": index,
        "job-total": total,
        "max-parallel": max_parallel or total,
    }


def _is_wanted(values: dict[str, Any], wanted: dict[str, tuple[str, ...]]) -> bool:
    return all(name not in values or shown_value(values[name]) in texts for name, texts in wanted.items())


def shown_value(value: Any) -> str:
    """A value of a matrix as people name it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _name(
    state: RunState,
    job: JobState,
    contexts: dict[str, Any],
    combination: Combination | None,
    strategy: dict[str, Any],
) -> str:
    """GitHub adds the matrix values only to names that hold no expression of their own."""
    template = job.job.name
    base = job.job.id
    if template is not None:
        matrix = combination.values if combination is not None else {}
        base = text_of(template, {**contexts, "matrix": matrix, "strategy": strategy}, what="name")
    if combination is not None and (template is None or not any(expressions_in(template.value))):
        base = combination.name(base)
    caller = state.frame_of(job).caller
    return f"{state.instances[caller].name} / {base}" if caller else base
