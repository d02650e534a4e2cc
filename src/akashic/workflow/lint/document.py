"""A workflow file as the rules look at it: jobs, steps, and every expression with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from akashic.source.position import Position
from akashic.source.yaml import Mapping, Node, Scalar, Sequence
from akashic.workflow.action import ActionMetadata
from akashic.workflow.expressions import Expression, ExpressionError, parse_expression, split_template
from akashic.workflow.expressions.ast import Context, Index, Literal
from akashic.workflow.expressions.ast import Node as Tree
from akashic.workflow.expressions.template import is_insert
from akashic.workflow.model import Workflow
from akashic.workflow.parse_common import walk

ResolveAction = Callable[[str], ActionMetadata | None]
_CONDITIONS = frozenset({"if"})


class StepNode(msgspec.Struct, frozen=True):
    """One step; `number` counts all steps of the job in file order."""

    mapping: Mapping
    number: int

    def text(self, key: str) -> str:
        """The text of a scalar value, empty when there is none."""
        node = self.mapping.get(key)
        return node.text if isinstance(node, Scalar) else ""


class JobNode(msgspec.Struct, frozen=True):
    """One job with its steps, those inside `parallel` too."""

    key: Scalar
    mapping: Mapping
    steps: tuple[StepNode, ...]
    needs: dict[str, str]
    """As written, by the name in lower case."""
    outputs: dict[str, str]
    """The same for the names of its outputs."""


class Found(msgspec.Struct, frozen=True):
    """One expression: in which scalar, from which character of it, below which keys."""

    scalar: Scalar
    expression: Expression
    offset: int
    path: tuple[str, ...]
    embedded: bool

    def place(self, tree: Tree) -> Position:
        """Where a part of the expression begins."""
        while isinstance(tree, Index):
            tree = tree.target
        return self.scalar.place(self.offset + tree.offset)


class Chain(msgspec.Struct, frozen=True):
    """`github.event.x[…].*` as its context and keys, in lower case; None for a key that is not known or
    `*`."""

    context: str
    keys: tuple[str | None, ...]
    tree: Tree
    written: tuple[str, ...]


class Document:
    """The file's nodes, its jobs and steps, and the parsed workflow when there is one."""

    def __init__(self, root: Mapping, workflow: Workflow | None, resolve_action: ResolveAction) -> None:
        self.root = root
        self.workflow = workflow
        self._resolve = resolve_action
        self._actions: dict[str, ActionMetadata | None] = {}
        self._parsed: dict[tuple[int, bool], tuple[tuple[Expression, int, bool], ...]] = {}
        self.jobs = tuple(_jobs(root))

    def action(self, uses: str) -> ActionMetadata | None:
        """The metadata of an action, asked for once."""
        if uses not in self._actions:
            known = uses and "${{" not in uses and not uses.startswith("docker://")
            self._actions[uses] = self._resolve(uses) if known else None
        return self._actions[uses]

    def expressions(self, node: Node | None = None, path: tuple[str, ...] = ()) -> Iterator[Found]:
        """Every expression below a node (the whole file by default) that can be parsed."""
        at = self.root if node is None else node
        if isinstance(at, Scalar):
            yield from self.in_scalar(at, path)
        elif isinstance(at, Sequence):
            for index, item in enumerate(at.items):
                yield from self.expressions(item, (*path, str(index)))
        else:
            for key, value in at.entries:
                if "${{" in key.text:
                    yield from self.in_scalar(key, path)
                yield from self.expressions(value, (*path, key.text))

    def in_scalar(self, scalar: Scalar, path: tuple[str, ...] = ()) -> Iterator[Found]:
        """The expressions of one scalar; one below the key `if` is an expression as a whole."""
        condition = bool(path) and path[-1] in _CONDITIONS
        # Many rules look at the same scalars; nodes live as long as the document, so that ids are theirs.
        known = self._parsed.get((id(scalar), condition))
        if known is None:
            known = tuple(_scalar_expressions(scalar, condition))
            self._parsed[id(scalar), condition] = known
        for expression, offset, embedded in known:
            yield Found(scalar, expression, offset, path, embedded)


def _jobs(root: Mapping) -> Iterator[JobNode]:
    jobs = root.get("jobs")
    for key, node in jobs.entries if isinstance(jobs, Mapping) else ():
        if isinstance(node, Mapping):
            found: list[StepNode] = []
            _steps(node.get("steps"), found, 0)
            needs = node.get("needs")
            items = needs.items if isinstance(needs, Sequence) else (needs,)
            outputs = node.get("outputs")
            yield JobNode(
                key,
                node,
                tuple(found),
                {item.text.lower(): item.text for item in items if isinstance(item, Scalar)},
                {name.text.lower(): name.text for name, _ in outputs.entries}
                if isinstance(outputs, Mapping)
                else {},
            )


def _steps(node: Node | None, found: list[StepNode], depth: int) -> None:
    for item in node.items if isinstance(node, Sequence) else ():
        if isinstance(item, Mapping):
            found.append(StepNode(item, len(found)))
            if depth == 0:
                _steps(item.get("parallel"), found, depth + 1)


def _scalar_expressions(scalar: Scalar, condition: bool) -> Iterator[tuple[Expression, int, bool]]:
    """(the expression, its offset, whether there is text around it)."""
    text = scalar.text
    if "${{" not in text:
        parsed = _parsed(text) if condition and text.strip() else None
        if parsed is not None:
            yield parsed, 0, False
        return
    if is_insert(text):
        return
    try:
        segments = split_template(text)
    except ExpressionError:
        return
    for part, is_expression, offset in segments:
        parsed = _parsed(part) if is_expression else None
        if parsed is not None:
            yield parsed, offset, len(segments) > 1


def _parsed(text: str) -> Expression | None:
    try:
        return parse_expression(text)
    except ExpressionError:
        return None


def chain_of(tree: Tree) -> Chain | None:
    """A property access as a chain; None when it does not start at a context."""
    keys: list[str | None] = []
    written: list[str] = []
    at = tree
    while isinstance(at, Index):
        index = at.index
        literal = isinstance(index, Literal) and isinstance(index.value, str)
        text = index.value if isinstance(index, Literal) and literal else None
        keys.append(text.lower() if text is not None else None)
        written.append(text if text is not None else "*")
        at = at.target
    if not isinstance(at, Context):
        return None
    return Chain(at.name.lower(), tuple(reversed(keys)), tree, (at.name, *reversed(written)))


def chains(root: Tree) -> Iterator[Chain]:
    """The longest chains of an expression."""
    inner: set[int] = set()
    for tree in walk(root):
        if isinstance(tree, (Index, Context)) and id(tree) not in inner:
            at: Tree = tree
            while isinstance(at, Index):
                at = at.target
                inner.add(id(at))
            chain = chain_of(tree)
            if chain is not None:
                yield chain
