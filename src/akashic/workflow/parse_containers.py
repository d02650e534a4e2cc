"""The containers of a job, parsed: its own and its services.

Source: GitHub's "Workflow syntax" (`jobs.<job_id>.container`, `jobs.<job_id>.services`).
"""

from __future__ import annotations

from typing import Any

from akashic.source.data import kind_name
from akashic.source.yaml import Mapping, Node, Scalar, Sequence
from akashic.workflow.contexts import AVAILABILITY, Availability
from akashic.workflow.model import Template
from akashic.workflow.parse_common import Reader, has_expression

_KEYS = frozenset({"image", "credentials", "env", "ports", "volumes", "options"})


def _at(key: str) -> Availability:
    return AVAILABILITY["jobs.<job_id>." + key]


def parse_container(reader: Reader, node: Node) -> Template | None:
    """`container:` of a job: the name of an image, or a mapping."""
    return _container(reader, node, "container", frozenset())


def parse_services(reader: Reader, job: str, node: Node) -> Template | None:
    """`services:` of a job, by name."""
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
    found = reader.keys(mapping, _KEYS | extra, f"the {what}")
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
