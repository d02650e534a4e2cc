"""A job whose `if` holds becomes its instances: the matrix, keys, names and the `strategy` context.

Source: GitHub's "Workflow syntax" (`jobs.<job_id>.strategy`, `jobs.<job_id>.name`), "Contexts" (`strategy`).
"""

from __future__ import annotations

from typing import Any

from akashic.engine.contexts import job_contexts
from akashic.engine.evaluation import Refusal, flag_of, number_of, text_of, value_of
from akashic.engine.events import JobInstance
from akashic.engine.runstate import JobState, RunState
from akashic.source.position import InvalidInput
from akashic.workflow.expressions import expressions_in
from akashic.workflow.matrix import Combination, expand
from akashic.workflow.model import Strategy, Template


def instances_of(state: RunState, job: JobState) -> tuple[JobInstance, ...]:
    """The instances of a job, as the user's filter leaves them, maybe none. Raises Refusal."""
    contexts = job_contexts(state, job)
    fail_fast, max_parallel = strategy_of(job.job.strategy, contexts)
    strategy = job.job.strategy
    if strategy is None or strategy.matrix is None:
        context = _strategy_context(fail_fast, 0, 1, max_parallel)
        name = _name(state, job, contexts, None, context)
        return (JobInstance(key=job.path, name=name, strategy=context),)
    combinations = _combinations(strategy.matrix, contexts, job)
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
    fail_fast = flag_of(strategy.fail_fast, contexts, what="fail-fast", default=True)
    if strategy.max_parallel is None:
        return fail_fast, 0
    return fail_fast, max(1, int(number_of(strategy.max_parallel, contexts, what="max-parallel")))


def _combinations(matrix: Template, contexts: dict[str, Any], job: JobState) -> list[Combination]:
    value = value_of(matrix, contexts)
    try:
        return expand(value, position=matrix.position, job=job.job.id)
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
    return all(name not in values or _shown(values[name]) in texts for name, texts in wanted.items())


def _shown(value: Any) -> str:
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
