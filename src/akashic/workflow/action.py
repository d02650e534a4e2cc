"""An action's metadata file (`action.yml`) parsed.

Source: GitHub's "Metadata syntax reference for actions".
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from akashic.source.data import kind_name
from akashic.source.position import Position
from akashic.source.yaml import Mapping, Node, Scalar, Sequence, load
from akashic.workflow.contexts import ACTION_AVAILABILITY
from akashic.workflow.model import Step, Template
from akashic.workflow.parse_common import Reader, only
from akashic.workflow.parse_step import uses_problem

Using = Literal["node12", "node16", "node20", "node24", "composite", "docker"]
USING: tuple[Using, ...] = ("node12", "node16", "node20", "node24", "composite", "docker")
_ROOT = frozenset({"name", "author", "description", "inputs", "outputs", "runs", "branding"})
_NODE = frozenset({"using", "main", "pre", "pre-if", "post", "post-if"})
_DOCKER = frozenset(
    {"using", "image", "entrypoint", "args", "env", "pre-entrypoint", "pre-if", "post-entrypoint", "post-if"}
)
_COMPOSITE = frozenset({"using", "steps"})
_STEP = frozenset({"name", "id", "if", "env", "continue-on-error"})
_RUN_STEP = _STEP | {"run", "shell", "working-directory"}
_USES_STEP = _STEP | {"uses", "with"}
_PARALLEL = frozenset({"background", "wait", "wait-all", "cancel", "parallel"})


class ActionInput(msgspec.Struct, frozen=True, kw_only=True):
    """An input; `default` is None when the file gives none. GitHub does not enforce `required`."""

    name: str
    description: str = ""
    required: bool = False
    default: Template | None = None
    deprecation_message: str = ""


class ActionOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An output; `value` only for composite actions."""

    name: str
    description: str = ""
    value: Template | None = None


class ActionRuns(msgspec.Struct, frozen=True, kw_only=True):
    """How the action runs. For node: `main`, `pre`, `post` are files; for docker: `image`, entrypoints,
    `args` and `env`; for composite: `steps`. `pre_if` and `post_if` default to `always()`."""

    using: Using
    main: str = ""
    pre: str = ""
    pre_if: Template | None = None
    post: str = ""
    post_if: Template | None = None
    image: str = ""
    entrypoint: str = ""
    pre_entrypoint: str = ""
    post_entrypoint: str = ""
    args: Template | None = None
    env: Template | None = None
    steps: tuple[Step, ...] = ()


class ActionMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """A whole action file. Inputs and outputs by the name as written; GitHub's lookup ignores case."""

    path: str
    name: str = ""
    description: str = ""
    author: str = ""
    inputs: dict[str, ActionInput] = {}
    outputs: dict[str, ActionOutput] = {}
    runs: ActionRuns


def parse_action(text: str | bytes, file: str) -> ActionMetadata:
    """The action in a file's text. Raises InvalidInput with every problem that was found."""
    reader = Reader()
    action = read_action(reader, load(text, file), file)
    reader.raise_if_any()
    assert action is not None, file
    return action


def read_action(reader: Reader, root: Node, file: str) -> ActionMetadata | None:
    """As `parse_action`, from a node, with the problems left in `reader`."""
    mapping = reader.mapping(root, "an action")
    return _action(reader, mapping, file) if mapping else None


def _action(reader: Reader, mapping: Mapping, file: str) -> ActionMetadata | None:
    # GitHub's runner lets other keys through, and published actions have some.
    found = reader.keys(mapping, _ROOT, "the action", severity="warning")
    texts: dict[str, Any] = {
        key: reader.text(found[key], f"`{key}`", empty=True) or ""
        for key in ("name", "description", "author")
        if key in found
    }
    inputs = _inputs(reader, found.get("inputs"))
    outputs = _outputs(reader, found.get("outputs"))
    if "runs" not in found:
        reader.add(mapping.position, "an action needs `runs`")
        return None
    runs = _runs(reader, found["runs"])
    if runs is None:
        return None
    return ActionMetadata(path=file, inputs=inputs, outputs=outputs, runs=runs, **texts)


def _empty(node: Node | None) -> bool:
    return node is None or (isinstance(node, Scalar) and node.value is None)


def _inputs(reader: Reader, node: Node | None) -> dict[str, ActionInput]:
    mapping = None if _empty(node) else reader.mapping(node, "`inputs`")
    inputs: dict[str, ActionInput] = {}
    if mapping is None:
        return inputs
    reader.distinct(mapping, "`inputs`")
    for key, value in mapping.entries:
        inner = None if _empty(value) else reader.mapping(value, f"the input `{key.text}`")
        # Other keys are let through: GitHub's schema is loose here, and published actions use that.
        found = {name.text: item for name, item in inner.entries} if inner else {}
        default = found.get("default")
        required = found.get("required")
        inputs[key.text] = ActionInput(
            name=key.text,
            description=_text(reader, found.get("description"), "`description`"),
            required=isinstance(required, Scalar) and required.text.lower() == "true",
            default=None
            if default is None
            else reader.scalar(default, ACTION_AVAILABILITY["inputs.<input_id>.default"], "`default`"),
            deprecation_message=_text(reader, found.get("deprecationMessage"), "`deprecationMessage`"),
        )
    return inputs


def _outputs(reader: Reader, node: Node | None) -> dict[str, ActionOutput]:
    mapping = None if _empty(node) else reader.mapping(node, "`outputs`")
    outputs: dict[str, ActionOutput] = {}
    for key, value in mapping.entries if mapping else ():
        inner = None if _empty(value) else reader.mapping(value, f"the output `{key.text}`")
        found = reader.keys(inner, {"description", "value"}, f"the output `{key.text}`") if inner else {}
        shown = found.get("value")
        outputs[key.text] = ActionOutput(
            name=key.text,
            description=_text(reader, found.get("description"), "`description`"),
            value=None
            if shown is None
            else reader.scalar(shown, ACTION_AVAILABILITY["outputs.<output_id>.value"], "`value`"),
        )
    return outputs


def _text(reader: Reader, node: Node | None, what: str) -> str:
    return "" if node is None else (reader.text(node, what, empty=True) or "")


def _runs(reader: Reader, node: Node) -> ActionRuns | None:
    mapping = reader.mapping(node, "`runs`")
    if mapping is None:
        return None
    using_node = mapping.get("using")
    text = "" if using_node is None else (reader.text(using_node, "`runs.using`") or "")
    using = next((kind for kind in USING if kind == text.lower()), None)
    if using is None:
        place = using_node.position if using_node else mapping.position
        message = f"`runs.using` must be one of {', '.join(USING)}"
        reader.add(place, f"{message}, not `{text}`" if text else message, hint=reader.hint(text, USING))
        return None
    if using == "composite":
        found = reader.keys(mapping, _COMPOSITE, "`runs` of a composite action")
        return ActionRuns(using=using, steps=_steps(reader, found.get("steps"), mapping.position))
    if using == "docker":
        return _docker(reader, mapping)
    found = reader.keys(mapping, _NODE, f"`runs` of a {using} action")
    if "main" not in found:
        reader.add(mapping.position, f"`runs` of a {using} action needs `main`")
    texts: dict[str, Any] = {
        key: reader.text(found[key], f"`runs.{key}`") or "" for key in ("main", "pre", "post") if key in found
    }
    return ActionRuns(using=using, **texts, **_conditions(reader, found))


def _docker(reader: Reader, mapping: Mapping) -> ActionRuns:
    found = reader.keys(mapping, _DOCKER, "`runs` of a docker action")
    if "image" not in found:
        reader.add(mapping.position, "`runs` of a docker action needs `image`")
    texts: dict[str, Any] = {
        key.replace("-", "_"): reader.text(found[key], f"`runs.{key}`") or ""
        for key in ("image", "entrypoint", "pre-entrypoint", "post-entrypoint")
        if key in found
    }
    args, env = found.get("args"), found.get("env")
    if args is not None and not isinstance(args, Sequence):
        reader.add(args.position, f"`runs.args` must be a list, not {kind_name(args)}")
    return ActionRuns(
        using="docker",
        args=reader.template(args, ACTION_AVAILABILITY["runs.args"]) if args else None,
        env=reader.pairs(env, ACTION_AVAILABILITY["runs.env"], "`runs.env`") if env else None,
        **texts,
        **_conditions(reader, found),
    )


def _conditions(reader: Reader, found: dict[str, Node]) -> dict[str, Any]:
    return {
        key.replace("-", "_"): reader.condition(
            found[key], ACTION_AVAILABILITY[f"runs.{key}"], f"`runs.{key}`"
        )
        for key in ("pre-if", "post-if")
        if key in found
    }


def _steps(reader: Reader, node: Node | None, position: Position) -> tuple[Step, ...]:
    if not isinstance(node, Sequence):
        reader.add(node.position if node else position, "a composite action needs a list of `steps`")
        return ()
    ids: dict[str, Scalar] = {}
    steps = (_step(reader, item, index, ids) for index, item in enumerate(node.items))
    return tuple(step for step in steps if step is not None)


def _step(reader: Reader, node: Node, index: int, ids: dict[str, Scalar]) -> Step | None:
    mapping = reader.mapping(node, "a step")
    if mapping is None:
        return None
    for name in sorted(_PARALLEL):
        key = only(mapping, name)
        if key is not None:
            reader.add(key.position, f"`{name}` is not allowed in a composite action", rule="unknown-key")
    run, uses = mapping.get("run"), mapping.get("uses")
    if (run is None) == (uses is None):
        reader.add(mapping.position, "a step needs either `run` or `uses`")
        return None
    known = (_RUN_STEP if run is not None else _USES_STEP) | _PARALLEL
    found = reader.keys(mapping, known, "a step of a composite action")
    if run is not None and "shell" not in found:
        reader.add(mapping.position, "a `run` step of a composite action needs `shell`", hint="shell: bash")
    return Step(index=index, position=mapping.position, **_step_values(reader, found, ids))


def _step_values(reader: Reader, found: dict[str, Node], ids: dict[str, Scalar]) -> dict[str, Any]:
    at = ACTION_AVAILABILITY["runs.steps"]
    values: dict[str, Any] = {}
    for key, node in found.items():
        if key == "id":
            text = reader.text(node, "a step's `id`")
            if text and isinstance(node, Scalar) and reader.identifier(node, "the step id"):
                if ids.setdefault(text.lower(), node) is not node:
                    reader.add(node.position, f"the step id `{text}` is used twice", rule="id")
                values["id"] = text
        elif key == "if":
            values["if_"] = reader.condition(node, ACTION_AVAILABILITY["runs.steps.if"], "a step's `if`")
        elif key == "uses":
            text = reader.text(node, "`uses`") or ""
            wrong = uses_problem(text) if text else ""
            if wrong:
                reader.add(node.position, wrong, rule="uses")
            values["uses"] = text
        elif key in ("with", "env"):
            values["with_" if key == "with" else "env"] = reader.pairs(node, at, f"`{key}`")
        elif key == "continue-on-error":
            values["continue_on_error"] = reader.flag(node, at, "`continue-on-error`")
        elif key in ("run", "shell"):
            values[key] = reader.string(node, at, f"`{key}`")
        elif key in ("name", "working-directory"):
            values[key.replace("-", "_")] = reader.scalar(node, at, f"`{key}`")
    return values
