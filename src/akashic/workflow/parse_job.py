"""One job parsed: steps of its own, or the call of a reusable workflow.

Source: GitHub's "Workflow syntax" (`jobs.<job_id>`) and "Reuse workflows".
"""

from __future__ import annotations

import re
from typing import Any, Literal

from akashic.source.yaml import Mapping, Node, Scalar, Sequence
from akashic.workflow.contexts import AVAILABILITY, Availability
from akashic.workflow.model import EnvironmentRef, Job, Template
from akashic.workflow.parse_common import Reader, has_expression, is_empty, scalars
from akashic.workflow.parse_concurrency import parse_concurrency
from akashic.workflow.parse_containers import parse_container, parse_services
from akashic.workflow.parse_step import parse_steps
from akashic.workflow.parse_strategy import parse_strategy

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
_IMAGE_VERSION = re.compile(r"[0-9]{1,9}\.\*\Z")
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
        values["strategy"] = parse_strategy(reader, job, found["strategy"])
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
        values["container"] = parse_container(reader, found["container"])
    if "services" in found:
        values["services"] = parse_services(reader, job, found["services"])
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
