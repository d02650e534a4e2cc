"""A workflow file parsed: every key of GitHub's workflow syntax, all mistakes told at once.

Source: GitHub's "Workflow syntax for GitHub Actions".
"""

from __future__ import annotations

from typing import Any

import msgspec

from akashic.source.yaml import Mapping, Node, Scalar, load
from akashic.workflow.contexts import AVAILABILITY, NOTHING
from akashic.workflow.model import Job, Workflow
from akashic.workflow.parse_common import Reader, is_empty, scalars
from akashic.workflow.parse_concurrency import parse_concurrency
from akashic.workflow.parse_job import parse_job
from akashic.workflow.parse_on import parse_on

_KEYS = frozenset({"name", "run-name", "on", "permissions", "env", "defaults", "concurrency", "jobs"})
_IGNORED = frozenset({"description"})


def parse_workflow(text: str | bytes, file: str) -> Workflow:
    """The workflow in a file's text; `file` is its path as the user knows it.

    Raises InvalidInput with every problem that was found.
    """
    reader = Reader()
    workflow = read_workflow(reader, load(text, file), file)
    reader.raise_if_any()
    assert workflow is not None, file
    return workflow


def read_workflow(reader: Reader, root: Node, file: str) -> Workflow | None:
    """As `parse_workflow`, from a node, with the problems left in `reader`."""
    if isinstance(root, Scalar) and root.value is None:
        reader.add(root.position, "the workflow is empty", hint="it needs `on` and `jobs`")
        return None
    mapping = reader.mapping(root, "a workflow")
    if mapping is None:
        return None
    found = reader.keys(mapping, _KEYS | _IGNORED, "the workflow")
    for key in ("on", "jobs"):
        if key not in found:
            reader.add(mapping.position, f"the workflow needs `{key}`")
    values: dict[str, Any] = {}
    if "name" in found:
        values["name"] = reader.plain(found["name"], "`name`", empty=True) or ""
    if "run-name" in found:
        values["run_name"] = reader.scalar(found["run-name"], AVAILABILITY["run-name"], "`run-name`")
    if "permissions" in found:
        values["permissions"] = reader.permissions(found["permissions"])
    if "env" in found:
        values["env"] = reader.pairs(found["env"], AVAILABILITY["env"], "`env`")
    if "defaults" in found:
        values["defaults"] = reader.defaults(found["defaults"], NOTHING, "the workflow")
    if "concurrency" in found and not is_empty(found["concurrency"]):
        values["concurrency"] = parse_concurrency(reader, found["concurrency"], AVAILABILITY["concurrency"])
    triggers = parse_on(reader, found["on"]) if "on" in found else ()
    jobs = _jobs(reader, found["jobs"]) if "jobs" in found else {}
    return Workflow(path=file, triggers=triggers, jobs=jobs, **values)


def _jobs(reader: Reader, node: Node) -> dict[str, Job]:
    mapping = reader.mapping(node, "`jobs`")
    if mapping is None:
        return {}
    if not mapping.entries:
        reader.add(mapping.position, "`jobs` must have at least one job")
    reader.distinct(mapping, "`jobs`")
    jobs: dict[str, Job] = {}
    for key, value in mapping.entries:
        job = parse_job(reader, key, value)
        if job is not None:
            jobs[key.text] = job
    _check_needs(reader, jobs, mapping)
    return jobs


def _check_needs(reader: Reader, jobs: dict[str, Job], mapping: Mapping) -> None:
    names = [key.text for key, _ in mapping.entries]
    by_name = {name.lower(): name for name in names}
    complete = True
    for key, value in mapping.entries:
        job = jobs.get(key.text)
        node = value.get("needs") if isinstance(value, Mapping) else None
        for scalar in scalars(node) if node is not None and job is not None and job.needs else ():
            if scalar.text.lower() in by_name:
                continue
            complete = False
            reader.add(
                scalar.position,
                f"the job `{key.text}` needs `{scalar.text}`, which is no job of this workflow",
                hint=reader.hint(scalar.text, by_name.values()),
                rule="needs",
            )
    for name, job in jobs.items():
        # GitHub compares without regard to case; from here on a need is written as its job.
        needs = tuple(dict.fromkeys(by_name.get(need.lower(), need) for need in job.needs))
        if needs != job.needs:
            jobs[name] = msgspec.structs.replace(job, needs=needs)
    cycle = _cycle(jobs) if complete else []
    if cycle:
        reader.add(
            jobs[cycle[0]].position,
            f"jobs need each other in a circle: {' → '.join(cycle)}",
            hint="remove one of these `needs`",
            rule="needs",
        )


def _cycle(jobs: dict[str, Job]) -> list[str]:
    """The first circle of needs (its first job again at its end), or nothing. Iterative: chains may be
    long."""
    done: set[str] = set()
    for start in jobs:
        path: list[str] = []
        on_path: set[str] = set()
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, at = stack.pop()
            if at == 0:
                if name in done:
                    continue
                path.append(name)
                on_path.add(name)
            needs = jobs[name].needs if name in jobs else ()
            if at < len(needs):
                stack.append((name, at + 1))
                need = needs[at]
                if need in on_path:
                    return [*path[path.index(need) :], need]
                if need not in done:
                    stack.append((need, 0))
            else:
                path.pop()
                on_path.discard(name)
                done.add(name)
    return []
