"""The end of `akashic up`: where things run, what was released, what was found, how long it took."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from akashic.app.application import Application
from akashic.app.up import findings, served
from akashic.cli.present.style import Style, duration, table
from akashic.cli.present.summary import report_figures
from akashic.cli.present.texts import job_kind, verdict
from akashic.engine.requests import TestReport
from akashic.engine.view import JobView, RunView
from akashic.runner.terminal import safe_for_terminal

_TITLES = {"junit": "tests", "coverage": "coverage", "sarif": "findings"}


def delivered_lines(
    application: Application,
    views: Sequence[RunView],
    *,
    color: bool,
    jobs: bool = True,
    told: bool = False,
) -> list[str]:
    """Everything that is said at the end. `jobs` is false where a live view has left the same list above,
    `told` is true when reports and outcome have been printed already, with what failed."""
    style = Style(color)
    lines: list[str] = []
    for view in views:
        if jobs:
            lines += ["", style("bold", "Jobs"), *_jobs(view, style)]
        if not told:
            lines += _reports(view, style)
    lines += _environments(application, style)
    if not told:
        lines += ["", *(verdict(view, style) for view in views)]
    lines += _next_steps(application, views, style)
    return lines


def _jobs(view: RunView, style: Style) -> list[str]:
    rows = [(job, [("  " * job.depth) + job.name, _took(job)]) for job in view.jobs]
    lines = table([cells for _, cells in rows])
    return [
        f"  {style.mark(job_kind(job))} {safe_for_terminal(line)}"
        for (job, _), line in zip(rows, lines, strict=True)
    ]


def _took(job: JobView) -> str:
    if job.conclusion == "skipped":
        return "skipped"
    return duration(job.duration_s)


def _reports(view: RunView, style: Style) -> list[str]:
    lines: list[str] = []
    for kind, found in findings(view).items():
        lines += ["", style("bold", _TITLES[kind].capitalize())]
        rows = [
            [job.name, report.title or report.path, report_figures(report)] for job, report in _once(found)
        ]
        lines += [f"  {safe_for_terminal(line)}" for line in table(rows)]
    return lines


def _once(found: Sequence[tuple[JobView, TestReport]]) -> list[tuple[JobView, TestReport]]:
    """Each report once: a file that is uploaded as an artifact is seen again where it is downloaded."""
    seen: set[tuple[str, str]] = set()
    kept = []
    for job, report in found:
        mark = (report.digest or job.key, report.title or report.path)
        if mark not in seen:
            seen.add(mark)
            kept.append((job, report))
    return kept


def _environments(application: Application, style: Style) -> list[str]:
    rows = []
    for one in served(application):
        state = safe_for_terminal("; ".join(one.problems) or "healthy")
        rows.append([one.environment, one.url, one.version, one.digest.removeprefix("sha256:")[:12], state])
    if not rows:
        return []
    header = ["environment", "address", "version", "artifact", "state"]
    lines = [f"  {line}" for line in table([header, *rows])]
    return ["", style("bold", "Environments"), style("dim", lines[0]), *lines[1:]]


def program() -> str:
    """How this command can be called again: by name when it is on PATH, else by the path that was typed."""
    called = Path(sys.argv[0])
    found = shutil.which("akashic")
    if called.name != "akashic" or (found and Path(found).resolve() == called.resolve()):
        return "akashic"
    return shlex.quote(os.path.relpath(called))


def _next_steps(application: Application, views: Sequence[RunView], style: Style) -> list[str]:
    environments = list(application.config.environments)
    folder = os.path.relpath(application.root)
    where = program() + ("" if folder == "." else f" -C {shlex.quote(folder)}")
    number = views[0].sequence if views else ""
    last = ["production"] if "production" in environments else environments[-1:]
    back = [name for name in last if application.deployments.state(name).before_current()]
    steps = [
        (f"{where} status", "what each environment serves"),
        (f"{where} logs {number}", "what the jobs printed"),
        *((f"{where} history {name}", "who deployed what, when") for name in last),
        *((f"{where} rollback {name}", "go back to the release before") for name in back),
        (f"{where} journal verify", "is the record sound"),
    ]
    return ["", style("bold", "Where to look next"), *(f"  {line}" for line in table(steps))]
