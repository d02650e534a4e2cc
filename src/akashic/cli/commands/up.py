"""`akashic up`: take the current commit through its own workflows to production on this machine."""

from __future__ import annotations

import argparse

from akashic.app.application import Application
from akashic.app.driving import DriveOptions, action_cache
from akashic.app.history import abandoned_runs
from akashic.app.remote import remote_reader
from akashic.app.runs import create
from akashic.app.up import choose, only_one
from akashic.cli.command import CommandContext
from akashic.cli.conduct import Conductor
from akashic.cli.present.delivered import delivered_lines
from akashic.engine.view import view_of
from akashic.errors import EXIT_OK

HELP = "take the repository from its current commit to production on this machine"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--branch", default="", metavar="NAME", help="as a push to this branch (the current one)"
    )
    parser.add_argument("--approve", action="store_true", help="approve every gate in your own name")
    parser.add_argument("-v", "--verbose", action="store_true", help="print what the steps print")
    parser.add_argument(
        "--sandbox", choices=("auto", "strict", "off"), default="auto", help="isolation of jobs"
    )


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    with only_one(application):
        _clean_up(application, context)
        remote = remote_reader(action_cache(application), {}, offline=False)
        request, selection = choose(application, args.branch, remote)
        if not context.json:
            _introduce(application, args.approve, context)
        conductor = Conductor(
            application,
            context,
            show_logs=args.verbose,
            approves=args.approve,
            summary=False,
        )
        runs = [create(application, request, selection, item) for item in selection.triggered]
        code = conductor.conduct(runs, DriveOptions(sandbox=args.sandbox))
        application.notifier.flush()
        if context.json:
            return code
        if code != EXIT_OK:
            conductor.print_summaries()
        now = application.clock.now()
        views = [view_of(state, now) for state in conductor.states]
        lines = delivered_lines(
            application,
            views,
            color=context.color,
            jobs=conductor.screen is None,
            told=code != EXIT_OK,
        )
        context.stdout.write("\n".join(lines) + "\n")
        return code


def _clean_up(application: Application, context: CommandContext) -> None:
    """First what a killed process left: deployments are ended, runs are named."""
    for line in application.recover():
        context.stderr.write(line + "\n")
    abandoned = abandoned_runs(application)
    if abandoned:
        context.stderr.write(
            f"{len(abandoned)} earlier run(s) were interrupted; `akashic resume` takes them on\n"
        )


def _introduce(application: Application, approves: bool, context: CommandContext) -> None:
    repository = application.repository
    out = context.stdout
    title = repository.message.split("\n", 1)[0]
    out.write(f"delivering {repository.name} at {repository.commit[:7]} ({title})\n")
    if repository.dirty:
        out.write("note: uncommitted changes are not delivered; commit them first to include them\n")
    if approves:
        out.write(f"note: --approve is given, so gates are approved by {application.user}, on the record\n")
    out.write("\n")
    out.flush()
