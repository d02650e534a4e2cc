"""What all parts of the workflow parser share: templates checked where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator

from akashic.source.data import Problems, kind_name
from akashic.source.yaml import Mapping, Node, Scalar, Sequence, to_data
from akashic.workflow.contexts import KNOWN_CONTEXTS, NOTHING, Availability
from akashic.workflow.expressions import ExpressionError, parse_expression, split_template
from akashic.workflow.expressions.ast import Call, Compare, Context, Index, Logical, Not
from akashic.workflow.expressions.ast import Node as Tree
from akashic.workflow.expressions.parser import FUNCTIONS, STATUS_FUNCTIONS, Expression
from akashic.workflow.expressions.template import is_insert
from akashic.workflow.model import RunDefaults, Template

ID_PATTERN = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*\Z")
ID_CHARACTERS_MAX = 100
ID_RULE = "a name starts with a letter or _ and holds only letters, digits, - and _"
SPECIAL_FUNCTIONS = STATUS_FUNCTIONS | {"hashfiles"}

_LEVELS = {"read", "write", "none"}
_SCOPES = frozenset(
    [
        "actions",
        "artifact-metadata",
        "attestations",
        "checks",
        "code-quality",
        "contents",
        "copilot-requests",
        "deployments",
        "discussions",
        "drives",
        "id-token",
        "issues",
        "models",
        "packages",
        "pages",
        "pull-requests",
        "repository-projects",
        "security-events",
        "statuses",
        "vulnerability-alerts",
    ]
)
_SCOPE_LEVELS = {
    "id-token": {"write", "none"},
    "copilot-requests": {"write", "none"},
    "models": {"read", "none"},
    "vulnerability-alerts": {"read", "none"},
}


def has_expression(node: Node) -> bool:
    """Whether a scalar holds `${{`."""
    return isinstance(node, Scalar) and "${{" in node.text


def is_empty(node: Node) -> bool:
    """Whether a scalar is null or an empty string, which GitHub takes for a key that is not there."""
    return isinstance(node, Scalar) and (node.value is None or node.text == "")


def walk(tree: Tree) -> Iterator[Tree]:
    """Every node of a parsed expression."""
    yield tree
    if isinstance(tree, Index):
        yield from walk(tree.target)
        if tree.index is not None:
            yield from walk(tree.index)
    elif isinstance(tree, Not):
        yield from walk(tree.operand)
    elif isinstance(tree, Compare):
        yield from walk(tree.left)
        yield from walk(tree.right)
    elif isinstance(tree, Logical):
        for operand in tree.operands:
            yield from walk(operand)
    elif isinstance(tree, Call):
        for argument in tree.arguments:
            yield from walk(argument)


def scalars(node: Node) -> Iterator[Scalar]:
    """Every scalar in a node, keys included."""
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, Sequence):
        for item in node.items:
            yield from scalars(item)
    else:
        for key, value in node.entries:
            yield key
            yield from scalars(value)


class Reader(Problems):
    """Collects problems, and turns nodes into templates whose expressions were checked."""

    def plain(self, node: Node, what: str, *, empty: bool = False) -> str | None:
        """A text in which no expression is allowed."""
        if has_expression(node):
            self.add(node.position, f"an expression is not allowed in {what}", rule="expression")
            return None
        return self.text(node, what, empty=empty)

    def plains(self, node: Node, what: str) -> tuple[str, ...]:
        """One text or a list of texts in which no expression is allowed."""
        texts = self.texts(node, what)
        for scalar in scalars(node):
            if "${{" in scalar.text:
                self.add(scalar.position, f"an expression is not allowed in {what}", rule="expression")
        return texts

    def template(self, node: Node, availability: Availability) -> Template:
        """Any value; its expressions must parse and use only what is available."""
        for scalar in scalars(node):
            if "${{" in scalar.text and not is_insert(scalar.text):
                self.check_text(scalar, availability)
        return Template(to_data(node), node.position)

    def check_text(self, scalar: Scalar, availability: Availability) -> None:
        """Each expression of a text that holds `${{`."""
        try:
            segments = split_template(scalar.text)
        except ExpressionError as error:
            self.add(scalar.place(error.offset), error.detail, hint=error.hint, rule="expression")
            return
        for text, is_expression, offset in segments:
            if is_expression:
                self.check_expression(scalar, text, offset, availability)

    def check_expression(self, scalar: Scalar, text: str, offset: int, availability: Availability) -> None:
        """One expression that starts at `offset` of the scalar's text."""
        if availability is NOTHING:
            self.add(scalar.place(offset), "an expression is not allowed here", rule="expression")
            return
        try:
            expression = parse_expression(text)
        except ExpressionError as error:
            place = scalar.place(offset + error.offset)
            self.add(place, error.detail, hint=error.hint, rule="expression")
            return
        if expression.contexts <= availability.contexts and not (
            expression.functions & SPECIAL_FUNCTIONS - availability.functions
        ):
            return
        self.check_names(scalar, expression, offset, availability)

    def check_names(
        self, scalar: Scalar, expression: Expression, offset: int, availability: Availability
    ) -> None:
        for tree in walk(expression.root):
            if isinstance(tree, Context) and tree.name.lower() not in availability.contexts:
                known = tree.name.lower() in KNOWN_CONTEXTS
                available = ", ".join(sorted(availability.contexts))
                self.add(
                    scalar.place(offset + tree.offset),
                    f"the context `{tree.name}` is not available here"
                    if known
                    else f"unrecognized named-value `{tree.name}`",
                    hint=f"available here: {available}"
                    if known
                    else self.hint(tree.name, availability.contexts),
                    rule="context",
                )
            elif isinstance(tree, Call) and tree.name in SPECIAL_FUNCTIONS - availability.functions:
                self.add(
                    scalar.place(offset + tree.offset),
                    f"the function `{FUNCTIONS[tree.name][0]}` is not available here",
                    rule="context",
                )

    def condition(self, node: Node, availability: Availability, what: str) -> Template | None:
        """An `if:`, with or without `${{ }}`."""
        if not isinstance(node, Scalar):
            self.add(node.position, f"{what} must be a condition, not {kind_name(node)}")
            return None
        if "${{" in node.text:
            self.check_text(node, availability)
        elif node.text.strip():
            self.check_expression(node, node.text, 0, availability)
        return Template(node.value if not isinstance(node.value, float) else node.text, node.position)

    def scalar(self, node: Node, availability: Availability, what: str) -> Template | None:
        """A single value that may hold expressions."""
        if not isinstance(node, Scalar):
            self.add(node.position, f"{what} must be a single value, not {kind_name(node)}")
            return None
        return self.template(node, availability)

    def string(self, node: Node, availability: Availability, what: str) -> Template | None:
        """A single value that is not empty and may hold expressions."""
        return None if self.text(node, what) is None else self.template(node, availability)

    def flag(self, node: Node, availability: Availability, what: str) -> Template | None:
        """true, false or an expression."""
        if not has_expression(node) and self.boolean(node, what) is None:
            return None
        return self.template(node, availability)

    def number(self, node: Node, availability: Availability, what: str) -> Template | None:
        """A positive number or an expression."""
        if not has_expression(node):
            value = node.value if isinstance(node, Scalar) else None
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                got = f"`{node.text}`" if isinstance(node, Scalar) and node.text else kind_name(node)
                self.add(node.position, f"{what} must be a number above 0, not {got}")
                return None
        return self.template(node, availability)

    def pairs(self, node: Node, availability: Availability, what: str) -> Template | None:
        """A mapping of names to single values (`env`, `with`, …), or an expression for all of it."""
        if has_expression(node):
            return self.template(node, availability)
        mapping = self.mapping(node, what)
        if mapping is None:
            return None
        self.distinct(mapping, what)
        for key, value in mapping.entries:
            if not key.text.strip():
                self.add(key.position, f"a name in {what} must not be empty")
            if not isinstance(value, Scalar) and not is_insert(key.text):
                self.add(
                    value.position, f"`{key.text}` in {what} must be a single value, not {kind_name(value)}"
                )
        return self.template(node, availability)

    def identifier(self, key: Scalar, what: str) -> bool:
        """Whether a job's or step's id is allowed; a problem when not."""
        if not ID_PATTERN.match(key.text):
            self.add(key.position, f"{what} `{key.text}` is not valid", hint=ID_RULE, rule="id")
            return False
        if len(key.text) > ID_CHARACTERS_MAX:
            self.add(
                key.position, f"{what} `{key.text}` has more than {ID_CHARACTERS_MAX} characters", rule="id"
            )
            return False
        if key.text.startswith("__"):
            self.add(key.position, f"{what} `{key.text}` must not start with __", rule="id")
            return False
        return True

    def loose_identifier(self, key: Scalar, what: str) -> None:
        """A warning for a name that GitHub's documentation does not allow, and its parser does."""
        if not key.text or has_expression(key):
            self.add(key.position, f"the name of {what.removeprefix('the ')} must be a plain text", rule="id")
        elif not ID_PATTERN.match(key.text):
            self.add(
                key.position, f"{what} `{key.text}` is not valid", hint=ID_RULE, rule="id", severity="warning"
            )

    def permissions(self, node: Node) -> dict[str, str] | str | None:
        """`permissions:` of a workflow or a job."""
        if isinstance(node, Scalar):
            if node.text in ("read-all", "write-all"):
                return node.text
            self.add(
                node.position,
                f"permissions must be `read-all`, `write-all` or a mapping, not `{node.text}`",
                hint="`permissions: {}` takes all permissions away",
            )
            return None
        mapping = self.mapping(node, "permissions")
        if mapping is None:
            return None
        found: dict[str, str] = {}
        for name, value in self.keys(mapping, _SCOPES, "permissions").items():
            levels = _SCOPE_LEVELS.get(name, _LEVELS)
            level = self.text(value, f"the permission `{name}`")
            if level is None:
                continue
            if level not in levels:
                allowed = ", ".join(sorted(levels))
                self.add(value.position, f"the permission `{name}` must be one of {allowed}, not `{level}`")
                continue
            found[name] = level
        return found

    def defaults(self, node: Node, availability: Availability, what: str) -> RunDefaults:
        """`defaults:` of a workflow or a job."""
        mapping = self.mapping(node, f"`defaults` of {what}")
        run = self.keys(mapping, {"run"}, f"`defaults` of {what}").get("run") if mapping else None
        inner = self.mapping(run, f"`defaults.run` of {what}") if run is not None else None
        if inner is None:
            return RunDefaults()
        found = self.keys(inner, {"shell", "working-directory"}, f"`defaults.run` of {what}")
        shell, folder = found.get("shell"), found.get("working-directory")
        return RunDefaults(
            shell=self.string(shell, availability, "`shell`") if shell else None,
            working_directory=self.string(folder, availability, "`working-directory`") if folder else None,
        )

    def script(self, node: Node, availability: Availability, what: str) -> Template | None:
        """A single value that may be empty or hold expressions; nothing is the empty text."""
        template = self.scalar(node, availability, what)
        return template if template is None or template.value is not None else Template("", node.position)


def scalar_of(node: Node, text: str) -> Node:
    """The scalar with that text in a list, for its place; else the node itself."""
    return next((scalar for scalar in scalars(node) if scalar.text == text), node)


def only(node: Mapping, name: str) -> Scalar | None:
    """The key of that name, for its place."""
    return next((key for key, _ in node.entries if key.text == name), None)
