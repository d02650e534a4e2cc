"""One job parsed: steps of its own, or the call of a reusable workflow.

Source: GitHub's "Workflow syntax" (`jobs.<job_id>`) and "Reuse workflows".
"""

from __future__ import annotations

import re
from typing import Any, Literal

from akashic.source.data import kind_name
from akashic.source.position import InvalidInput
from akashic.source.yaml import Mapping, Node, Scalar, Sequence
from akashic.workflow.contexts import AVAILABILITY, Availability
from akashic.workflow.matrix import expand
from akashic.workflow.model import Concurrency, EnvironmentRef, Job, Strategy, Template
from akashic.workflow.parse_common import Reader, has_expression, is_empty, scalars
from akashic.workflow.parse_step import parse_steps

_SHARED = frozenset({"name", "needs", "if", "permissions", "concurrency", "strategy"})
_CALL = _SHARED | {"uses", "with", "secrets"}
_OWN = _SHARED | {
    "runs-on",
    "environment",
    "outputs",
    "env",
    "defaults",
    "steps",
    "timeout-minutes",
    "cancel-timeout-minutes",
    "continue-on-error",
    "container",
    "services",
    "snapshot",
}
_CONTAINER = frozenset({"image", "credentials", "env", "ports", "volumes", "options"})
_IMAGE_VERSION = re.compile(r"[0-9]{1,9}\.\*\Z")
GROUP_CHARACTERS_MAX = 400
"""GitHub's limit on the name of a concurrency group."""
_LOCAL_CALL = re.compile(r"\./\.github/workflows/[^@/]+\.ya?ml\Z")
_REMOTE_CALL = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+/\.github/workflows/[^@/]+\.ya?ml@\S+\Z")


def _at(key: str) -> Availability:
    return AVAILABILITY["jobs.<job_id>." + key]


def parse_job(reader: Reader, key: Scalar, node: Node) -> Job | None:
    """A job; None, with a problem, when it is no mapping."""
    reader.identifier(key, "the job id")
    mapping = reader.mapping(node, f"the job `{key.text}`")
    if mapping is None:
        return None
    uses = mapping.get("uses")
    found = _keys(reader, mapping, key.text, called=uses is not None)
    values = _shared(reader, key.text, found)
    if uses is not None:
        values |= _called(reader, key.text, uses, found)
    else:
        values |= _own(reader, key, found)
    return Job(id=key.text, position=key.position, **values)


def _keys(reader: Reader, mapping: Mapping, job: str, *, called: bool) -> dict[str, Node]:
    if not called:
        return reader.keys(mapping, _OWN | {"uses", "with", "secrets"}, f"the job `{job}`")
    found: dict[str, Node] = {}
    for key, value in mapping.entries:
        if key.text in _CALL:
            found[key.text] = value
        elif key.text in _OWN:
            reader.add(
                key.position,
                f"`{key.text}` is not allowed in the job `{job}`, which calls a reusable workflow",
                hint="allowed: " + ", ".join(f"`{name}`" for name in sorted(_CALL)),
                rule="unknown-key",
            )
        else:
            reader.add(
                key.position,
                f"unknown key `{key.text}` in the job `{job}`",
                hint=reader.hint(key.text, _CALL),
                rule="unknown-key",
            )
    return found


def _shared(reader: Reader, job: str, found: dict[str, Node]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if "name" in found:
        values["name"] = reader.scalar(found["name"], _at("name"), "a job's `name`")
    if "needs" in found:
        values["needs"] = _needs(reader, found["needs"])
    if "if" in found:
        values["if_"] = reader.condition(found["if"], _at("if"), f"`if` of the job `{job}`")
    if "permissions" in found:
        values["permissions"] = reader.permissions(found["permissions"])
    if "concurrency" in found:
        values["concurrency"] = parse_concurrency(reader, found["concurrency"], _at("concurrency"))
    if "strategy" in found:
        values["strategy"] = _strategy(reader, job, found["strategy"])
    return values


def _needs(reader: Reader, node: Node) -> tuple[str, ...]:
    names = reader.texts(node, "`needs`")
    if any(has_expression(scalar) for scalar in scalars(node)):
        reader.add(node.position, "an expression is not allowed in `needs`", rule="expression")
        return ()
    return tuple(dict.fromkeys(names))


def _called(reader: Reader, job: str, uses: Node, found: dict[str, Node]) -> dict[str, Any]:
    text = reader.text(uses, "`uses`") or ""
    if text and not (_LOCAL_CALL.match(text) or _REMOTE_CALL.match(text)):
        reader.add(
            uses.position,
            "expected ./.github/workflows/FILE.yml or OWNER/REPO/.github/workflows/FILE.yml@REF, "
            f"got `{text}`",
            hint="an expression is not allowed in `uses`" if "${{" in text else "",
            rule="uses",
        )
    values: dict[str, Any] = {"uses": text}
    if "with" in found:
        values["with_"] = _named(reader, found["with"], "with.<with_id>", f"`with` of the job `{job}`")
    secrets = found.get("secrets")
    if secrets is not None:
        values["secrets"] = _secrets(reader, job, secrets)
    return values


def _secrets(reader: Reader, job: str, node: Node) -> Template | Literal["inherit"] | None:
    if isinstance(node, Scalar) and node.text == "inherit":
        return "inherit"
    return _named(reader, node, "secrets.<secrets_id>", f"`secrets` of the job `{job}`")


def _named(reader: Reader, node: Node, key: str, what: str) -> Template | None:
    """Values for a called workflow: the names must be known before anything runs."""
    names = (name for name, _ in node.entries) if isinstance(node, Mapping) else (node,)
    for name in names:
        if has_expression(name):
            reader.add(
                name.position, f"an expression is not allowed for the names in {what}", rule="expression"
            )
            return None
    return reader.pairs(node, _at(key), what)


def _own(reader: Reader, key: Scalar, found: dict[str, Node]) -> dict[str, Any]:
    job = key.text
    for name in ("with", "secrets"):
        if name in found:
            reader.add(found[name].position, f"`{name}` of the job `{job}` needs `uses`", rule="unknown-key")
    values: dict[str, Any] = {}
    if "runs-on" in found:
        values["runs_on"] = _runs_on(reader, job, found["runs-on"])
    else:
        reader.add(key.position, f"the job `{job}` needs `runs-on` (or `uses`, to call a workflow)")
    if "steps" in found:
        values["steps"] = parse_steps(reader, found["steps"], f"the job `{job}`")
    else:
        reader.add(key.position, f"the job `{job}` needs `steps` (or `uses`, to call a workflow)")
    if "environment" in found and not is_empty(found["environment"]):
        values["environment"] = _environment(reader, job, found["environment"])
    if "outputs" in found:
        values["outputs"] = _outputs(reader, job, found["outputs"])
    if "env" in found:
        values["env"] = reader.pairs(found["env"], _at("env"), f"`env` of the job `{job}`")
    if "defaults" in found:
        values["defaults"] = reader.defaults(found["defaults"], _at("defaults.run"), f"the job `{job}`")
    if "timeout-minutes" in found:
        values["timeout_minutes"] = reader.number(
            found["timeout-minutes"], _at("timeout-minutes"), "`timeout-minutes`"
        )
    if "cancel-timeout-minutes" in found:
        values["cancel_timeout_minutes"] = reader.number(
            found["cancel-timeout-minutes"], _at("timeout-minutes"), "`cancel-timeout-minutes`"
        )
    if "continue-on-error" in found:
        values["continue_on_error"] = reader.flag(
            found["continue-on-error"], _at("continue-on-error"), "`continue-on-error`"
        )
    if "container" in found and not is_empty(found["container"]):
        values["container"] = _container(reader, found["container"], "container", frozenset())
    if "services" in found:
        values["services"] = _services(reader, job, found["services"])
    if "snapshot" in found:
        values["snapshot"] = _snapshot(reader, found["snapshot"])
    return values


def _runs_on(reader: Reader, job: str, node: Node) -> Template:
    what = f"`runs-on` of the job `{job}`"
    if isinstance(node, Mapping):
        found = reader.keys(node, {"group", "labels"}, what)
        if not found:
            reader.add(node.position, f"{what} needs `group` or `labels`")
        if "group" in found:
            reader.text(found["group"], f"`group` in {what}")
        if "labels" in found:
            reader.texts(found["labels"], f"`labels` in {what}")
    else:
        reader.texts(node, what)
        if isinstance(node, Sequence) and not node.items:
            reader.add(node.position, f"{what} must name at least one label")
    return reader.template(node, _at("runs-on"))


def parse_concurrency(reader: Reader, node: Node, availability: Availability) -> Concurrency | None:
    """`concurrency:` of a workflow or a job."""
    if isinstance(node, Scalar):
        group = reader.string(node, availability, "`concurrency`")
        if group is not None and not has_expression(node):
            _check_group(reader, node)
        return None if group is None else Concurrency(group=group, position=node.position)
    mapping = reader.mapping(node, "`concurrency`")
    if mapping is None:
        return None
    found = reader.keys(mapping, {"group", "cancel-in-progress", "queue"}, "`concurrency`")
    if "group" not in found:
        reader.add(mapping.position, "`concurrency` needs `group`")
        return None
    group = reader.string(found["group"], availability, "`concurrency.group`")
    if group is not None and not has_expression(found["group"]):
        _check_group(reader, found["group"])
    cancel, queue = found.get("cancel-in-progress"), found.get("queue")
    if queue is not None:
        _check_queue(reader, queue, cancel)
    if group is None:
        return None
    return Concurrency(
        group=group,
        cancel_in_progress=reader.flag(cancel, availability, "`cancel-in-progress`") if cancel else None,
        queue=reader.scalar(queue, availability, "`queue`") if queue else None,
        position=mapping.position,
    )


def _check_group(reader: Reader, node: Node) -> None:
    if isinstance(node, Scalar) and len(node.text) > GROUP_CHARACTERS_MAX:
        reader.add(
            node.position,
            f"the name of the concurrency group has {len(node.text)} characters; "
            f"the limit is {GROUP_CHARACTERS_MAX}",
            rule="limit",
        )


def _check_queue(reader: Reader, queue: Node, cancel: Node | None) -> None:
    if has_expression(queue):
        return
    text = queue.text if isinstance(queue, Scalar) else ""
    if text not in ("single", "max"):
        reader.add(queue.position, f"`queue` must be `single` or `max`, not `{text or kind_name(queue)}`")
    elif text == "max" and isinstance(cancel, Scalar) and cancel.value is True:
        reader.add(queue.position, "`queue: max` cannot be combined with `cancel-in-progress: true`")


def _strategy(reader: Reader, job: str, node: Node) -> Strategy | None:
    what = f"`strategy` of the job `{job}`"
    if has_expression(node):
        return Strategy(whole=reader.template(node, _at("strategy")), position=node.position)
    mapping = reader.mapping(node, what)
    if mapping is None:
        return None
    found = reader.keys(mapping, {"matrix", "fail-fast", "max-parallel"}, what)
    matrix, fast, most = found.get("matrix"), found.get("fail-fast"), found.get("max-parallel")
    availability = _at("strategy")
    return Strategy(
        matrix=_matrix(reader, job, matrix, availability) if matrix else None,
        fail_fast=reader.flag(fast, availability, "`fail-fast`") if fast else None,
        max_parallel=_max_parallel(reader, most, availability) if most else None,
        position=mapping.position,
    )


def _max_parallel(reader: Reader, node: Node, availability: Availability) -> Template | None:
    """As GitHub's runner reads it, a number that is not above 0 is no limit."""
    if isinstance(node, Scalar) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool):
        return Template(node.value, node.position)
    return reader.number(node, availability, "`max-parallel`")


def _matrix(reader: Reader, job: str, node: Node, availability: Availability) -> Template | None:
    template = reader.template(node, availability)
    if has_expression(node):
        return template
    mapping = reader.mapping(node, f"`matrix` of the job `{job}`")
    if mapping is None:
        return None
    reader.distinct(mapping, f"`matrix` of the job `{job}`")
    if not _matrix_shape(reader, job, mapping):
        return template
    if not any(has_expression(scalar) for scalar in scalars(node)):
        # Everything is known already, so what is wrong is told before anything runs.
        try:
            expand(template.value, position=node.position, job=job)
        except InvalidInput as error:
            for problem in error.problems:
                reader.add(problem.position, problem.message, hint=problem.hint, rule=problem.rule)
    return template


def _matrix_shape(reader: Reader, job: str, mapping: Mapping) -> bool:
    """Whether the matrix has lists where it must; what is wrong is told at its own place."""
    before = len(reader.found)
    axes = {key.text.lower() for key, _ in mapping.entries}
    known = None if any(has_expression(key) for key, _ in mapping.entries) else axes
    for key, value in mapping.entries:
        if has_expression(key) or has_expression(value):
            continue
        place, what = value.position, f"`{key.text}` in the matrix of job `{job}`"
        if not key.text:
            reader.add(key.position, f"a name in the matrix of job `{job}` must not be empty", rule="matrix")
        elif not isinstance(value, Sequence):
            reader.add(place, f"{what} must be a list, not {kind_name(value)}", rule="matrix")
        elif key.text in ("include", "exclude"):
            for item in value.items:
                _matrix_entry(reader, what, item, known if key.text == "exclude" else None)
        elif not value.items:
            reader.add(place, f"{what} has no values", rule="matrix")
    return len(reader.found) == before


def _matrix_entry(reader: Reader, what: str, item: Node, known: set[str] | None) -> None:
    if has_expression(item):
        return
    if not isinstance(item, Mapping):
        message = f"each entry of {what} must be a mapping, not {kind_name(item)}"
        reader.add(item.position, message, rule="matrix")
        return
    reader.distinct(item, f"an entry of {what}")
    if not item.entries:
        reader.add(item.position, f"an entry of {what} is empty", rule="matrix")
    for key, _ in item.entries:
        if not key.text:
            reader.add(key.position, f"a name in an entry of {what} must not be empty", rule="matrix")
        elif known is not None and key.text.lower() not in known and not has_expression(key):
            axes = known - {"include", "exclude"}
            reader.add(
                key.position,
                f"{what} names `{key.text}`, which is not a variable of the matrix",
                hint=reader.hint(key.text, axes),
                rule="matrix",
            )


def _environment(reader: Reader, job: str, node: Node) -> EnvironmentRef | None:
    what = f"`environment` of the job `{job}`"
    if isinstance(node, Scalar):
        name = reader.string(node, _at("environment"), what)
        return None if name is None else EnvironmentRef(name=name, position=node.position)
    mapping = reader.mapping(node, what)
    found = reader.keys(mapping, {"name", "url", "deployment"}, what) if mapping else {}
    if mapping is None or "name" not in found:
        if mapping is not None:
            reader.add(mapping.position, f"{what} needs `name`")
        return None
    if is_empty(found["name"]):
        return None
    name = reader.string(found["name"], _at("environment"), "`environment.name`")
    url, deployment = found.get("url"), found.get("deployment")
    if name is None:
        return None
    return EnvironmentRef(
        name=name,
        url=reader.scalar(url, _at("environment.url"), "`environment.url`") if url else None,
        deployment=reader.flag(deployment, _at("environment"), "`deployment`") if deployment else None,
        position=mapping.position,
    )


def _outputs(reader: Reader, job: str, node: Node) -> dict[str, Template]:
    what = f"`outputs` of the job `{job}`"
    mapping = reader.mapping(node, what)
    outputs: dict[str, Template] = {}
    if mapping is None:
        return outputs
    reader.distinct(mapping, what)
    for key, value in mapping.entries:
        reader.loose_identifier(key, "the output")
        template = reader.scalar(value, _at("outputs.<output_id>"), f"the output `{key.text}`")
        if template is not None:
            outputs[key.text] = template
    return outputs


def _services(reader: Reader, job: str, node: Node) -> Template | None:
    mapping = reader.mapping(node, f"`services` of the job `{job}`")
    if mapping is None:
        return None
    value: dict[str, Any] = {}
    for key, inner in mapping.entries:
        reader.loose_identifier(key, "the service")
        template = _container(reader, inner, f"service `{key.text}`", frozenset({"entrypoint", "command"}))
        value[key.text] = template.value if template else None
    return Template(value, mapping.position)


def _container(reader: Reader, node: Node, what: str, extra: frozenset[str]) -> Template | None:
    service = what.startswith("service")
    base = _at("services" if service else "container")
    if isinstance(node, Scalar):
        return reader.string(node, base, f"the {what}")
    mapping = reader.mapping(node, f"the {what}")
    if mapping is None:
        return None
    found = reader.keys(mapping, _CONTAINER | extra, f"the {what}")
    if "image" not in found:
        reader.add(mapping.position, f"the {what} needs `image`")
    prefix = "services.<service_id>." if service else "container."
    value: dict[str, Any] = {}
    for name, inner in found.items():
        template: Template | None
        if name == "env":
            # The values may use more than an expression for all of them.
            at = base if has_expression(inner) else _at(prefix + "env.<env_id>")
            template = reader.pairs(inner, at, f"`env` of the {what}")
        elif name == "credentials":
            template = _credentials(
                reader, inner, _at(prefix + "credentials"), f"`credentials` of the {what}"
            )
        elif name in ("ports", "volumes"):
            if not has_expression(inner) and not isinstance(inner, Sequence):
                reader.add(inner.position, f"`{name}` of the {what} must be a list, not {kind_name(inner)}")
            elif not has_expression(inner):
                reader.texts(inner, f"`{name}` of the {what}")
            template = reader.template(inner, base)
        elif name == "image" and service and not has_expression(inner):
            template = reader.string(inner, base, f"`image` of the {what}")
        else:
            template = reader.scalar(inner, base, f"`{name}` of the {what}")
        value[name] = template.value if template else None
    return Template(value, mapping.position)


def _credentials(reader: Reader, node: Node, availability: Availability, what: str) -> Template | None:
    for name, value in (
        reader.keys(node, {"username", "password"}, what).items() if isinstance(node, Mapping) else ()
    ):
        reader.text(value, f"`{name}` in {what}")
    return reader.pairs(node, availability, what)


def _snapshot(reader: Reader, node: Node) -> Template | None:
    if isinstance(node, Mapping):
        found = reader.keys(node, {"image-name", "if", "version"}, "`snapshot`")
        if "image-name" not in found:
            reader.add(node.position, "`snapshot` needs `image-name`")
        else:
            reader.plain(found["image-name"], "`image-name`")
        version = reader.plain(found["version"], "`version`") if "version" in found else None
        if version is not None and not _IMAGE_VERSION.match(version):
            reader.add(found["version"].position, f"`version` must be like `2.*`, not `{version}`")
        if "if" in found:
            reader.condition(found["if"], _at("snapshot.if"), "`snapshot.if`")
        return Template({name: getattr(value, "value", None) for name, value in found.items()}, node.position)
    text = reader.plain(node, "`snapshot`")
    return None if text is None else Template(text, node.position)
