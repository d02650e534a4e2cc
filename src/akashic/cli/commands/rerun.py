"""`akashic rerun`: run a run's jobs again, in the same run, as a new attempt."""

from __future__ import annotations

import argparse

from akashic.app.history import request_rerun
from akashic.app.runs import find_run
from akashic.cli.command import CommandContext
from akashic.cli.commands.run import drive_options, take_act_files, with_held_output
from akashic.cli.conduct import Conductor
from akashic.cli.run_options import configure_drive, configure_overrides

HELP = "run a run's jobs again: all, the failed ones, or one"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", default="", help="a run's number or id (the newest)")
    parser.add_argument(
        "--failed", action="store_true", help="only the jobs that failed, and what needs them"
    )
    parser.add_argument(
        "-j", "--job", action="append", default=[], metavar="JOB", help="only this job, and what needs it"
    )
    configure_overrides(parser)
    configure_drive(parser)


def run(args: argparse.Namespace, context: CommandContext) -> int:
    context = with_held_output(args, context)
    take_act_files(args, context)
    application = context.application()
    options = drive_options(args, context)
    run_id = find_run(application, args.run)
    request_rerun(application, run_id, failed=args.failed, jobs=args.job)
    conductor = Conductor(application, context, show_logs=not args.quiet and not context.color)
    return conductor.conduct([run_id], options)
