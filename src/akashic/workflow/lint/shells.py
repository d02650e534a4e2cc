"""Rule `shell`: shells exist, and a custom one has a place for the script."""

from __future__ import annotations

from akashic.source.data import Problems
from akashic.source.yaml import Mapping, Node, Scalar, Sequence
from akashic.workflow.lint.document import Document, JobNode

SHELLS = ("bash", "sh", "pwsh", "python", "cmd", "powershell")
_WINDOWS_ONLY = frozenset({"cmd", "powershell"})


def check(document: Document, problems: Problems) -> None:
    """Look at every `shell`."""
    _check(_default(document.root), "", problems)
    for job in document.jobs:
        system = _system(job)
        _check(_default(job.mapping), system, problems)
        for step in job.steps:
            _check(step.mapping.get("shell"), system, problems)


def _default(mapping: Mapping) -> Node | None:
    defaults = mapping.get("defaults")
    run = defaults.get("run") if isinstance(defaults, Mapping) else None
    return run.get("shell") if isinstance(run, Mapping) else None


def _system(job: JobNode) -> str:
    node = job.mapping.get("runs-on")
    items = node.items if isinstance(node, Sequence) else (node,)
    labels = [item.text.lower() for item in items if isinstance(item, Scalar)]
    for system in ("ubuntu", "linux", "macos"):
        if any(label.startswith(system) for label in labels):
            return system
    return ""


def _check(node: Node | None, system: str, problems: Problems) -> None:
    if not isinstance(node, Scalar) or "${{" in node.text or not node.text.strip():
        return
    text = node.text.strip()
    if text in SHELLS:
        if text in _WINDOWS_ONLY and system:
            problems.add(node.position, f"the shell `{text}` exists only on Windows", rule="shell")
    elif "{0}" not in text:
        problems.add(
            node.position,
            f"the shell `{text}` is not known, and has no {{0}} for the script's file",
            hint=problems.hint(text.split()[0], SHELLS) or "write it like `perl {0}`",
            rule="shell",
        )
