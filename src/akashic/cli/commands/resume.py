"""`akashic resume`: take on what a killed process left: runs and deployments."""

from __future__ import annotations

import argparse

from akashic.app.history import abandoned_runs, load_state
from akashic.app.runs import find_run
from akashic.cli.command import CommandContext
from akashic.cli.commands.run import drive_options
from akashic.cli.conduct import Conductor
from akashic.cli.run_options import configure_drive
from akashic.errors import EXIT_OK

HELP = "take on runs and deployments whose process was killed"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", default="", help="a run's number or id (all that were interrupted)")
    configure_drive(parser)


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    for line in application.recover():
        context.stderr.write(line + "\n")
    if args.run:
        run_id = find_run(application, args.run)
        if load_state(application, run_id).finished:
            context.stdout.write(
                f"run {args.run} has ended; `akashic rerun {args.run}` runs its jobs again\n"
            )
            return EXIT_OK
        runs = [run_id]
    else:
        runs = abandoned_runs(application)
    if not runs:
        context.stdout.write("nothing to resume: every run has ended or is being driven\n")
        return EXIT_OK
    conductor = Conductor(application, context, show_logs=not args.quiet and not context.color)
    return conductor.conduct(runs, drive_options(args, context))
