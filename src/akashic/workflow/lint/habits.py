"""Rules `credentials`, `schedule`, `variable` and `repeated`: what is valid, and hardly meant so."""

from __future__ import annotations

import re

from akashic.source.data import Problems
from akashic.source.yaml import Mapping, Node, Scalar, Sequence, to_data
from akashic.workflow.lint.document import Document, JobNode
from akashic.workflow.matrix import MATRIX_COMPARISONS_MAX, matches

SCHEDULE_MINUTES_MIN = 5
"""GitHub starts scheduled workflows not more often."""
_VARIABLE = re.compile(r"[^=&\s]+\Z")
_STEP = re.compile(r"\*/([0-9]+)\Z")


def check(document: Document, problems: Problems) -> None:
    """Look at schedules, variables, credentials, needs and matrices."""
    on = document.root.get("on")
    if isinstance(on, Mapping):
        _check_schedule(on.get("schedule"), problems)
    _check_names(document.root.get("env"), problems)
    for job in document.jobs:
        _check_names(job.mapping.get("env"), problems)
        for step in job.steps:
            _check_names(step.mapping.get("env"), problems)
        _check_passwords(job, problems)
        _check_needs(job.mapping.get("needs"), problems)
        strategy = job.mapping.get("strategy")
        matrix = strategy.get("matrix") if isinstance(strategy, Mapping) else None
        if isinstance(matrix, Mapping):
            _check_matrix(matrix, problems)


def _warn(problems: Problems, node: Node, message: str, rule: str, hint: str = "") -> None:
    problems.add(node.position, message, hint=hint, rule=rule, severity="warning")


def _check_schedule(node: Node | None, problems: Problems) -> None:
    for item in node.items if isinstance(node, Sequence) else ():
        cron = item.get("cron") if isinstance(item, Mapping) else None
        minute = cron.text.split()[0] if isinstance(cron, Scalar) and cron.text.split() else ""
        step = _STEP.match(minute)
        often = minute == "*" or (step is not None and int(step.group(1)) < SCHEDULE_MINUTES_MIN)
        if cron is not None and often:
            message = f"GitHub runs a schedule at most every {SCHEDULE_MINUTES_MIN} minutes"
            _warn(problems, cron, message, "schedule")


def _check_names(node: Node | None, problems: Problems) -> None:
    for key, _ in node.entries if isinstance(node, Mapping) else ():
        if key.text and "${{" not in key.text and not _VARIABLE.match(key.text):
            _warn(problems, key, f"`{key.text}` is no name that a shell can read", "variable")


def _check_passwords(job: JobNode, problems: Problems) -> None:
    services = job.mapping.get("services")
    containers = [job.mapping.get("container")]
    containers += [value for _, value in services.entries] if isinstance(services, Mapping) else []
    for container in containers:
        credentials = container.get("credentials") if isinstance(container, Mapping) else None
        password = credentials.get("password") if isinstance(credentials, Mapping) else None
        if isinstance(password, Scalar) and password.text and "${{" not in password.text:
            problems.add(
                password.position,
                "a password stands in the file",
                hint="keep it as a secret: ${{ secrets.NAME }}",
                rule="credentials",
                severity="warning",
            )


def _check_needs(node: Node | None, problems: Problems) -> None:
    seen: set[str] = set()
    for item in node.items if isinstance(node, Sequence) else ():
        if isinstance(item, Scalar):
            if item.text.lower() in seen:
                _warn(problems, item, f"`{item.text}` stands twice in `needs`", "repeated")
            seen.add(item.text.lower())


def _check_matrix(matrix: Mapping, problems: Problems) -> None:
    values: dict[str, list[object]] = {}
    for key, node in matrix.entries:
        if key.text in ("include", "exclude") or not isinstance(node, Sequence):
            continue
        known = values.setdefault(key.text.lower(), [])
        seen: set[str] = set()
        for item in node.items:
            if isinstance(item, Scalar):
                if item.text in seen and "${{" not in item.text:
                    message = f"`{item.text}` stands twice in the matrix variable `{key.text}`"
                    _warn(problems, item, message, "repeated")
                seen.add(item.text)
            known.append(to_data(item))
    exclude = matrix.get("exclude")
    entries = exclude.items if isinstance(exclude, Sequence) else ()
    if len(entries) * max(map(len, values.values()), default=0) > MATRIX_COMPARISONS_MAX:
        return
    for entry in entries:
        for key, node in entry.entries if isinstance(entry, Mapping) else ():
            cells = values.get(key.text.lower(), [])
            open_ = any(isinstance(cell, str) and "${{" in cell for cell in cells)
            wanted = to_data(node)
            fits = not cells or open_ or "${{" in str(wanted) or any(matches(cell, wanted) for cell in cells)
            if not fits:
                message = f"no value of the matrix variable `{key.text}` is like this: nothing is excluded"
                _warn(problems, node, message, "repeated")
