"""`akashic resume`: take a failed run up at the step that failed, or take on what a killed process left."""

from __future__ import annotations

import argparse

from akashic.app.driving import action_cache, sweep_places
from akashic.app.history import abandoned_runs, load_state, newest_states, request_resumption, resumable
from akashic.app.remote import remote_reader
from akashic.app.runs import find_run
from akashic.cli.command import CommandContext
from akashic.cli.commands.run import drive_options, take_act_files, with_held_output
from akashic.cli.conduct import Conductor
from akashic.cli.run_options import configure_drive, configure_overrides, overrides_of
from akashic.errors import EXIT_OK

HELP = "go on at the step that failed, or take on what a killed process left"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", nargs="?", default="", help="a run's number or id (all that were interrupted)")
    configure_overrides(parser)
    configure_drive(parser)


def run(args: argparse.Namespace, context: CommandContext) -> int:
    context = with_held_output(args, context)
    take_act_files(args, context)
    application = context.application()
    for line in application.recover():
        context.stderr.write(line + "\n")
    if args.run:
        run_id = find_run(application, args.run)
        state = load_state(application, run_id)
        if state.conclusion in ("success", "skipped"):
            context.stdout.write(
                f"run {args.run} has ended; `akashic rerun {args.run}` runs its jobs again\n"
            )
            return EXIT_OK
        if state.finished:
            overrides = overrides_of(args.local_repository, context)
            reader = remote_reader(action_cache(application), overrides, offline=args.offline)
            request_resumption(application, run_id, reader)
        runs = [run_id]
    else:
        runs = abandoned_runs(application)
    if not runs:
        # Who is killed after the end of a run leaves nothing to resume, and what was left to be tidied.
        sweep_places(application)
        context.stdout.write("nothing to resume: every run has ended or is being driven\n")
        newest = next(iter(newest_states(application, 1)), None)
        if newest is not None and resumable(application, newest):
            number = newest.created.sequence
            context.stdout.write(f"akashic resume {number} takes run {number} up at the step that failed\n")
        return EXIT_OK
    conductor = Conductor(application, context, show_logs=not args.quiet and not context.color)
    return conductor.conduct(runs, drive_options(args, context))
