"""One step of a job parsed.

Source: GitHub's "Workflow syntax" (`jobs.<job_id>.steps`), with the parallel steps of 2026: `background`,
`wait`, `wait-all`, `cancel`, `parallel`.
"""

from __future__ import annotations

import re
from typing import Any

from akashic.source.data import kind_name
from akashic.source.yaml import Mapping, Node, Scalar, Sequence
from akashic.workflow.contexts import AVAILABILITY, NOTHING
from akashic.workflow.model import Step
from akashic.workflow.parse_common import Reader, only, scalar_of

BACKGROUND_STEPS_MAX = 10
"""So many background steps of a job run at once on GitHub; more wait for a place."""
_ACTIONS = ("run", "uses", "wait", "wait-all", "cancel", "parallel")
_COMMON = frozenset({"name", "id", "if", "env", "continue-on-error", "timeout-minutes", "background"})
_KEYS: dict[str, frozenset[str]] = {
    "run": _COMMON | {"run", "shell", "working-directory"},
    "uses": _COMMON | {"uses", "with"},
    "wait": frozenset({"wait", "name", "id", "continue-on-error"}),
    "wait-all": frozenset({"wait-all", "name", "id", "continue-on-error"}),
    "cancel": frozenset({"cancel", "name", "id", "continue-on-error"}),
    "parallel": frozenset({"parallel"}),
}
STEP_KEYS = frozenset().union(*_KEYS.values())
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+(?:/[^@\s]+)?@\S+\Z")
_AT = "jobs.<job_id>.steps."


def uses_problem(text: str) -> str:
    """What is wrong with an action's reference in `uses:`; empty when nothing is."""
    if "${{" in text:
        return "an expression is not allowed in `uses`"
    if text.startswith("docker://"):
        return "" if len(text) > len("docker://") else "`docker://` needs an image"
    if text.startswith(("./", "../", ".\\")) or text == ".":
        return ""
    if text.startswith("$/"):
        return "`$/path` takes no @ref: it is the running commit" if "@" in text else ""
    if _REPOSITORY.match(text):
        return ""
    return f"expected owner/repo@ref, owner/repo/path@ref, ./path, $/path or docker://image, got `{text}`"


class StepIds:
    """The ids of the steps of one job, and which of them run in the background."""

    def __init__(self) -> None:
        self.seen: dict[str, Scalar] = {}
        self.background: set[str] = set()
        self.index = 0


def parse_steps(reader: Reader, node: Node, what: str) -> tuple[Step, ...]:
    """The steps of a job. `index` counts all steps from 0, those inside `parallel` included."""
    if not isinstance(node, Sequence):
        reader.add(node.position, f"`steps` of {what} must be a list, not {kind_name(node)}")
        return ()
    if not node.items:
        reader.add(node.position, f"`steps` of {what} must have at least one step")
    ids = StepIds()
    return tuple(step for item in node.items if (step := parse_step(reader, item, ids)) is not None)


def parse_step(reader: Reader, node: Node, ids: StepIds, *, inside: bool = False) -> Step | None:
    """One step; None, with a problem, when it is no mapping or does not say what to do."""
    mapping = reader.mapping(node, "a step")
    if mapping is None:
        return None
    index = ids.index
    ids.index += 1
    kinds = [name for name in _ACTIONS if mapping.get(name) is not None]
    if len(kinds) != 1:
        _not_one(reader, mapping, kinds)
        return None
    kind = kinds[0]
    found = _keys(reader, mapping, kind)
    step_id = _step_id(reader, found.get("id"), ids)
    background = _background(reader, found.get("background"), inside)
    values = _values(reader, found, kind)
    if kind in ("wait", "wait-all", "cancel", "parallel"):
        if inside:
            key = only(mapping, kind)
            reader.add(key.position if key else node.position, f"`{kind}` cannot stand inside `parallel`")
            return None
        values |= _control(reader, kind, found, ids)
    step = Step(index=index, position=mapping.position, id=step_id, background=background or inside, **values)
    if step.background and step.id:
        ids.background.add(step.id.lower())
    return step


def _not_one(reader: Reader, mapping: Mapping, kinds: list[str]) -> None:
    if len(kinds) > 1:
        key = only(mapping, kinds[1])
        place = key.position if key else mapping.position
        reader.add(
            place, f"a step cannot have both `{kinds[0]}` and `{kinds[1]}`", hint="make them two steps"
        )
        return
    reader.add(mapping.position, "a step needs `run` or `uses`")
    for key, _ in mapping.entries:
        if key.text not in STEP_KEYS:
            hint = reader.hint(key.text, STEP_KEYS)
            reader.add(key.position, f"unknown key `{key.text}` in a step", hint=hint, rule="unknown-key")


def _keys(reader: Reader, mapping: Mapping, kind: str) -> dict[str, Node]:
    known = _KEYS[kind]
    found: dict[str, Node] = {}
    for key, value in mapping.entries:
        if key.text in known:
            found[key.text] = value
        elif key.text in STEP_KEYS:
            reader.add(
                key.position, f"`{key.text}` is not allowed in a step with `{kind}`", rule="unknown-key"
            )
        else:
            hint = reader.hint(key.text, known)
            reader.add(key.position, f"unknown key `{key.text}` in a step", hint=hint, rule="unknown-key")
    return found


def _step_id(reader: Reader, node: Node | None, ids: StepIds) -> str:
    if node is None or reader.text(node, "a step's `id`") is None or not isinstance(node, Scalar):
        return ""
    if not reader.identifier(node, "the step id"):
        return ""
    first = ids.seen.setdefault(node.text.lower(), node)
    if first is not node:
        reader.add(
            node.position,
            f"the step id `{node.text}` is used twice in the job (first at line {first.position.line})",
            rule="id",
        )
    return node.text


def _background(reader: Reader, node: Node | None, inside: bool) -> bool:
    if node is None:
        return False
    if inside:
        reader.add(node.position, "`background` is not allowed inside `parallel`, where every step has it")
    return bool(reader.boolean(node, "`background`"))


def _values(reader: Reader, found: dict[str, Node], kind: str) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, node in found.items():
        availability = AVAILABILITY.get(_AT + key, NOTHING)
        if key == "name":
            values["name"] = reader.scalar(node, availability, "a step's `name`")
        elif key == "if":
            values["if_"] = reader.condition(node, availability, "a step's `if`")
        elif key == "run":
            values["run"] = reader.script(node, availability, "`run`")
        elif key == "uses":
            values["uses"] = _uses(reader, node)
        elif key == "with":
            values["with_"] = reader.pairs(node, availability, "`with`")
        elif key == "env":
            values["env"] = reader.pairs(node, availability, "`env`")
        elif key == "shell":
            values["shell"] = reader.string(node, availability, "`shell`")
        elif key == "working-directory":
            values["working_directory"] = reader.script(node, availability, "`working-directory`")
        elif key == "continue-on-error":
            values["continue_on_error"] = reader.flag(node, availability, "`continue-on-error`")
        elif key == "timeout-minutes":
            values["timeout_minutes"] = reader.number(node, availability, "`timeout-minutes`")
    return values


def _uses(reader: Reader, node: Node) -> str:
    text = reader.text(node, "`uses`")
    if text is None:
        return ""
    wrong = uses_problem(text)
    if wrong:
        reader.add(node.position, wrong, rule="uses")
    return text


def _control(reader: Reader, kind: str, found: dict[str, Node], ids: StepIds) -> dict[str, Any]:
    node = found[kind]
    if kind == "wait":
        names = reader.texts(node, "`wait`")
        for name in names:
            _check_background(reader, scalar_of(node, name), name, ids, "wait")
        if isinstance(node, Sequence) and not node.items:
            reader.add(node.position, "`wait` must name at least one step")
        return {"wait": names}
    if kind == "wait-all":
        if not (isinstance(node, Scalar) and (node.value is None or node.value is True)):
            reader.add(node.position, "`wait-all` takes no value")
        return {"wait_all": True}
    if kind == "cancel":
        name = reader.text(node, "`cancel`") or ""
        if name:
            _check_background(reader, node, name, ids, "cancel")
        return {"cancel": name}
    if not isinstance(node, Sequence) or not node.items:
        reader.add(node.position, "`parallel` must be a list of at least one step")
        return {"parallel": ()}
    steps = (parse_step(reader, item, ids, inside=True) for item in node.items)
    return {"parallel": tuple(step for step in steps if step is not None)}


def _check_background(reader: Reader, node: Node, name: str, ids: StepIds, key: str) -> None:
    if "${{" in name:
        reader.add(node.position, f"an expression is not allowed in `{key}`", rule="expression")
    elif name.lower() not in ids.background:
        known = name.lower() in ids.seen
        message = (
            f"the step `{name}` does not run in the background"
            if known
            else f"`{key}` names `{name}`, which is no step before this one"
        )
        hint = "give it `background: true`" if known else reader.hint(name, ids.background)
        reader.add(node.position, message, hint=hint, rule="needs")
