"""`akashic run --list`: the jobs of the workflows in act's columns."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from akashic.app.selection import Request
from akashic.app.workflows import LoadedWorkflow
from akashic.cli.command import CommandContext
from akashic.cli.present.graph import stages, wanted_jobs
from akashic.cli.present.style import Style, table
from akashic.cli.present.texts import label
from akashic.workflow.model import Job

COLUMNS = ("Stage", "Job ID", "Job name", "Workflow name", "Workflow file", "Events")


def list_jobs(loaded: Sequence[LoadedWorkflow], request: Request, context: CommandContext) -> None:
    """A line for each job of the workflows that know the event (all when none was named)."""
    rows: list[tuple[str, ...]] = []
    for item in loaded:
        workflow = item.workflow
        events = [trigger.event for trigger in workflow.triggers]
        if request.event_name and request.event_name not in events:
            continue
        asked = request.filter.jobs
        if asked and not any(job in workflow.jobs for job in asked):
            continue
        file = workflow.path.rpartition("/")[2]
        for stage, jobs in enumerate(stages(workflow, wanted_jobs(workflow, asked))):
            for job in jobs:
                rows.append((str(stage), job.id, _name(job), workflow.title, file, ",".join(events)))
    if context.json:
        keys = [name.lower().replace(" ", "_") for name in COLUMNS]
        for row in rows:
            found: dict[str, object] = dict(zip(keys, row, strict=True))
            found |= {"stage": int(row[0]), "events": row[5].split(",")}
            context.stdout.write(msgspec.json.encode(found).decode() + "\n")
        return
    lines = table([COLUMNS, *([label(cell) for cell in row] for row in rows)])
    context.stdout.write(Style(context.color)("dim", lines[0]) + "\n")
    for line in lines[1:]:
        context.stdout.write(line.rstrip() + "\n")


def _name(job: Job) -> str:
    """The name as the file says it: what it becomes is known when the job is due."""
    return str(job.name.value) if job.name is not None else job.id
