"""Rule `deprecated`: workflow commands that GitHub has disabled or will remove."""

from __future__ import annotations

import re

from akashic.source.data import Problems
from akashic.source.yaml import Scalar
from akashic.workflow.lint.document import Document

_COMMAND = re.compile(r"::(set-output|save-state|set-env|add-path)\b", re.IGNORECASE)
_FILES = {
    "set-output": "GITHUB_OUTPUT",
    "save-state": "GITHUB_STATE",
    "set-env": "GITHUB_ENV",
    "add-path": "GITHUB_PATH",
}
_REFUSED = frozenset({"set-env", "add-path"})


def check(document: Document, problems: Problems) -> None:
    """Look at every `run`."""
    for job in document.jobs:
        for step in job.steps:
            node = step.mapping.get("run")
            if not isinstance(node, Scalar):
                continue
            for match in _COMMAND.finditer(node.text):
                name = match.group(1).lower()
                refused = name in _REFUSED
                problems.add(
                    node.place(match.start()),
                    f"the command `::{name}` is {'refused' if refused else 'deprecated'}",
                    hint=f'append to the file "${_FILES[name]}" instead',
                    rule="deprecated",
                    severity="error" if refused else "warning",
                )
