"""`on:` parsed: events, activity types, filters, schedules, inputs.

Source: GitHub's "Workflow syntax" (`on`) and "Events that trigger workflows".
"""

from __future__ import annotations

import re

from akashic.source.data import kind_name
from akashic.source.position import Position
from akashic.source.yaml import Mapping, Node, Scalar, Sequence
from akashic.workflow.contexts import AVAILABILITY
from akashic.workflow.events import EVENTS, FILTER_KEYS, EventKind
from akashic.workflow.globs import GlobError, compile_glob
from akashic.workflow.model import CallOutput, CallSecret, Filters, Input, InputType, Template, Trigger
from akashic.workflow.parse_common import Reader, has_expression, scalars

DISPATCH_INPUTS_MAX = 25
"""GitHub's limit on the inputs of `workflow_dispatch`."""
_DISPATCH_TYPES: tuple[InputType, ...] = ("string", "boolean", "number", "choice", "environment")
_CALL_TYPES: tuple[InputType, ...] = ("string", "boolean", "number")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_CRON_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of month", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("day of week", 0, 6, _DAYS),
)
_CRON_PART = re.compile(r"(?:\*|([0-9a-z]{1,3})(?:-([0-9a-z]{1,3}))?)(?:/([0-9]{1,3}))?\Z", re.ASCII)


def parse_on(reader: Reader, node: Node) -> tuple[Trigger, ...]:
    """All triggers, in file order."""
    if isinstance(node, Scalar):
        return _by_name(reader, node)
    if isinstance(node, Sequence):
        if not node.items:
            reader.add(node.position, "`on` must name at least one event")
        return tuple(trigger for item in node.items for trigger in _by_name(reader, item))
    if not node.entries:
        reader.add(node.position, "`on` must name at least one event")
    triggers = []
    for key, value in node.entries:
        if _known(reader, key):
            triggers.append(_trigger(reader, EVENTS[key.text], value, key.position))
    return tuple(triggers)


def _by_name(reader: Reader, node: Node) -> tuple[Trigger, ...]:
    if reader.text(node, "an event in `on`") is None or not isinstance(node, Scalar):
        return ()
    if not _known(reader, node):
        return ()
    if node.text == "schedule":
        reader.add(node.position, "`schedule` needs a list of `- cron: '…'` below it")
        return ()
    return (Trigger(event=node.text, position=node.position),)


def _known(reader: Reader, name: Scalar) -> bool:
    if name.text in EVENTS:
        return True
    hint = reader.hint(name.text, EVENTS)
    reader.add(name.position, f"unknown event `{name.text}`", hint=hint, rule="event")
    return False


def _trigger(reader: Reader, kind: EventKind, node: Node, position: Position) -> Trigger:
    if kind.name == "schedule":
        return _schedule(reader, node, position)
    if isinstance(node, Scalar) and node.value is None:
        return Trigger(event=kind.name, position=position)
    mapping = reader.mapping(node, f"`on.{kind.name}`")
    if mapping is None:
        return Trigger(event=kind.name, position=position)
    misplaced = [key for key, _ in mapping.entries if key.text in FILTER_KEYS - kind.keys]
    for key in misplaced:
        reader.add(
            key.position,
            f"`{key.text}` cannot filter the event `{kind.name}`",
            hint=_filter_hint(kind),
            rule="event",
        )
    allowed = Mapping(tuple(pair for pair in mapping.entries if pair[0] not in misplaced), mapping.position)
    found = reader.keys(allowed, kind.keys, f"`on.{kind.name}`")
    workflows = found.get("workflows")
    if kind.name == "workflow_run" and workflows is None:
        reader.add(position, "`on.workflow_run` needs `workflows`: the names of the workflows it follows")
    return Trigger(
        event=kind.name,
        position=position,
        types=_types(reader, kind, found.get("types")),
        filters=_filters(reader, kind, found),
        workflows=reader.plains(workflows, "`workflows`") if workflows else (),
        names=reader.plains(found["names"], "`names`") if "names" in found else None,
        versions=reader.plains(found["versions"], "`versions`") if "versions" in found else None,
        inputs=_inputs(reader, kind.name, found.get("inputs")),
        outputs=_outputs(reader, found.get("outputs")),
        secrets=_secrets(reader, found.get("secrets")),
    )


def _filter_hint(kind: EventKind) -> str:
    known = sorted(kind.keys & FILTER_KEYS)
    return "it can be filtered by " + ", ".join(known) if known else "this event has no such filters"


def _types(reader: Reader, kind: EventKind, node: Node | None) -> tuple[str, ...] | None:
    if node is None:
        return None
    types = reader.plains(node, f"`types` of `{kind.name}`")
    for scalar in scalars(node) if kind.types else ():
        name = scalar.text
        if name not in (kind.types or ()):
            reader.add(
                scalar.position,
                f"`{name}` is not an activity type of the event `{kind.name}`",
                hint=reader.hint(name, kind.types or ()),
                rule="event",
            )
    return types


def _filters(reader: Reader, kind: EventKind, found: dict[str, Node]) -> Filters:
    values: dict[str, tuple[str, ...] | None] = {}
    for key in sorted(FILTER_KEYS):
        node = found.get(key)
        values[key] = None if node is None else _patterns(reader, key, node)
    for key in ("branches", "tags", "paths"):
        ignore = f"{key}-ignore"
        if values[key] is not None and values[ignore] is not None:
            reader.add(
                found[ignore].position,
                f"`{key}` and `{ignore}` cannot both filter the event `{kind.name}`",
                hint=f"use `{key}` alone, with patterns that start with ! for what to leave out",
            )
    return Filters(
        branches=values["branches"],
        branches_ignore=values["branches-ignore"],
        tags=values["tags"],
        tags_ignore=values["tags-ignore"],
        paths=values["paths"],
        paths_ignore=values["paths-ignore"],
    )


def _patterns(reader: Reader, key: str, node: Node) -> tuple[str, ...]:
    patterns = reader.plains(node, f"`{key}`")
    for scalar in scalars(node):
        try:
            compile_glob(scalar.text.removeprefix("!"))
        except GlobError as error:
            reader.add(scalar.position, error.message, hint=error.hint, rule="glob")
    if not key.endswith("-ignore") and patterns and all(pattern.startswith("!") for pattern in patterns):
        reader.add(
            node.position,
            f"`{key}` has only patterns that start with !, so nothing can match",
            hint=f"add a pattern that includes something, or use `{key}-ignore`",
            rule="glob",
        )
    return patterns


def _schedule(reader: Reader, node: Node, position: Position) -> Trigger:
    if not isinstance(node, Sequence) or not node.items:
        reader.add(node.position, f"`on.schedule` must be a list of `- cron: '…'`, not {kind_name(node)}")
        return Trigger(event="schedule", position=position)
    crons, timezones = [], []
    for item in node.items:
        mapping = reader.mapping(item, "each entry of `on.schedule`")
        if mapping is None:
            continue
        found = reader.keys(mapping, {"cron", "timezone"}, "an entry of `on.schedule`")
        cron, timezone = found.get("cron"), found.get("timezone")
        if cron is None:
            reader.add(mapping.position, "an entry of `on.schedule` needs `cron`")
            continue
        text = reader.text(cron, "`cron`")
        if text is None:
            continue
        wrong = cron_problem(text)
        if wrong:
            reader.add(cron.position, f"the schedule `{text}` is not valid: {wrong}", rule="cron")
        crons.append(text)
        timezones.append((reader.plain(timezone, "`timezone`") or "") if timezone else "")
    return Trigger(event="schedule", position=position, crons=tuple(crons), timezones=tuple(timezones))


def cron_problem(text: str) -> str:
    """What is wrong with a POSIX cron line; empty when nothing is."""
    fields = text.split()
    if len(fields) != len(_CRON_FIELDS):
        return f"it must have five fields (minute hour day month weekday), not {len(fields)}"
    for field, (name, low, high, names) in zip(fields, _CRON_FIELDS, strict=True):
        for part in field.lower().split(","):
            wrong = _cron_part_problem(part, low, high, names)
            if wrong:
                return f"{wrong} in the field {name}"
    return ""


def _cron_part_problem(part: str, low: int, high: int, names: list[str]) -> str:
    match = _CRON_PART.match(part)
    if not match:
        return f"`{part}` is not understood"
    ends = []
    for word in match.group(1, 2):
        if word is None:
            continue
        number = names.index(word) + low if word in names else (int(word) if word.isdigit() else -1)
        if not low <= number <= high:
            return f"`{word}` is not between {low} and {high}"
        ends.append(number)
    if len(ends) == 2 and ends[0] > ends[1]:
        return f"the range `{part}` is backwards"
    if match.group(3) is not None and not 1 <= int(match.group(3)) <= high:
        return f"the step `{match.group(3)}` is not between 1 and {high}"
    return ""


def _inputs(reader: Reader, event: str, node: Node | None) -> tuple[Input, ...]:
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return ()
    mapping = reader.mapping(node, f"`on.{event}.inputs`")
    if mapping is None:
        return ()
    reader.distinct(mapping, f"`on.{event}.inputs`")
    if event == "workflow_dispatch" and len(mapping.entries) > DISPATCH_INPUTS_MAX:
        reader.add(
            mapping.position,
            f"`workflow_dispatch` has {len(mapping.entries)} inputs; the limit is {DISPATCH_INPUTS_MAX}",
            rule="limit",
        )
    return tuple(_input(reader, event, key, value) for key, value in mapping.entries)


def _input(reader: Reader, event: str, key: Scalar, node: Node) -> Input:
    reader.loose_identifier(key, "the input")
    called = event == "workflow_call"
    mapping = None
    if not (isinstance(node, Scalar) and node.value is None):
        mapping = reader.mapping(node, f"the input `{key.text}`")
    known = {"description", "required", "default", "type", "deprecationMessage"}
    what = f"the input `{key.text}`"
    found = reader.keys(mapping, known if called else known | {"options"}, what) if mapping else {}
    kind = _input_type(reader, found.get("type"), key, called)
    options = _options(reader, found["options"], f"`options` of {what}") if "options" in found else ()
    if kind == "choice" and not options:
        reader.add(key.position, f"{what} is a choice, so it needs `options`")
    if options and kind != "choice":
        reader.add(found["options"].position, f"`options` of {what} need `type: choice`")
    default = _default(reader, found.get("default"), kind, options, what, called)
    required = reader.boolean(found["required"], f"`required` of {what}") if "required" in found else False
    return Input(
        name=key.text,
        type=kind,
        description=_description(reader, found),
        required=bool(required),
        default=default,
        options=options,
        position=key.position,
    )


def _options(reader: Reader, node: Node, what: str) -> tuple[str, ...]:
    if not isinstance(node, Sequence):
        reader.add(node.position, f"{what} must be a list, not {kind_name(node)}")
        return ()
    found = (reader.plain(item, f"each entry of {what}", empty=True) for item in node.items)
    return tuple(text for text in found if text is not None)


def _input_type(reader: Reader, node: Node | None, key: Scalar, called: bool) -> InputType:
    allowed = _CALL_TYPES if called else _DISPATCH_TYPES
    if node is None:
        if called:
            reader.add(key.position, f"the input `{key.text}` needs `type`: string, boolean or number")
        return "string"
    text = reader.text(node, f"`type` of the input `{key.text}`")
    for kind in allowed:
        if kind == text:
            return kind
    if text is not None:
        reader.add(
            node.position,
            f"`type` of the input `{key.text}` must be one of {', '.join(allowed)}, not `{text}`",
            hint=reader.hint(text, allowed),
        )
    return "string"


def _default(
    reader: Reader, node: Node | None, kind: InputType, options: tuple[str, ...], what: str, called: bool
) -> Template | None:
    if node is None or (isinstance(node, Scalar) and node.value is None):
        return None
    if not isinstance(node, Scalar):
        reader.add(node.position, f"`default` of {what} must be a single value, not {kind_name(node)}")
        return None
    if called and has_expression(node):
        return reader.template(node, AVAILABILITY["on.workflow_call.inputs.<inputs_id>.default"])
    value = node.value
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind == "boolean" and node.text.lower() not in ("true", "false"):
        reader.add(node.position, f"`default` of {what} must be true or false, not `{node.text}`")
    elif kind == "number" and not number and not _is_number(node.text):
        reader.add(node.position, f"`default` of {what} must be a number, not `{node.text}`")
    elif kind == "choice" and options and node.text not in options:
        reader.add(
            node.position,
            f"`default` of {what} is `{node.text}`, which is not one of its options",
            hint="options: " + ", ".join(options),
        )
    return Template(value, node.position)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _outputs(reader: Reader, node: Node | None) -> tuple[CallOutput, ...]:
    mapping = reader.mapping(node, "`on.workflow_call.outputs`")
    outputs = []
    for key, value in mapping.entries if mapping else ():
        what = f"the output `{key.text}`"
        reader.loose_identifier(key, "the output")
        inner = reader.mapping(value, what)
        found = reader.keys(inner, {"description", "value"}, what) if inner else {}
        if inner is not None and "value" not in found:
            reader.add(key.position, f"{what} needs `value`")
        if "value" not in found:
            continue
        template = reader.scalar(
            found["value"], AVAILABILITY["on.workflow_call.outputs.<output_id>.value"], f"`value` of {what}"
        )
        if template is not None:
            outputs.append(CallOutput(name=key.text, value=template, description=_description(reader, found)))
    return tuple(outputs)


def _secrets(reader: Reader, node: Node | None) -> tuple[CallSecret, ...]:
    mapping = reader.mapping(node, "`on.workflow_call.secrets`")
    secrets = []
    for key, value in mapping.entries if mapping else ():
        reader.loose_identifier(key, "the secret")
        what = f"the secret `{key.text}`"
        if isinstance(value, Scalar) and value.value is None:
            secrets.append(CallSecret(name=key.text))
            continue
        inner = reader.mapping(value, what)
        found = reader.keys(inner, {"description", "required"}, what) if inner else {}
        required = "required" in found and bool(reader.boolean(found["required"], f"`required` of {what}"))
        description = _description(reader, found)
        secrets.append(CallSecret(name=key.text, required=required, description=description))
    return tuple(secrets)


def _description(reader: Reader, found: dict[str, Node]) -> str:
    node = found.get("description")
    if node is None:
        return ""
    return reader.plain(node, "`description`", empty=True) or ""
