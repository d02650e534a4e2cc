"""`concurrency` of a workflow or a job, parsed.

Source: GitHub's "Workflow syntax" (`concurrency`, `jobs.<job_id>.concurrency`).
"""

from __future__ import annotations

from akashic.source.data import kind_name
from akashic.source.yaml import Node, Scalar
from akashic.workflow.contexts import Availability
from akashic.workflow.model import Concurrency
from akashic.workflow.parse_common import Reader, has_expression

GROUP_CHARACTERS_MAX = 400
"""GitHub's limit on the name of a concurrency group."""


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
