"""`akashic run`: run the workflows that an event triggers, and show them while they run."""

from __future__ import annotations

import argparse

from akashic.app.driving import DriveOptions, action_cache
from akashic.app.remote import remote_reader
from akashic.app.runs import Selection, create, select
from akashic.cli.breakpoints import terminal_breakpoint
from akashic.cli.command import CommandContext
from akashic.cli.conduct import Conductor
from akashic.cli.present.graph import plan_lines
from akashic.cli.run_options import configure_drive, configure_request, overrides_of, pairs, request_of
from akashic.errors import EXIT_OK, UsageError

HELP = "run the workflows that an event triggers"


def configure(parser: argparse.ArgumentParser) -> None:
    configure_request(parser)
    configure_drive(parser)
    parser.add_argument("-n", "--dry-run", action="store_true", help="show what would run, and run nothing")
    parser.add_argument("-l", "--list", action="store_true", help="list the workflows' jobs")
    parser.add_argument("-g", "--graph", action="store_true", help="show the jobs as a graph")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    overrides = overrides_of(args.local_repository, context)
    request = request_of(args, context)
    remote = remote_reader(action_cache(application), overrides, offline=args.offline)
    selection = select(application, request, cwd=context.cwd, remote=remote)
    if args.list or args.graph or args.dry_run:
        for line in plan_lines(selection, request, color=context.color):
            context.stdout.write(line + "\n")
        return EXIT_OK
    if not selection.triggered:
        _say_nothing_to_run(selection, context)
        return EXIT_OK
    options = drive_options(args, context)
    conductor = Conductor(application, context, show_logs=_show_logs(args, context))
    runs = [create(application, request, selection, item) for item in selection.triggered]
    return conductor.conduct(runs, options)


def drive_options(args: argparse.Namespace, context: CommandContext) -> DriveOptions:
    """How this process runs jobs, as the options say. Raises UsageError."""
    stops = bool(args.break_on_failure or args.break_at)
    if stops and not context.interactive:
        raise UsageError("--break and --break-on-failure open a shell: they need a terminal")
    return DriveOptions(
        sandbox=args.sandbox,
        secrets=pairs(args.secret, args.secret_file, "--secret", context, ask=True),
        env=pairs(args.env, args.env_file, "--env", context, ask=True),
        overrides=overrides_of(getattr(args, "local_repository", []), context),
        builtins=not args.no_builtin,
        offline=args.offline,
        jobs_max=args.concurrent_jobs,
        step_debug=args.step_debug,
        breakpoint=terminal_breakpoint(context) if stops else None,
        break_on_failure=args.break_on_failure,
        break_at=frozenset(args.break_at),
    )


def _show_logs(args: argparse.Namespace, context: CommandContext) -> bool:
    if args.quiet:
        return False
    return bool(args.verbose) or not context.color


def _say_nothing_to_run(selection: Selection, context: CommandContext) -> None:
    context.stderr.write(f"nothing to run: no workflow is triggered by {selection.event_name}\n")
    for path, reason in selection.passed_over:
        context.stderr.write(f"  {path}: {reason}\n")
