"""`akashic logs`: what a run's jobs printed, masked, as it was kept."""

from __future__ import annotations

import argparse
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import PurePosixPath
from shlex import quote

from akashic.app.application import Application
from akashic.app.history import is_driven, load_state
from akashic.app.runs import find_run
from akashic.cli.command import CommandContext
from akashic.cli.present.style import Style
from akashic.cli.present.summary import report_figures
from akashic.cli.present.texts import job_words, label, log_text
from akashic.engine.requests import TestReport
from akashic.engine.runstate import InstanceState, RunState
from akashic.errors import EXIT_OK, UsageError
from akashic.journal.logs import LogLine
from akashic.runner.terminal import safe_for_terminal

HELP = "print a run's logs"
LOOK_INTERVAL_S = 0.2


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", default="", help="a run's number or id (the newest)")
    parser.add_argument("job", nargs="?", default="", help="only this job")
    parser.add_argument("-f", "--follow", action="store_true", help="go on while the run does")
    parser.add_argument("-t", "--timestamps", action="store_true", help="show when each line came")
    parser.add_argument("--attempt", type=int, default=0, metavar="N", help="an earlier attempt of the job")
    parser.add_argument(
        "--report", default="", metavar="PATH", help="print a report that a step left (junit.xml, …) instead"
    )
    parser.add_argument(
        "--environment", default="", metavar="ENV", help="what the release that ENV serves printed instead"
    )


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    if args.environment:
        return _environment(args, application, context)
    run_id = find_run(application, args.run)
    state = load_state(application, run_id)
    if args.job and not _matching(state, args.job):
        if args.job in state.jobs:
            reason = state.jobs[args.job].reason or "it has not begun"
            context.stderr.write(label(f"{args.job} has printed nothing: {reason}") + "\n")
            return EXIT_OK
        known = ", ".join(
            [*state.instances, *(path for path in state.jobs if not state.jobs[path].instances)]
        )
        raise UsageError(f"run {state.created.sequence} has no job {args.job}", hint=f"its jobs: {known}")
    if args.report:
        return _report(args, state, application, context)
    printer = _Printer(context, timestamps=args.timestamps)
    if args.follow and not state.finished:
        _follow(application, run_id, args.job, printer)
        return EXIT_OK
    for instance in _matching(state, args.job):
        attempt = args.attempt or instance.attempt
        if application.logs.exists(run_id, instance.key, attempt):
            printer.job(instance, attempt, application.logs.read(run_id, instance.key, attempt))
        elif args.job:
            attempts = f" in attempt {attempt}" if args.attempt else ""
            context.stderr.write(f"{instance.key} has printed nothing{attempts}: it is {instance.status}\n")
    if not context.json:
        _tell_reports(state, args.job, context)
    return EXIT_OK


def _reports(state: RunState, job: str) -> list[tuple[InstanceState, TestReport]]:
    return [
        (one, report)
        for one in _matching(state, job)
        for report in (one.result.reports if one.result is not None else ())
    ]


def _tell_reports(state: RunState, job: str, context: CommandContext) -> None:
    """What was recognised, and how to look at it; on standard error, since nobody printed it."""
    found = _reports(state, job)
    for one, report in found:
        context.stderr.write(label(f"{one.key}: {report.path}: {report_figures(report)}") + "\n")
    if found:
        path = found[0][1].path
        context.stderr.write(
            label(f"to see one: akashic logs {state.created.sequence} --report {quote(path)}") + "\n"
        )


def _report(
    args: argparse.Namespace, state: RunState, application: Application, context: CommandContext
) -> int:
    """A kept report as it was left, secrets masked. Raises UsageError when there is none of that path."""
    found = _reports(state, args.job)
    wanted = [report for _, report in found if args.report in (report.path, PurePosixPath(report.path).name)]
    if not wanted:
        known = ", ".join(dict.fromkeys(report.path for _, report in found)) or "none"
        raise UsageError(
            f"run {state.created.sequence} left no report {args.report}", hint=f"its reports: {known}"
        )
    if not wanted[0].digest:
        raise UsageError(f"{wanted[0].path} was too large to be kept")
    with application.blobs.open(wanted[0].digest) as content:
        text = content.read().decode("utf-8", "replace")
    context.stdout.write(text if text.endswith("\n") else text + "\n")
    return EXIT_OK


def _environment(args: argparse.Namespace, application: Application, context: CommandContext) -> int:
    """The logs of a local environment's current deployment, each line with its instance."""
    from akashic.delivery.local.logs import logs_of
    from akashic.delivery.local.paths import LocalPaths

    if args.run or args.follow or args.timestamps or args.attempt:
        raise UsageError("--environment goes with no run and no other option")
    state = application.deployments.state(args.environment)
    newest = state.serving() or next(reversed(state.deployments.values()), None)
    if newest is None:
        known = ", ".join(application.deployments.known())
        raise UsageError(f"nothing was deployed to {args.environment}", hint=f"environments: {known}")
    folder = LocalPaths(application.state_dir).logs(newest.request.environment)
    # What was started again, or gone back to, prints under the deployment that its processes are of.
    serving = application.deployments.status(newest.request.environment).serving
    for part, files in logs_of(folder, serving or newest.id):
        for path in files:
            with path.open(encoding="utf-8", errors="replace") as lines:
                for line in lines:
                    _write_part(context, part, line.rstrip("\n"))
    return EXIT_OK


def _write_part(context: CommandContext, part: str, line: str) -> None:
    if context.json:
        context.stdout.write(json.dumps({"part": part, "text": line}, ensure_ascii=False) + "\n")
    else:
        context.stdout.write(f"{label(f'[{part}]')} {safe_for_terminal(line)}\n")


def _matching(state: RunState, job: str) -> list[InstanceState]:
    return [
        one
        for one in state.instances.values()
        if not job or job in (one.key, one.path, one.name, job_words(state, one.key))
    ]


def _follow(application: Application, run_id: str, job: str, printer: _Printer) -> None:
    """A thread for each job that begins, until the run has ended or nobody drives it."""
    over = threading.Event()
    threads: dict[tuple[str, int], threading.Thread] = {}
    while True:
        state = load_state(application, run_id)
        for instance in _matching(state, job):
            mark = (instance.key, instance.attempt)
            if not instance.attempt or mark in threads:
                continue
            lines = application.logs.follow(run_id, *mark, until=over.is_set)
            threads[mark] = threading.Thread(target=printer.stream, args=(instance, lines), daemon=True)
            threads[mark].start()
        if state.finished or printer.gone.is_set() or not is_driven(application, run_id):
            over.set()
            for thread in threads.values():
                thread.join()
            return
        application.journal.wait(after_position=application.journal.head(), timeout_s=LOOK_INTERVAL_S)


class _Printer:
    def __init__(self, context: CommandContext, *, timestamps: bool) -> None:
        self._context = context
        self._timestamps = timestamps
        self._style = Style(context.color)
        self._lock = threading.Lock()
        self.gone = threading.Event()
        """Set when nobody reads any more."""

    def job(self, instance: InstanceState, attempt: int, lines: Iterator[LogLine]) -> None:
        """A whole job, with a heading for each step."""
        names = {step.number: step.name for step in instance.steps}
        current = 0
        if not self._context.json:
            again = f" (attempt {attempt})" if attempt > 1 else ""
            self._write(self._style("bold", label(f"{instance.name}{again}")))
        for line in lines:
            if line.step != current and not self._context.json:
                current = line.step
                name = names.get(current, f"step {current}")
                self._write(self._style("dim", label(f"── {name}")))
            self._line(instance, line, lead="")

    def stream(self, instance: InstanceState, lines: Iterator[LogLine]) -> None:
        """Lines of several jobs at once, each with its job's name; they are shown as they come."""
        try:
            for line in lines:
                with self._lock:
                    self._line(instance, line, lead=label(f"[{instance.key}] "))
                    self._context.stdout.flush()
        except BrokenPipeError:
            self.gone.set()

    def _line(self, instance: InstanceState, line: LogLine, *, lead: str) -> None:
        if self._context.json:
            fields = {"key": instance.key, "step": line.step, "at": line.at, "text": line.text}
            self._write(json.dumps(fields, ensure_ascii=False))
            return
        when = ""
        if self._timestamps:
            when = datetime.fromtimestamp(line.at, UTC).strftime("%H:%M:%S.%f")[:-3] + " "
        shown = log_text(line.text, color=self._context.color)
        if shown is not None:
            self._write(f"{lead}{when}{shown}")

    def _write(self, text: str) -> None:
        self._context.stdout.write(text + "\n")
