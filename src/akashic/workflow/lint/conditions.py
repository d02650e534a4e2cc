"""Rules `condition` and `unreachable`: conditions that are always true by mistake, and what can never run."""

from __future__ import annotations

from akashic.source.data import Problems
from akashic.source.yaml import Mapping, Node, Scalar, Sequence
from akashic.workflow.expressions import (
    ExpressionError,
    Scope,
    Status,
    evaluate,
    parse_expression,
    split_template,
)
from akashic.workflow.expressions.ast import Compare, Literal, Logical
from akashic.workflow.expressions.ast import Node as Tree
from akashic.workflow.expressions.coercion import truthy
from akashic.workflow.lint.document import Document, JobNode, chain_of


def check(document: Document, problems: Problems) -> None:
    """Look at the `if` of every job and step."""
    events = _events(document.root.get("on"))
    never: set[str] = set()
    for job in document.jobs:
        if _check_if(job.mapping, f"the job `{job.key.text}`", events, problems):
            never.add(job.key.text)
        for step in job.steps:
            _check_if(step.mapping, "the step", events, problems)
    for job in document.jobs:
        blocked = [need for need in job.needs if need in never]
        if blocked and job.key.text not in never and not _runs_anyway(job):
            problems.add(
                job.key.position,
                f"the job `{job.key.text}` never runs, because it needs `{blocked[0]}`, which never runs",
                hint="give it an `if` with always() if it should run anyway",
                rule="unreachable",
                severity="warning",
            )


def _events(on: Node | None) -> set[str]:
    if isinstance(on, Scalar):
        return {on.text}
    if isinstance(on, Sequence):
        return {item.text for item in on.items if isinstance(item, Scalar)}
    return {key.text for key, _ in on.entries} if isinstance(on, Mapping) else set()


def _runs_anyway(job: JobNode) -> bool:
    node = job.mapping.get("if")
    return isinstance(node, Scalar) and "(" in node.text


def _check_if(mapping: Mapping, what: str, events: set[str], problems: Problems) -> bool:
    """Whether the condition never holds."""
    node = mapping.get("if")
    if not isinstance(node, Scalar) or not node.text.strip():
        return False
    text = node.text
    if "${{" in text:
        try:
            segments = split_template(text)
        except ExpressionError:
            return False
        if len(segments) > 1:
            problems.add(
                node.position,
                "this condition is always true, because there is text around `${{ }}`",
                hint="a block (`|`, `>`) ends with a line break, which is text too: use `|-`"
                if node.style in ("|", ">")
                else "write one expression; `${{ }}` can be left out in `if`",
                rule="condition",
                severity="warning",
            )
            return False
        text = segments[0][0]
    try:
        expression = parse_expression(text)
    except ExpressionError:
        return False
    wrong = _never(expression.root, events)
    if not wrong and not expression.contexts and not expression.functions:
        try:
            holds = truthy(evaluate(text, Scope(contexts={}, status=Status())))
        except ExpressionError:
            return False
        wrong = "" if holds else "its condition is always false"
    if wrong:
        problems.add(node.position, f"{what} never runs: {wrong}", rule="unreachable", severity="warning")
    return bool(wrong)


def _never(tree: Tree, events: set[str]) -> str:
    """Why a condition can never hold, as far as the events tell."""
    if isinstance(tree, Logical):
        reasons = [_never(operand, events) for operand in tree.operands]
        found = any(reasons) if tree.operator == "&&" else all(reasons)
        return next(reason for reason in reasons if reason) if found else ""
    if not isinstance(tree, Compare) or tree.operator != "==":
        return ""
    for one, other in ((tree.left, tree.right), (tree.right, tree.left)):
        chain = chain_of(one)
        if chain is None or (chain.context, *chain.keys) != ("github", "event_name"):
            continue
        # A called workflow sees its caller's event, which can be any.
        if not events or "workflow_call" in events or not isinstance(other, Literal):
            continue
        if isinstance(other.value, str) and other.value.lower() not in events:
            return f"the workflow does not run on `{other.value}`"
    return ""
