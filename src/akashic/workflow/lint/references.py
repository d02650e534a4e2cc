"""Rule `reference`: what an expression reads exists — steps, needs and their outputs, inputs, matrix
variables. On GitHub what does not exist is empty and the workflow runs, at times on purpose
(`matrix.os || 'x'`): these are warnings."""

from __future__ import annotations

from akashic.source.data import Problems
from akashic.source.yaml import Mapping, Node, Scalar, Sequence
from akashic.workflow.expressions.ast import Index
from akashic.workflow.expressions.ast import Node as Tree
from akashic.workflow.lint.document import Chain, Document, Found, JobNode, StepNode, chains

_STEP_PROPERTIES = ("outputs", "conclusion", "outcome")
_NEED_PROPERTIES = ("outputs", "result")
_INPUT_EVENTS = ("workflow_dispatch", "workflow_call")


def check(document: Document, problems: Problems) -> None:
    """Look at every expression of the file."""
    inputs = _input_names(document)
    jobs = {job.key.text.lower(): job for job in document.jobs}
    for found in document.expressions():
        for chain in chains(found.expression.root):
            if chain.context == "inputs":
                _check_input(found, chain, inputs, problems)
            elif chain.context == "jobs" and found.path[:1] == ("on",):
                _check_job(found, chain, jobs, problems)
    for job in document.jobs:
        _check_job_expressions(document, job, jobs, problems)


def _check_job_expressions(
    document: Document, job: JobNode, jobs: dict[str, JobNode], problems: Problems
) -> None:
    matrix = _matrix_names(job)
    ids = {step.text("id").lower(): step for step in reversed(job.steps) if step.text("id")}
    for key, node in job.mapping.entries:
        if key.text == "steps":
            continue
        for found in document.expressions(node, (key.text,)):
            for chain in chains(found.expression.root):
                _check_need(found, chain, job, jobs, problems)
                _check_matrix(found, chain, matrix, problems)
                _check_step(document, found, chain, ids, len(job.steps), problems)
    for step in job.steps:
        for key, node in step.mapping.entries:
            if key.text == "parallel":
                continue
            for found in document.expressions(node, (key.text,)):
                for chain in chains(found.expression.root):
                    _check_need(found, chain, job, jobs, problems)
                    _check_matrix(found, chain, matrix, problems)
                    _check_step(document, found, chain, ids, step.number, problems)


def _report(problems: Problems, found: Found, chain: Chain, message: str, hint: str = "") -> None:
    problems.add(found.place(_base(chain)), message, hint=hint, rule="reference", severity="warning")


def _base(chain: Chain) -> Tree:
    tree = chain.tree
    while isinstance(tree, Index):
        tree = tree.target
    return tree


def _check_step(
    document: Document,
    found: Found,
    chain: Chain,
    ids: dict[str, StepNode],
    before: int,
    problems: Problems,
) -> None:
    if chain.context != "steps" or not chain.keys or chain.keys[0] is None:
        return
    name = chain.written[1]
    step = ids.get(chain.keys[0])
    if step is None or step.number >= before:
        message = (
            f"the step `{name}` does not come before this"
            if step
            else f"there is no step with the id `{name}`"
        )
        _report(problems, found, chain, message, "" if step else problems.hint(name, ids))
        return
    if len(chain.keys) > 1 and chain.keys[1] is not None and chain.keys[1] not in _STEP_PROPERTIES:
        message = f"a step has no `{chain.written[2]}`"
        _report(problems, found, chain, message, problems.hint(chain.written[2], _STEP_PROPERTIES))
    elif len(chain.keys) > 2 and chain.keys[1] == "outputs" and chain.keys[2] is not None:
        action = document.action(step.text("uses"))
        outputs = {output.lower() for output in action.outputs} if action else {chain.keys[2]}
        if chain.keys[2] not in outputs:
            problems.add(
                found.place(chain.tree),
                f"the action `{step.text('uses')}` declares no output `{chain.written[3]}`",
                hint=problems.hint(chain.written[3], action.outputs if action else ()),
                rule="reference",
                severity="warning",
            )


def _check_need(
    found: Found, chain: Chain, job: JobNode, jobs: dict[str, JobNode], problems: Problems
) -> None:
    if chain.context != "needs" or not chain.keys or chain.keys[0] is None:
        return
    name = chain.written[1]
    if chain.keys[0] not in job.needs:
        exists = chain.keys[0] in jobs
        hint = f"add `{name}` to its `needs`" if exists else problems.hint(name, job.needs.values())
        _report(problems, found, chain, f"the job `{job.key.text}` does not need `{name}`", hint)
        return
    _check_outputs(found, chain, jobs.get(chain.keys[0]), problems, _NEED_PROPERTIES)


def _check_job(found: Found, chain: Chain, jobs: dict[str, JobNode], problems: Problems) -> None:
    if not chain.keys or chain.keys[0] is None:
        return
    job = jobs.get(chain.keys[0])
    if job is None:
        names = [known.key.text for known in jobs.values()]
        hint = problems.hint(chain.written[1], names)
        _report(problems, found, chain, f"there is no job `{chain.written[1]}`", hint)
        return
    _check_outputs(found, chain, job, problems, _NEED_PROPERTIES)


def _check_outputs(
    found: Found, chain: Chain, job: JobNode | None, problems: Problems, properties: tuple[str, ...]
) -> None:
    if job is None or len(chain.keys) < 2 or chain.keys[1] is None:
        return
    if chain.keys[1] not in properties:
        message = f"a job has no `{chain.written[2]}`"
        _report(problems, found, chain, message, problems.hint(chain.written[2], properties))
        return
    if len(chain.keys) < 3 or chain.keys[2] is None or job.mapping.get("uses") is not None:
        return
    if chain.keys[1] == "outputs" and chain.keys[2] not in job.outputs:
        message = f"the job `{job.key.text}` has no output `{chain.written[3]}`"
        _report(problems, found, chain, message, problems.hint(chain.written[3], job.outputs.values()))


def _input_names(document: Document) -> set[str] | None:
    """The names of all inputs in lower case; None when the workflow has no event with inputs."""
    on = document.root.get("on")
    names: set[str] = set()
    found = False
    for event in _INPUT_EVENTS:
        if not _has_event(on, event):
            continue
        found = True
        trigger = on.get(event) if isinstance(on, Mapping) else None
        inputs = trigger.get("inputs") if isinstance(trigger, Mapping) else None
        if isinstance(inputs, Mapping):
            names.update(key.text.lower() for key, _ in inputs.entries)
    return names if found else None


def _has_event(on: Node | None, event: str) -> bool:
    if isinstance(on, Scalar):
        return on.text == event
    if isinstance(on, Sequence):
        return any(isinstance(item, Scalar) and item.text == event for item in on.items)
    return isinstance(on, Mapping) and any(key.text == event for key, _ in on.entries)


def _check_input(found: Found, chain: Chain, inputs: set[str] | None, problems: Problems) -> None:
    if not chain.keys or chain.keys[0] is None:
        return
    name = chain.written[1]
    if inputs is None:
        problems.add(
            found.place(_base(chain)),
            f"the workflow has no inputs, so `inputs.{name}` is empty",
            hint="inputs belong to `workflow_dispatch` and `workflow_call`",
            rule="reference",
            severity="warning",
        )
    elif chain.keys[0] not in inputs:
        _report(problems, found, chain, f"there is no input `{name}`", problems.hint(name, inputs))


def _matrix_names(job: JobNode) -> set[str] | None:
    """The matrix's variables in lower case, None when they are known only when it runs."""
    strategy = job.mapping.get("strategy")
    if strategy is None:
        return set()
    matrix = strategy.get("matrix") if isinstance(strategy, Mapping) else None
    if matrix is None and isinstance(strategy, Mapping):
        return set()
    if not isinstance(matrix, Mapping):
        return None
    names: set[str] = set()
    for key, value in matrix.entries:
        if "${{" in key.text:
            return None
        if key.text == "exclude":
            continue
        if key.text != "include":
            names.add(key.text.lower())
            continue
        if not isinstance(value, Sequence):
            return None
        for item in value.items:
            if not isinstance(item, Mapping):
                return None
            names.update(name.text.lower() for name, _ in item.entries)
    return names


def _check_matrix(found: Found, chain: Chain, names: set[str] | None, problems: Problems) -> None:
    if chain.context != "matrix" or names is None or not chain.keys or chain.keys[0] is None:
        return
    if chain.keys[0] not in names:
        name = chain.written[1]
        message = f"the matrix has no variable `{name}`" if names else "the job has no matrix"
        _report(problems, found, chain, message, problems.hint(name, names))
