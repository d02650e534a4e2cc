"""Rule `difference`: what Akashic does in another way than GitHub, said where it matters."""

from __future__ import annotations

from akashic.source.data import Problems
from akashic.source.position import Position
from akashic.source.yaml import Mapping, Node, Scalar, Sequence
from akashic.workflow.lint.document import Document, JobNode
from akashic.workflow.parse_common import only


def check(document: Document, problems: Problems) -> None:
    """Look at the keys that are treated differently."""
    for job in document.jobs:
        _check_runner(job, problems)
        for name, message in _KEYS.items():
            key = only(job.mapping, name)
            if key is not None:
                _inform(problems, key.position, message)
        environment = job.mapping.get("environment")
        key = only(environment, "deployment") if isinstance(environment, Mapping) else None
        if key is not None:
            _inform(
                problems, key.position, "a job's environment makes no deployment here: `akashic deploy` does"
            )
        for step in job.steps:
            uses = step.mapping.get("uses")
            if isinstance(uses, Scalar) and uses.text.startswith("docker://"):
                _inform(problems, uses.position, "an image as an action needs the executor `docker` here")
    on = document.root.get("on")
    if isinstance(on, Mapping):
        key = only(on, "schedule")
        if key is not None:
            _inform(
                problems, key.position, "nothing runs by the clock here: `akashic run schedule` runs it now"
            )
        images = on.get("image_version")
        for name in ("names", "versions"):
            key = only(images, name) if isinstance(images, Mapping) else None
            if key is not None:
                _inform(problems, key.position, f"there are no runner images here: `{name}` is not looked at")
    for mapping in (document.root, *(job.mapping for job in document.jobs)):
        permissions = mapping.get("permissions")
        if isinstance(permissions, Mapping):
            key = only(permissions, "id-token")
            if key is not None:
                _inform(
                    problems,
                    key.position,
                    "ID tokens are signed with a key of this machine here, not GitHub's",
                )


_KEYS = {
    "container": "a job container needs the executor `docker` here; the host executor refuses it",
    "services": "on the host, services run as native processes where one is known for the image",
    "snapshot": "no runner image is made here",
}


def _inform(problems: Problems, position: Position, message: str) -> None:
    problems.add(position, message, rule="difference", severity="info")


def _check_runner(job: JobNode, problems: Problems) -> None:
    node: Node | None = job.mapping.get("runs-on")
    items = node.items if isinstance(node, Sequence) else (node,)
    for item in items:
        if isinstance(item, Scalar) and item.text.lower().startswith(("windows", "macos")):
            _inform(problems, item.position, f"`{item.text}` runs on this machine's own system here")
