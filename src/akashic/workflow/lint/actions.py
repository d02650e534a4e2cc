"""Rules `action-input`, `unpinned-action` and `deprecated` for the actions that steps use."""

from __future__ import annotations

import re

from akashic.source.data import Problems
from akashic.source.yaml import Mapping, Scalar
from akashic.workflow.action import ActionMetadata
from akashic.workflow.lint.document import Document, StepNode

_COMMIT = re.compile(r"[0-9a-fA-F]{40}\Z")
_OLD_RUNTIMES = frozenset({"node12", "node16"})
_ALWAYS_ALLOWED = frozenset({"entrypoint", "args"})


def check(document: Document, problems: Problems) -> None:
    """Look at every `uses`."""
    for job in document.jobs:
        called = job.mapping.get("uses")
        if isinstance(called, Scalar):
            _check_pin(called, problems)
        for step in job.steps:
            uses = step.mapping.get("uses")
            if not isinstance(uses, Scalar):
                continue
            _check_pin(uses, problems)
            action = document.action(uses.text)
            if action is not None:
                _check_inputs(step, uses, action, problems)
                _check_runtime(uses, action, problems)


def _check_pin(uses: Scalar, problems: Problems) -> None:
    text = uses.text
    if text.startswith(("./", "../")) or "${{" in text:
        return
    if text.startswith("docker://"):
        pinned, how = "@sha256:" in text, "the image's digest"
    elif "@" in text:
        pinned, how = bool(_COMMIT.match(text.rpartition("@")[2])), "a full commit"
    else:
        return
    if not pinned:
        problems.add(
            uses.position,
            f"`{text}` is not pinned: what it names can change",
            hint=f"pin it to {how}",
            rule="unpinned-action",
            severity="warning",
        )


def _check_inputs(step: StepNode, uses: Scalar, action: ActionMetadata, problems: Problems) -> None:
    given = step.mapping.get("with")
    entries = given.entries if isinstance(given, Mapping) else ()
    known = {name.lower(): item for name, item in action.inputs.items()}
    seen: set[str] = set()
    for key, _ in entries:
        if "${{" in key.text:
            return
        seen.add(key.text.lower())
        item = known.get(key.text.lower())
        if item is None and key.text.lower() not in _ALWAYS_ALLOWED:
            problems.add(
                key.position,
                f"the action `{uses.text}` has no input `{key.text}`",
                hint=problems.hint(key.text, action.inputs),
                rule="action-input",
                severity="warning",
            )
        elif item is not None and item.deprecation_message:
            problems.add(
                key.position,
                f"the input `{key.text}` is deprecated: {item.deprecation_message}",
                rule="deprecated",
                severity="warning",
            )
    for name, item in known.items():
        if item.required and item.default is None and name not in seen:
            # GitHub does not check it (Metadata syntax, `inputs.<id>.required`); the action may.
            problems.add(
                uses.position,
                f"the action `{uses.text}` needs the input `{item.name}`",
                rule="action-input",
                severity="warning",
            )


def _check_runtime(uses: Scalar, action: ActionMetadata, problems: Problems) -> None:
    if action.runs.using in _OLD_RUNTIMES:
        problems.add(
            uses.position,
            f"the action `{uses.text}` asks for {action.runs.using}, which GitHub has removed",
            hint="use a newer version of it",
            rule="deprecated",
            severity="warning",
        )
