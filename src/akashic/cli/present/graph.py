"""What an event would run: workflows, jobs in the order in which they can start, and why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from akashic.app.foresight import IF_IS_FALSE, Foreseen
from akashic.app.selection import Request, Selection, Triggered
from akashic.cli.present.style import Style
from akashic.cli.present.texts import label
from akashic.workflow.model import Job, Workflow

Foresight = Mapping[str, Mapping[str, Foreseen]]
"""What is known of jobs before they run, by workflow path and job id; what is missing is not known."""

UNKNOWN = Foreseen()


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
    asked = tuple(asked)
    remaining = [job for job in asked if job in workflow.jobs] if asked else list(workflow.jobs)
    wanted: set[str] = set()
    while remaining:
        job = remaining.pop()
        if job not in wanted:
            wanted.add(job)
            remaining.extend(workflow.jobs[job].needs)
    return frozenset(wanted)


def plan_lines(
    selection: Selection, request: Request, *, color: bool, foresight: Foresight | None = None
) -> list[str]:
    """The plan as text."""
    style = Style(color)
    lines: list[str] = []
    for item in selection.triggered:
        lines += [*([""] if lines else []), *_workflow(item, request, style, foreseen_of(foresight, item))]
    if lines and selection.passed_over:
        lines.append("")
    for path, reason in selection.passed_over:
        lines.append(style("dim", label(f"– {path} does not run: {reason}")))
    return lines


def foreseen_of(foresight: Foresight | None, item: Triggered) -> Mapping[str, Foreseen]:
    """What is known of a workflow's jobs."""
    return (foresight or {}).get(item.loaded.workflow.path, {})


def _workflow(item: Triggered, request: Request, style: Style, foreseen: Mapping[str, Foreseen]) -> list[str]:
    workflow = item.loaded.workflow
    lines = [style("bold", label(f"{workflow.title}  ({workflow.path}, on {item.event_name})"))]
    wanted = wanted_jobs(workflow, request.filter.jobs)
    width = max((len(job_id) for job_id in wanted), default=0)
    for number, jobs in enumerate(plan_stages(item, request), 1):
        for position, job in enumerate(jobs):
            lead = f"{number:>3}  " if position == 0 else "     "
            known = foreseen.get(job.id, UNKNOWN)
            line = label(f"{job.id.ljust(width)}  {job_facts(job, known)}".rstrip())
            lines.append(lead + (style("dim", line) if known.skipped else line))
    return lines


def job_facts(job: Job, foreseen: Foreseen = UNKNOWN, *, needs: bool = True) -> str:
    """What is worth knowing of a job before it runs; without what it `needs` where a drawing shows it."""
    facts = []
    # A block's line breaks are no part of what it says.
    condition = " ".join(str(job.if_.value).split()) if job.if_ is not None else ""
    if foreseen.skipped == IF_IS_FALSE:
        facts.append(f"skipped: {IF_IS_FALSE}: {condition}")
    elif foreseen.skipped:
        facts.append(f"skipped: {foreseen.skipped}")
    if needs and job.needs:
        facts.append("after " + ", ".join(job.needs))
    if job.uses:
        facts.append(f"calls {job.uses}")
    if job.strategy is not None and job.strategy.may_have_matrix:
        facts.append("a matrix" if foreseen.names is None else f"a matrix of {len(foreseen.names)}")
    if job.environment is not None:
        facts.append(f"environment {job.environment.name.value}")
    if condition and foreseen.skipped != IF_IS_FALSE:
        facts.append(f"if {condition}")
    return "; ".join(facts)


def plan_json(
    selection: Selection, request: Request, *, indent: int | None = 2, foresight: Foresight | None = None
) -> str:
    """The plan as one JSON object, on one line without `indent`. `skipped` says why a job will not run, null
    when it may; `instances` names those of its matrix, null when only the run knows them."""
    import json  # who plans for people does not pay for it

    runs = [
        {
            "workflow": item.loaded.workflow.path,
            "name": item.loaded.workflow.title,
            "event": item.event_name,
            "stages": [[job.id for job in jobs] for jobs in plan_stages(item, request)],
            "jobs": [
                {
                    "id": job.id,
                    "needs": list(job.needs),
                    "uses": job.uses,
                    "if": job.if_.value if job.if_ is not None else None,
                    "matrix": job.strategy is not None and job.strategy.may_have_matrix,
                    "environment": job.environment.name.value if job.environment is not None else None,
                    "skipped": known.skipped or None,
                    "instances": list(known.names) if known.names is not None else None,
                }
                for jobs in plan_stages(item, request)
                for job in jobs
                for known in (foreseen_of(foresight, item).get(job.id, UNKNOWN),)
            ],
        }
        for item in selection.triggered
    ]
    passed_over = [{"workflow": path, "reason": reason} for path, reason in selection.passed_over]
    return json.dumps({"event": selection.event_name, "runs": runs, "not_run": passed_over}, indent=indent)


_MERMAID = str.maketrans({'"': "#quot;", "<": "#lt;", ">": "#gt;", "#": "#35;", "&": "#amp;"})


def plan_mermaid(selection: Selection, request: Request, foresight: Foresight | None = None) -> str:
    """The plan as a Mermaid flowchart; jobs that will be skipped are dashed."""
    lines = ["flowchart LR"]
    skipped: list[str] = []
    for number, item in enumerate(selection.triggered):
        # Quotes would end a Mermaid label, and it reads HTML.
        title = label(item.loaded.workflow.title).translate(_MERMAID)
        lines.append(f'  subgraph w{number}["{title}"]')
        for jobs in plan_stages(item, request):
            for job in jobs:
                lines.append(f'    w{number}_{job.id}["{job.id}"]')
                lines += [f"    w{number}_{need} --> w{number}_{job.id}" for need in job.needs]
                if foreseen_of(foresight, item).get(job.id, UNKNOWN).skipped:
                    skipped.append(f"w{number}_{job.id}")
        lines.append("  end")
    if skipped:
        lines += [
            "  classDef skipped stroke-dasharray: 4 3,opacity:0.6",
            f"  class {','.join(skipped)} skipped",
        ]
    return "\n".join(lines) + "\n"


def plan_stages(item: Triggered, request: Request) -> list[list[Job]]:
    """The jobs of a run that were asked for, in stages."""
    workflow = item.loaded.workflow
    return stages(workflow, wanted_jobs(workflow, request.filter.jobs))
