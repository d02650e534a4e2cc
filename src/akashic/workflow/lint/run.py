"""All rules over one file."""

from __future__ import annotations

from collections.abc import Callable

from akashic.source.data import Problems
from akashic.source.position import InvalidInput, Problem
from akashic.source.yaml import Mapping, load
from akashic.workflow.action import read_action
from akashic.workflow.lint import (
    actions,
    commands,
    conditions,
    differences,
    habits,
    injection,
    numbers,
    references,
    shells,
    types,
)
from akashic.workflow.lint.document import Document, ResolveAction
from akashic.workflow.parse import read_workflow
from akashic.workflow.parse_common import Reader

RULES: dict[str, str] = {
    "yaml": "the file is YAML",
    "encoding": "the file is UTF-8",
    "limit": "the file keeps GitHub's limits",
    "syntax": "every key has the value that GitHub expects",
    "unknown-key": "every key is known",
    "duplicate-key": "no key is written twice",
    "id": "ids of jobs and steps are valid and used once",
    "needs": "needs name jobs that exist, without circles",
    "event": "events, activity types and filters are known",
    "cron": "schedules are valid",
    "glob": "filter patterns are valid",
    "matrix": "matrices can be expanded",
    "uses": "references of actions and workflows are well formed",
    "expression": "expressions can be parsed",
    "context": "contexts and functions are available where they are used",
    "reference": "steps, needs, inputs and matrix variables that are read exist",
    "type": "values are used as what they are",
    "condition": "conditions are not always true or never true by mistake",
    "unreachable": "every job and step can run",
    "shell": "shells exist and have a place for the script",
    "action-input": "inputs of actions are known, and required ones given",
    "unpinned-action": "actions are pinned to a commit",
    "deprecated": "no deprecated command or action is used",
    "script-injection": "nothing that a stranger can write becomes part of a script",
    "credentials": "no password stands in the file",
    "schedule": "schedules are not more frequent than GitHub runs them",
    "variable": "names of variables can be read by a shell",
    "number": "versions are not read as numbers",
    "repeated": "nothing is listed twice, or excluded without being there",
    "difference": "what Akashic does in another way than GitHub",
}
"""Every rule and what it demands."""

_FAMILIES: tuple[Callable[[Document, Problems], None], ...] = (
    references.check,
    types.check,
    conditions.check,
    shells.check,
    actions.check,
    commands.check,
    injection.check,
    differences.check,
    habits.check,
    numbers.check,
)


def lint_action(text: str | bytes, file: str, resolve_action: ResolveAction) -> list[Problem]:
    """All problems in an action's metadata file, in file order."""
    try:
        root = load(text, file)
    except InvalidInput as error:
        return list(error.problems)
    reader = Reader()
    action = read_action(reader, root, file)
    if isinstance(root, Mapping) and action is not None:
        problems = Problems()
        injection.check_action(Document(root, None, resolve_action), action, problems)
        reader.found.extend(problems.found)
    return sorted(reader.found, key=lambda found: (found.position, found.rule))


def lint_workflow(text: str | bytes, file: str, resolve_action: ResolveAction) -> list[Problem]:
    """All problems in a workflow's text, in file order.

    `resolve_action` gives the metadata of a `uses:` reference, None when it is not at hand.
    """
    try:
        root = load(text, file)
    except InvalidInput as error:
        return list(error.problems)
    reader = Reader()
    workflow = read_workflow(reader, root, file)
    if isinstance(root, Mapping):
        document = Document(root, workflow, resolve_action)
        for check in _FAMILIES:
            # Each family keeps its own count, so that a flood in one does not hide another.
            problems = Problems()
            check(document, problems)
            reader.found.extend(problems.found)
    unique = {(found.position, found.rule, found.message): found for found in reader.found}
    return sorted(unique.values(), key=lambda found: (found.position, found.rule))
