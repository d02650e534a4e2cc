"""What an event would run: workflows, jobs in the order in which they can start, and why not."""

from __future__ import annotations

from collections.abc import Iterable

from akashic.app.runs import Request, Selection, Triggered
from akashic.cli.present.style import Style
from akashic.runner.terminal import safe_for_terminal
from akashic.workflow.model import Job, Workflow


def stages(workflow: Workflow, wanted: frozenset[str]) -> list[list[Job]]:
    """Jobs by the longest way of needs before them; only those that are wanted."""
    depth: dict[str, int] = {}

    def of(job_id: str) -> int:
        if job_id not in depth:
            needs = workflow.jobs[job_id].needs
            depth[job_id] = 1 + max((of(need) for need in needs), default=-1)
        return depth[job_id]

    found: dict[int, list[Job]] = {}
    for job in workflow.jobs.values():
        if job.id in wanted:
            found.setdefault(of(job.id), []).append(job)
    return [found[key] for key in sorted(found)]


def wanted_jobs(workflow: Workflow, asked: Iterable[str]) -> frozenset[str]:
    """The jobs that were asked for with all that they need; all when none was named."""
    todo = [job for job in asked if job in workflow.jobs] or list(workflow.jobs)
    wanted: set[str] = set()
    while todo:
        job = todo.pop()
        if job not in wanted:
            wanted.add(job)
            todo.extend(workflow.jobs[job].needs)
    return frozenset(wanted)


def plan_lines(selection: Selection, request: Request, *, color: bool) -> list[str]:
    """The plan as text."""
    style = Style(color)
    lines: list[str] = []
    for item in selection.triggered:
        lines += _workflow(item, request, style) + [""]
    for path, reason in selection.passed_over:
        lines.append(style("dim", safe_for_terminal(f"– {path} does not run: {reason}")))
    return lines


def _workflow(item: Triggered, request: Request, style: Style) -> list[str]:
    workflow = item.loaded.workflow
    lines = [style("bold", safe_for_terminal(f"{workflow.title}  ({workflow.path}, on {item.event_name})"))]
    wanted = wanted_jobs(workflow, request.filter.jobs)
    width = max((len(job_id) for job_id in wanted), default=0)
    for number, jobs in enumerate(stages(workflow, wanted), 1):
        for position, job in enumerate(jobs):
            lead = f"{number:>3}  " if position == 0 else "     "
            lines.append(safe_for_terminal(f"{lead}{job.id.ljust(width)}  {_facts(job)}".rstrip()))
    return lines


def _facts(job: Job) -> str:
    facts = []
    if job.needs:
        facts.append("after " + ", ".join(job.needs))
    if job.uses:
        facts.append(f"calls {job.uses}")
    if job.strategy is not None and job.strategy.matrix is not None:
        facts.append("a matrix")
    if job.environment is not None:
        facts.append(f"environment {job.environment.name.value}")
    if job.if_ is not None:
        facts.append(f"if {job.if_.value}")
    return "; ".join(facts)
