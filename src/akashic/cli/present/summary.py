"""What is said of a run when it has ended: why it failed, what it found, what its steps summed up."""

from __future__ import annotations

from collections import deque
from shlex import quote

from akashic.cli.present.style import Style
from akashic.cli.present.texts import LOG_TAIL_LINES, label, log_text
from akashic.engine.requests import Annotation, StepReport, TestReport
from akashic.engine.view import JobView, RunView
from akashic.journal.logs import LogStore

FAILED = ("failure", "timed_out", "interrupted")
ANNOTATIONS_SHOWN_MAX = 10
STEP_NAME_MAX = 60


def failure_lines(view: RunView, logs: LogStore, style: Style) -> list[str]:
    """The end of the log of each step that failed its job."""
    lines: list[str] = []
    for job in view.jobs:
        if job.conclusion not in FAILED or job.is_call:
            continue
        step = next((step for step in job.steps if step.conclusion in FAILED), None)
        where = f"{job.name} › {step.name}" if step else job.name
        lines += ["", style("failure", label(f"✗ {where}"))]
        tail = _tail(view, job, step, logs, style) if step is not None else []
        reason = job.reason if step is None else job.reason.removeprefix(f"{step.name}: ")
        # Mostly the log ends with it.
        if reason and not (tail and tail[-1].endswith(reason)):
            lines += [label(f"  {line}") for line in reason.split("\n")]
        lines += [f"  {style('dim', '|')} {line}" for line in tail]
        if step is not None:
            lines.append(style("dim", label(f"  all of it: akashic logs {view.sequence} {quote(job.key)}")))
    return lines


def _tail(view: RunView, job: JobView, step: StepReport, logs: LogStore, style: Style) -> list[str]:
    if not logs.exists(view.run_id, job.key, job.attempt):
        return []
    tail: deque[str] = deque(maxlen=LOG_TAIL_LINES)
    for line in logs.read(view.run_id, job.key, job.attempt):
        shown = log_text(line.text, color=style.color) if line.step == step.number else None
        if shown is not None:
            tail.append(shown)
    return list(tail)


def summary_lines(view: RunView, style: Style, *, failures_told: bool = False) -> list[str]:
    """Annotations, reports and environment URLs; with `failures_told` not what `failure_lines` has said."""
    lines = [""]
    lines += _annotations(view, style, _told_as_failures(view) if failures_told else set())
    lines += reports(view)
    for job in view.jobs:
        if job.environment_url:
            lines.append(label(f"{job.environment}: {job.environment_url}"))
    return lines if len(lines) > 1 else []


def _annotations(view: RunView, style: Style, told: set[tuple[str, str]]) -> list[str]:
    found: dict[tuple[str, Annotation], str] = {}
    """(job, annotation) as they came, with the step that left it; the same words count once."""
    for job in view.jobs:
        for step in job.steps:
            for one in step.annotations:
                found.setdefault((job.name, one), f" › {_shortened(step.name)}")
        for one in job.annotations:
            found.setdefault((job.name, one), "")
    order = {"error": 0, "warning": 1, "notice": 2, "debug": 3}
    lines: list[str] = []
    found = {key: step_name for key, step_name in found.items() if (key[0], key[1].message) not in told}
    shown = sorted(found.items(), key=lambda item: order[item[0][1].level])
    for (name, one), step_name in shown[:ANNOTATIONS_SHOWN_MAX]:
        place = f"{one.file}:{one.line}: " if one.line else f"{one.file}: " if one.file else ""
        title = f"{one.title}: " if one.title else ""
        first, *more = f"{name}{step_name}: {place}{title}{one.message}".split("\n")
        lines.append(f"{style(one.level, one.level)}: {label(first)}")
        lines += [label(f"  {line}") for line in more]
    if len(found) > ANNOTATIONS_SHOWN_MAX:
        lines.append(f"… and {len(found) - ANNOTATIONS_SHOWN_MAX} more annotations")
    return lines


def _told_as_failures(view: RunView) -> set[tuple[str, str]]:
    """(job, words) that `failure_lines` has."""
    return {
        (job.name, step.error)
        for job in view.jobs
        if job.conclusion in FAILED
        for step in job.steps
        if step.conclusion in FAILED and step.error
    }


def _shortened(name: str) -> str:
    return name if len(name) <= STEP_NAME_MAX else f"{name[: STEP_NAME_MAX - 1]}…"


def reports(view: RunView) -> list[str]:
    """A line for each report that the run's jobs left."""
    return [
        label(f"{job.name}: {report.title or report.path} ({report.path}): {report_figures(report)}")
        for job in view.jobs
        for report in job.reports
    ]


def report_figures(report: TestReport) -> str:
    """`12 passed, 0 failed, 1 skipped`, `93.1 % covered`, or `2 findings (1 error, 1 warning)`."""
    if report.kind == "junit":
        return f"{report.passed} passed, {report.failed + report.errors} failed, {report.skipped} skipped"
    if report.kind == "coverage":
        return "no figure" if report.coverage_percent is None else f"{report.coverage_percent:.1f} % covered"
    levels = ", ".join(f"{count} {level}" for level, count in sorted(report.findings.items()) if count)
    return f"{sum(report.findings.values())} findings" + (f" ({levels})" if levels else "")
