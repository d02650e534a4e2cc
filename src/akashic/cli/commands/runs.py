"""`akashic runs`: the newest runs, a line each."""

from __future__ import annotations

import argparse
from datetime import datetime

import msgspec

from akashic.app.history import is_driven, newest_states
from akashic.cli.command import CommandContext
from akashic.cli.present.style import Style, duration, table
from akashic.cli.present.texts import label
from akashic.engine.view import RunView, view_of
from akashic.errors import EXIT_OK

HELP = "list runs"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("-n", "--last", type=int, default=20, metavar="N", help="how many (20)")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    now = application.clock.now()
    views = [view_of(state, now) for state in newest_states(application, max(1, args.last))]
    if context.json:
        for view in views:
            context.stdout.write(msgspec.json.encode(_machine(view)).decode() + "\n")
        return EXIT_OK
    if not views:
        context.stdout.write("no runs yet; `akashic run` starts one\n")
        return EXIT_OK
    style = Style(context.color)
    rows = []
    for view in views:
        status = view.conclusion or view.status
        if status in ("running", "waiting") and not is_driven(application, view.run_id):
            status = "interrupted"
        when = datetime.fromtimestamp(view.created_at).strftime("%Y-%m-%d %H:%M")
        cells = [
            str(view.sequence),
            status,
            view.run_name or view.title,
            view.event_name,
            view.commit[:7],
            when,
        ]
        rows.append([label(cell) for cell in cells] + [duration(view.duration_s)])
    header = ["RUN", "STATUS", "WORKFLOW", "EVENT", "COMMIT", "STARTED", "TOOK"]
    lines = table([header, *rows])
    context.stdout.write(style("dim", lines[0]) + "\n")
    for line, row in zip(lines[1:], rows, strict=True):
        context.stdout.write(f"{_colored(line, row[1], style)}\n")
    if any(row[1] == "interrupted" for row in rows):
        context.stdout.write("\ninterrupted runs are taken on by `akashic resume`\n")
    return EXIT_OK


def _colored(line: str, status: str, style: Style) -> str:
    return line.replace(status, style(status, status), 1)


def _machine(view: RunView) -> dict[str, object]:
    fields = (
        "run_id",
        "sequence",
        "number",
        "title",
        "run_name",
        "workflow_path",
        "event_name",
        "actor",
        "commit",
        "status",
    )
    found = {name: getattr(view, name) for name in (*fields, "conclusion", "created_at", "duration_s")}
    jobs = [
        {"key": job.key, "status": job.status, "conclusion": job.conclusion, "duration_s": job.duration_s}
        for job in view.jobs
    ]
    return found | {"jobs": jobs}
