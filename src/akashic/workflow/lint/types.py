"""Rule `type`: values are used as what they are, and calls with constant arguments work."""

from __future__ import annotations

from akashic.source.data import Problems
from akashic.workflow.contexts import GITHUB_PROPERTIES, KNOWN_CONTEXTS
from akashic.workflow.expressions import ExpressionError, Scope, evaluate
from akashic.workflow.expressions.ast import Call, Compare, Index, Literal
from akashic.workflow.expressions.ast import Node as Tree
from akashic.workflow.expressions.functions import Budget, format_
from akashic.workflow.lint.document import Chain, Document, Found, chain_of, chains
from akashic.workflow.parse_common import walk

_PROPERTIES: dict[str, frozenset[str]] = {
    "github": GITHUB_PROPERTIES,
    "runner": frozenset(["name", "os", "arch", "temp", "tool_cache", "workspace", "debug", "environment"]),
    "strategy": frozenset(["fail-fast", "job-index", "job-total", "max-parallel"]),
    "job": frozenset(
        [
            "container",
            "services",
            "status",
            "check_run_id",
            "workflow_ref",
            "workflow_sha",
            "workflow_repository",
            "workflow_file_path",
        ]
    ),
}
_OBJECT_KEYS = frozenset({("github", "event"), ("job", "container"), ("job", "services")})


def check(document: Document, problems: Problems) -> None:
    """Look at every expression of the file."""
    for found in document.expressions():
        for chain in chains(found.expression.root):
            _check_property(found, chain, problems)
        for tree in walk(found.expression.root):
            if isinstance(tree, Compare):
                _check_comparison(found, tree, problems)
            elif isinstance(tree, Call):
                _check_call(found, tree, problems)
        if found.embedded or (found.path and found.path[-1] == "run"):
            _check_embedded(found, problems)


def _warn(problems: Problems, found: Found, tree: Tree, message: str, hint: str = "") -> None:
    problems.add(found.place(tree), message, hint=hint, rule="type", severity="warning")


def _check_property(found: Found, chain: Chain, problems: Problems) -> None:
    known = _PROPERTIES.get(chain.context)
    if known and chain.keys and chain.keys[0] is not None and chain.keys[0] not in known:
        name = chain.written[1]
        message = f"the context `{chain.context}` has no `{name}`"
        _warn(problems, found, chain.tree, message, problems.hint(name, known))


def is_object(tree: Tree) -> bool:
    """Whether a value is an object or a list for sure."""
    if isinstance(tree, Index) and tree.index is None:
        return True
    chain = chain_of(tree)
    if chain is None or None in chain.keys:
        return False
    path = (chain.context, *chain.keys)
    if len(path) == 1:
        return chain.context in KNOWN_CONTEXTS
    if chain.context in ("steps", "needs", "jobs"):
        return len(path) == 2 or (len(path) == 3 and path[2] == "outputs")
    return path in _OBJECT_KEYS


def _check_comparison(found: Found, tree: Compare, problems: Problems) -> None:
    for one, other in ((tree.left, tree.right), (tree.right, tree.left)):
        if is_object(one) and isinstance(other, Literal):
            message = "an object or a list never equals a string, a number, true, false or null"
            _warn(problems, found, tree, message, "compare one of its properties")
            return


def _check_call(found: Found, tree: Call, problems: Problems) -> None:
    first = tree.arguments[0] if tree.arguments else None
    if tree.name == "format" and isinstance(first, Literal):
        try:
            format_([first.value, *("" for _ in tree.arguments[1:])], Budget())
        except ValueError as error:
            problems.add(found.place(tree), str(error), rule="type")
    elif tree.name == "fromjson" and isinstance(first, Literal):
        quoted = str(first.value).replace("'", "''")
        try:
            evaluate(f"fromJSON('{quoted}')", Scope(contexts={}))
        except ExpressionError as error:
            problems.add(found.place(tree), error.detail, rule="type")
    elif tree.name in ("contains", "startswith", "endswith") and tree.name != "contains":
        for argument in tree.arguments:
            if is_object(argument):
                message = f"`{tree.written}` is false for an object or a list"
                _warn(problems, found, tree, message)


def _check_embedded(found: Found, problems: Problems) -> None:
    root = found.expression.root
    if is_object(root):
        kind = "Array" if isinstance(root, Index) and root.index is None else "Object"
        message = f"this prints the word `{kind}`"
        _warn(problems, found, root, message, "use toJSON(…) for its contents")
