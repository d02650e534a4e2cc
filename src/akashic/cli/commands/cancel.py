"""`akashic cancel`: ask a run to end; its clean-up still happens."""

from __future__ import annotations

import argparse

from akashic.app.history import is_driven, request_cancel
from akashic.app.runs import find_run
from akashic.cli.command import CommandContext
from akashic.errors import EXIT_OK

HELP = "cancel a run"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", default="", help="a run's number or id (the newest)")
    parser.add_argument("--force", action="store_true", help="without grace periods and clean-up jobs")
    parser.add_argument("--reason", default="cancelled with akashic cancel", help="why, for the record")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    run_id = find_run(application, args.run)
    shown = args.run or run_id
    if not request_cancel(application, run_id, reason=args.reason, force=args.force):
        context.stdout.write(f"run {shown} has ended already\n")
    elif is_driven(application, run_id):
        context.stdout.write(f"run {shown} is being cancelled\n")
    else:
        context.stdout.write(f"run {shown} is marked as cancelled; `akashic resume {shown}` ends it\n")
    return EXIT_OK
