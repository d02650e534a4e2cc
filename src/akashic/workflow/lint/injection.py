"""Rule `script-injection`: nothing that a stranger can write becomes part of a script.

Source: GitHub's "Security hardening: script injections". Titles, texts, branch names and commit messages come
from whoever opens an issue or a pull request; pasted into `run:` they are code. They are followed through
`env`, job outputs and functions.
"""

from __future__ import annotations

from typing import Any

from akashic.source.data import Problems
from akashic.source.position import Position
from akashic.source.yaml import Mapping, Node, Scalar, Sequence
from akashic.workflow.action import ActionMetadata
from akashic.workflow.expressions import ExpressionError, expressions_in, parse_expression
from akashic.workflow.expressions.ast import Call, Index, Logical
from akashic.workflow.expressions.ast import Node as Tree
from akashic.workflow.lint.document import Chain, Document, JobNode, StepNode, chain_of

_PERSON = "name email username"
_PATHS = """
    head_ref
    event.issue.title event.issue.body event.issue.user.name event.issue.milestone.title
    event.issue.milestone.description event.issue.labels.*.name event.issue.labels.*.description
    event.pull_request.title event.pull_request.body event.pull_request.head.ref event.pull_request.head.label
    event.pull_request.head.repo.default_branch event.pull_request.head.repo.description
    event.pull_request.head.repo.homepage event.pull_request.milestone.title event.pull_request.labels.*.name
    event.comment.body event.review.body event.review_comment.body event.discussion.title
    event.discussion.body event.answer.body event.changes.title.from event.changes.body.from
    event.changes.head.ref.from event.pages.*.page_name event.pages.*.title event.pages.*.summary
    event.commits.*.message event.commits.*.added event.commits.*.modified event.commits.*.removed
    event.head_commit.message event.head_commit.added event.head_commit.modified event.head_commit.removed
    event.workflow_run.head_branch event.workflow_run.display_title event.workflow_run.head_commit.message
    event.workflow_run.head_repository.description event.workflow_run.pull_requests.*.head.ref
    event.check_suite.head_branch event.check_run.check_suite.head_branch event.check_run.output.title
    event.check_run.output.summary event.check_run.output.text event.deployment.description
    event.deployment.payload event.milestone.title event.milestone.description event.label.name
    event.label.description event.release.name event.release.body event.release.tag_name
    event.release.target_commitish event.registry_package.description event.client_payload
    event.project_card.note event.merge_group.head_ref event.merge_group.head_commit.message
"""
_PEOPLE = """
    event.commits.*.author event.commits.*.committer event.head_commit.author event.head_commit.committer
    event.workflow_run.head_commit.author event.workflow_run.head_commit.committer
    event.merge_group.head_commit.author event.merge_group.head_commit.committer event.pusher
"""
_REFS = frozenset({("ref",), ("ref_name",), ("event", "ref"), ("event", "base_ref")})
"""Written by whoever may push: reported as a warning."""
UNTRUSTED = frozenset(tuple(path.split(".")) for path in _PATHS.split()) | frozenset(
    (*path.split("."), name) for path in _PEOPLE.split() for name in _PERSON.split()
)
"""Paths below `github` that a stranger can write."""
SCRIPT_INPUTS: dict[str, frozenset[str]] = {
    "actions/github-script": frozenset({"script"}),
    "azure/cli": frozenset({"inlinescript"}),
    "azure/powershell": frozenset({"inlinescript"}),
    "appleboy/ssh-action": frozenset({"script"}),
    "nick-fields/retry": frozenset({"command"}),
    "nick-invision/retry": frozenset({"command"}),
    "amadevus/pwsh-script": frozenset({"script"}),
    "jannekem/run-python-script-action": frozenset({"script"}),
    "cardinalby/js-eval-action": frozenset({"expression"}),
    "mikefarah/yq": frozenset({"cmd"}),
    "addnab/docker-run-action": frozenset({"run"}),
    "gradle/gradle-build-action": frozenset({"arguments"}),
}
"""Inputs of actions that are run as code, by the action's `owner/repo` in lower case."""
_PASSING = frozenset({"format", "join", "tojson", "fromjson", "case"})
_RANK = {"": 0, "warning": 1, "error": 2}

Tainted = dict[tuple[str, ...], str]
"""Paths like ("env", "title") to "error" or "warning"."""


def check(document: Document, problems: Problems) -> None:
    """Look at every script."""
    outputs = _outputs(document)
    workflow: Tainted = {}
    _env_taint(document, document.root.get("env"), workflow)
    for job in document.jobs:
        base = _job_taint(document, job, workflow, outputs)
        for step in job.steps:
            tainted = base
            env = step.mapping.get("env")
            if env is not None:
                tainted = dict(base)
                _env_taint(document, env, tainted)
            for node in _scripts(step):
                _check_script(document, node, tainted, problems)
            _check_called(document, step, tainted, problems)


def check_action(document: Document, action: ActionMetadata, problems: Problems) -> None:
    """Look at the scripts of a composite action; its inputs hold what a caller gives."""
    runs = document.root.get("runs")
    steps = runs.get("steps") if isinstance(runs, Mapping) else None
    inputs: Tainted = {("inputs", name.lower()): "warning" for name in action.inputs}
    for number, item in enumerate(steps.items if isinstance(steps, Sequence) else ()):
        if isinstance(item, Mapping):
            step = StepNode(item, number)
            tainted = dict(inputs)
            _env_taint(document, item.get("env"), tainted)
            for node in _scripts(step):
                _check_script(document, node, tainted, problems)


def _check_called(document: Document, step: StepNode, tainted: Tainted, problems: Problems) -> None:
    """What a step hands to a composite action whose script it becomes a part of."""
    given = step.mapping.get("with")
    action = document.action(step.text("uses")) if isinstance(given, Mapping) else None
    if action is None or action.runs.using != "composite" or not isinstance(given, Mapping):
        return
    for key, value in given.entries:
        level = _scalar_taint(document, value, tainted)
        place = _script_with(action, key.text.lower(), level) if level else None
        if place is not None:
            problems.add(
                value.position,
                f"`{key.text}` can hold what a stranger wrote, and the action `{step.text('uses')}` makes it "
                f"part of a script ({place})",
                hint="the action should put its input into `env:` and use the variable in quotes",
                rule="script-injection",
                severity="error" if level == "error" else "warning",
            )


def _script_with(action: ActionMetadata, name: str, level: str) -> Position | None:
    """Where a composite action makes an input part of a script."""
    for step in action.runs.steps:
        tainted: Tainted = {("inputs", name): level}
        for variable, value in (
            step.env.value if step.env and isinstance(step.env.value, dict) else {}
        ).items():
            if _text_taint(value, tainted):
                tainted["env", str(variable).lower()] = level
        inputs = SCRIPT_INPUTS.get("/".join((step.uses or "").partition("@")[0].lower().split("/")[:2]), ())
        given = step.with_.value if step.with_ and isinstance(step.with_.value, dict) else {}
        texts = [step.run.value if step.run else "", *(v for k, v in given.items() if k.lower() in inputs)]
        if any(_text_taint(text, tainted) for text in texts):
            return step.run.position if step.run else step.position
    return None


def _text_taint(text: Any, tainted: Tainted) -> bool:
    try:
        expressions = list(expressions_in(text)) if isinstance(text, str) else []
        return any(_taint(parse_expression(item).root, tainted, False) for item in expressions)
    except ExpressionError:
        return False


def _outputs(document: Document) -> dict[str, Tainted]:
    """The outputs of each job that carry what a stranger wrote, along any chain of needs."""
    workflow: Tainted = {}
    _env_taint(document, document.root.get("env"), workflow)
    outputs: dict[str, Tainted] = {}
    for job in _in_order(document):
        tainted = _job_taint(document, job, workflow, outputs)
        name = job.key.text.lower()
        node = job.mapping.get("outputs")
        found: Tainted = {}
        for key, value in node.entries if isinstance(node, Mapping) else ():
            level = _scalar_taint(document, value, tainted)
            if level:
                found["needs", name, "outputs", key.text.lower()] = level
        outputs[name] = found
    return outputs


def _in_order(document: Document) -> list[JobNode]:
    """The jobs, each after the ones that it needs; a circle is cut anywhere."""
    jobs = {job.key.text.lower(): job for job in document.jobs}
    ordered: dict[str, JobNode] = {}
    seen: set[str] = set()
    for start in jobs:
        stack = [(start, False)]
        while stack:
            name, ready = stack.pop()
            if ready:
                ordered[name] = jobs[name]
            elif name in jobs and name not in seen:
                seen.add(name)
                stack.append((name, True))
                stack.extend((need, False) for need in jobs[name].needs)
    return list(ordered.values())


def _job_taint(document: Document, job: JobNode, workflow: Tainted, outputs: dict[str, Tainted]) -> Tainted:
    tainted = dict(workflow)
    for need in job.needs:
        tainted |= outputs.get(need, {})
    _env_taint(document, job.mapping.get("env"), tainted)
    return tainted


def _env_taint(document: Document, node: Node | None, tainted: Tainted) -> None:
    for key, value in node.entries if isinstance(node, Mapping) else ():
        path = ("env", key.text.lower())
        level = _scalar_taint(document, value, tainted)
        if level:
            tainted[path] = level
        else:
            tainted.pop(path, None)


def _scalar_taint(document: Document, node: Node, tainted: Tainted) -> str:
    if not isinstance(node, Scalar) or "${{" not in node.text:
        return ""
    levels = [_taint(found.expression.root, tainted, False) for found in document.in_scalar(node)]
    return max(levels, key=_RANK.__getitem__, default="")


def _scripts(step: StepNode) -> list[Scalar]:
    nodes: list[Node | None] = [step.mapping.get("run"), step.mapping.get("shell")]
    uses = step.text("uses").partition("@")[0].lower()
    inputs = SCRIPT_INPUTS.get("/".join(uses.split("/")[:2]), frozenset())
    given = step.mapping.get("with")
    for key, value in given.entries if isinstance(given, Mapping) else ():
        if key.text.lower() in inputs:
            nodes.append(value)
    return [node for node in nodes if isinstance(node, Scalar)]


def _check_script(document: Document, node: Scalar, tainted: Tainted, problems: Problems) -> None:
    for found in document.in_scalar(node):
        level = _taint(found.expression.root, tainted, False)
        if level:
            problems.add(
                found.place(found.expression.root),
                f"`${{{{ {found.expression.text.strip()[:80]} }}}}` can hold what a stranger wrote, "
                "and becomes part of the script",
                hint='put it into `env:` of the step and use the variable in quotes: "$NAME"',
                rule="script-injection",
                severity="error" if level == "error" else "warning",
            )


def _taint(tree: Tree, tainted: Tainted, whole: bool) -> str:
    """How bad the value of an expression is; `whole` when objects are printed with all they hold."""
    chain = chain_of(tree)
    if chain is not None:
        return _chain_taint(chain, tainted, whole)
    parts: tuple[Tree, ...] = ()
    if isinstance(tree, Logical):
        # The earlier operands of `&&` are seen only when they are empty, false or 0.
        parts = tree.operands if tree.operator == "||" else tree.operands[-1:]
    elif isinstance(tree, Call) and tree.name in _PASSING:
        whole = whole or tree.name == "tojson"
        parts = (*tree.arguments[1::2], tree.arguments[-1]) if tree.name == "case" else tree.arguments
    elif isinstance(tree, Index):
        parts, whole = (tree.target,), True
    levels = [_taint(part, tainted, whole) for part in parts]
    return max(levels, key=_RANK.__getitem__, default="")


def _chain_taint(chain: Chain, tainted: Tainted, whole: bool) -> str:
    if chain.context == "github":
        found = ""
        for path in UNTRUSTED:
            if _covers(path, chain.keys, whole):
                return "error"
        for path in _REFS:
            if _covers(path, chain.keys, whole):
                found = "warning"
        return found
    at: tuple[Any, ...] = (chain.context, *chain.keys)
    if not whole and None not in at:
        known: dict[Any, str] = tainted
        found_levels = (known.get(at[:length], "") for length in range(2, len(at) + 1))
        return next((level for level in found_levels if level), "")
    levels = [
        level
        for path, level in tainted.items()
        if path[0] == chain.context and _covers(path[1:], chain.keys, whole)
    ]
    return max(levels, key=_RANK.__getitem__, default="")


def _covers(path: tuple[str, ...], keys: tuple[str | None, ...], whole: bool) -> bool:
    """Whether a chain reads the path or something below it; with `whole`, something above it too."""
    if len(keys) < len(path) and not whole:
        return False
    return all(key is None or part == "*" or key == part for part, key in zip(path, keys, strict=False))
