"""An action's metadata file as the runner needs it.

Source: GitHub's "Metadata syntax for GitHub Actions".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from akashic.source.position import InvalidInput, Problem
from akashic.source.yaml import Mapping, Node, Scalar, Sequence, load, to_data
from akashic.workflow.expressions.coercion import to_string
from akashic.workflow.model import Step, Template

Kind = Literal["composite", "node", "docker"]
STEPS_MAX = 1000


@dataclass(frozen=True, slots=True)
class DeclaredInput:
    """An input: its name as written, and its default when it has one."""

    name: str
    default: Template | None = None
    required: bool = False
    deprecated: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ActionMetadata:
    """What an action is and what it runs; paths are relative to its folder."""

    name: str
    kind: Kind
    inputs: tuple[DeclaredInput, ...] = ()
    outputs: tuple[tuple[str, Template], ...] = ()
    steps: tuple[Step, ...] = ()
    using: str = ""
    main: str = ""
    pre: str = ""
    pre_if: str = "always()"
    post: str = ""
    post_if: str = "always()"


def parse_action(text: bytes, file: str) -> ActionMetadata:
    """Read a metadata file. Raises InvalidInput with positions."""
    root = _mapping(load(text, file), "an action's metadata")
    fields = _fields(root)
    runs = _fields(_mapping(fields["runs"], "runs")) if "runs" in fields else {}
    using = _text(runs, "using").lower()
    kind: Kind
    if using == "composite":
        kind = "composite"
    elif using == "docker":
        kind = "docker"
    elif using.startswith("node") and using[4:].isdigit():
        kind = "node"
    else:
        raise _wrong(root, f"runs.using: expected 'composite', 'docker' or 'nodeNN', got '{using}'")
    if kind == "node" and "main" not in runs:
        raise _wrong(root, "runs.main: a JavaScript action needs the file to run")
    if kind == "composite" and not isinstance(runs.get("steps"), Sequence):
        raise _wrong(root, "runs.steps: a composite action needs steps")
    return ActionMetadata(
        name=_text(fields, "name"),
        kind=kind,
        inputs=_inputs(fields.get("inputs")),
        outputs=_outputs(fields.get("outputs")),
        steps=_steps(runs.get("steps")) if kind == "composite" else (),
        using=using,
        main=_text(runs, "main"),
        pre=_text(runs, "pre"),
        pre_if=_text(runs, "pre-if") or "always()",
        post=_text(runs, "post"),
        post_if=_text(runs, "post-if") or "always()",
    )


def _inputs(node: Node | None) -> tuple[DeclaredInput, ...]:
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return ()
    inputs: list[DeclaredInput] = []
    for name, value in _fields(_mapping(node, "inputs")).items():
        fields = _fields(value) if isinstance(value, Mapping) else {}
        inputs.append(
            DeclaredInput(
                name,
                _template(fields.get("default")),
                _text(fields, "required").lower() == "true",
                _text(fields, "deprecationMessage"),
            )
        )
    return tuple(inputs)


def _outputs(node: Node | None) -> tuple[tuple[str, Template], ...]:
    if not isinstance(node, Mapping):
        return ()
    outputs: list[tuple[str, Template]] = []
    for name, value in _fields(node).items():
        template = _template(_fields(value).get("value")) if isinstance(value, Mapping) else None
        if template is not None:
            outputs.append((name, template))
    return tuple(outputs)


_STEP_KEYS = frozenset(
    "id name if run uses with env shell working-directory continue-on-error timeout-minutes".split()
)


def _steps(node: Node | None) -> tuple[Step, ...]:
    assert isinstance(node, Sequence)
    if len(node.items) > STEPS_MAX:
        raise _wrong(node, f"runs.steps: {len(node.items)} steps, and {STEPS_MAX} are the most")
    return tuple(_step(number, item) for number, item in enumerate(node.items))


def _step(index: int, node: Node) -> Step:
    fields = _fields(_mapping(node, f"runs.steps/{index}"))
    for key in fields:
        if key not in _STEP_KEYS:
            raise _wrong(node, f"runs.steps/{index}: unknown key '{key}' in a step of a composite action")
    if ("run" in fields) == ("uses" in fields):
        raise _wrong(node, f"runs.steps/{index}: expected either 'run' or 'uses'")
    if "run" in fields and "shell" not in fields:
        raise _wrong(node, f"runs.steps/{index}: 'run' in a composite action needs 'shell'")
    return Step(
        index=index,
        position=node.position,
        id=_text(fields, "id"),
        name=_template(fields.get("name")),
        if_=_template(fields.get("if")),
        run=_template(fields.get("run")),
        uses=_text(fields, "uses") or None,
        with_=_template(fields.get("with")),
        env=_template(fields.get("env")),
        shell=_template(fields.get("shell")),
        working_directory=_template(fields.get("working-directory")),
        continue_on_error=_template(fields.get("continue-on-error")),
        timeout_minutes=_template(fields.get("timeout-minutes")),
    )


def _mapping(node: Node, what: str) -> Mapping:
    if not isinstance(node, Mapping):
        raise _wrong(node, f"{what}: expected a mapping")
    return node


def _fields(node: Node) -> dict[str, Node]:
    assert isinstance(node, Mapping)
    return {key.text: value for key, value in node.entries}


def _template(node: Node | None) -> Template | None:
    return None if node is None else Template(to_data(node), node.position)


def _text(fields: dict[str, Node], name: str) -> str:
    node = fields.get(name)
    return to_string(node.value) if isinstance(node, Scalar) else ""


def _wrong(node: Node, message: str) -> InvalidInput:
    return InvalidInput([Problem(position=node.position, message=message, rule="action")])
