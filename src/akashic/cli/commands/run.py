"""`akashic run`: run the workflows that an event triggers, and show them while they run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO, cast

from msgspec.structs import replace

from akashic.app.application import Application
from akashic.app.driving import DriveOptions, action_cache
from akashic.app.remote import remote_reader
from akashic.app.runs import create
from akashic.app.selection import Request, Selection, load_listed, load_workflows, select
from akashic.cli.act_files import with_act_files
from akashic.cli.act_options import configure_act
from akashic.cli.actrc import with_actrc
from akashic.cli.command import CommandContext
from akashic.cli.conduct import Conductor
from akashic.cli.container_options import configure_executor, container_options_of
from akashic.cli.run_options import (
    configure_drive,
    configure_request,
    overrides_of,
    pairs,
    request_of,
    size_of,
)
from akashic.errors import EXIT_OK, UsageError

HELP = "run the workflows that an event triggers"


def configure(parser: argparse.ArgumentParser) -> None:
    configure_request(parser)
    configure_drive(parser)
    configure_executor(parser)
    parser.add_argument("-n", "--dry-run", "--dryrun", action="store_true", help="show what would run only")
    parser.add_argument("-l", "--list", action="store_true", help="list the workflows' jobs")
    parser.add_argument("-g", "--graph", action="store_true", help="show the jobs as a graph")
    parser.add_argument(
        "-w", "--watch", action="store_true", help="run again what a change of a file affects"
    )
    configure_act(parser)
    parser.add_argument("--validate", action="store_true", help="only say whether the workflows are valid")
    parser.add_argument("--bug-report", action="store_true", help="say what this machine and akashic are")
    parser.add_argument("--list-options", action="store_true", help="list the options as JSON")
    parser.add_argument(
        "--artifact-server-path", metavar="DIR", help="unpack the run's artifacts into DIR when it has ended"
    )


def prepare(argv: Sequence[str]) -> list[str]:
    """What was typed, with the flags of act's files in front."""
    return with_actrc(argv, Path.cwd(), os.environ, lambda text: print(text, file=sys.stderr))


def run(args: argparse.Namespace, context: CommandContext) -> int:
    if args.bug_report:
        from akashic.cli.bug_report import bug_report  # rare

        context.stdout.write("".join(f"{line}\n" for line in bug_report(context.environ)))
        return EXIT_OK
    if args.list_options:
        context.stdout.write(_options_json() + "\n")
        return EXIT_OK
    take_act_files(args, context)
    request = request_of(args, context)
    overrides = overrides_of(args.local_repository, context)
    shows = args.validate or args.list or args.graph or args.dry_run
    application = context.application(keeps=not shows)
    remote = remote_reader(action_cache(application), overrides, offline=args.offline)
    if args.validate:
        loaded = load_workflows(application, request, cwd=context.cwd, remote=remote)
        counted = "1 workflow is" if len(loaded) == 1 else f"{len(loaded)} workflows are"
        context.stdout.write(f"{counted} valid; `akashic lint` looks closer\n")
        return EXIT_OK
    if args.list:
        from akashic.cli.present.listing import list_jobs  # not on the way of a run

        list_jobs(load_listed(application, request, cwd=context.cwd), request, context)
        return EXIT_OK
    if args.graph or args.dry_run:
        selection = select(application, request, cwd=context.cwd, remote=remote, unread=context.complain)
        _show_plan(application, selection, request, context)
        return EXIT_OK
    context = with_held_output(args, context)
    options = drive_options(args, context)

    def one_round(application: Application, changed: tuple[str, ...] | None) -> int:
        # Git takes as long as opening the journal does.
        application.look_at_repository()
        _ = application.journal
        if changed is None:
            selection = select(application, request, cwd=context.cwd, remote=remote)
        else:
            selection = affected(application, request, changed, cwd=context.cwd, remote=remote)
        if not selection.triggered:
            _say_nothing_to_run(selection, context)
            return EXIT_OK
        runs = [create(application, request, selection, item) for item in selection.triggered]
        code = Conductor(application, context, show_logs=_show_logs(args, context)).conduct(runs, options)
        if args.artifact_server_path is not None:
            from akashic.app.exports import export_artifacts  # who asks for it pays for it

            for line in export_artifacts(application, runs, context.cwd / args.artifact_server_path):
                context.stderr.write(line + "\n")
        return code

    if args.watch:
        from akashic.app.watching import affected  # only who watches pays for it
        from akashic.cli.watch import watch

        return watch(context, one_round)
    return one_round(application, None)


def take_act_files(args: argparse.Namespace, context: CommandContext) -> None:
    """Read what act would read by itself, and say so unless people want silence."""
    quiet = context.json or getattr(args, "quiet", False)
    with_act_files(args, context.cwd, (lambda _: None) if quiet else context.complain)


def _options_json() -> str:
    import json

    parser = argparse.ArgumentParser(add_help=False)
    configure(parser)
    options = [
        {"name": name.removeprefix("--"), "takes_value": option.nargs != 0, "description": option.help or ""}
        for option in parser._actions
        for name in option.option_strings
        if name.startswith("--")
    ]
    return json.dumps(options, indent=2)


def _show_plan(
    application: Application, selection: Selection, request: Request, context: CommandContext
) -> None:
    from akashic.app.foresight import foresee_all
    from akashic.cli.present.graph import plan_json, plan_lines

    foresight = foresee_all(application, request, selection)
    if context.json:
        context.stdout.write(plan_json(selection, request, indent=None, foresight=foresight) + "\n")
        return
    if not selection.triggered:
        context.stdout.write(f"nothing would run on {selection.event_name}\n")
    for line in plan_lines(selection, request, color=context.color, foresight=foresight):
        context.stdout.write(line + "\n")


def with_held_output(args: argparse.Namespace, context: CommandContext) -> CommandContext:
    """Where a shell may open, nothing else may write meanwhile, and no live view may move the cursor."""
    if not (args.break_on_failure or args.break_at):
        return context
    from akashic.cli.breakpoints import HeldStream  # shells are rare

    return replace(context, stdout=cast("TextIO", HeldStream(context.stdout)), color=False)


def drive_options(args: argparse.Namespace, context: CommandContext) -> DriveOptions:
    """How this process runs jobs, as the options say. Raises UsageError."""
    stops = bool(args.break_on_failure or args.break_at)
    if stops and not context.interactive:
        raise UsageError("--break and --break-on-failure open a shell: they need a terminal")
    if args.concurrent_jobs < 0:
        raise UsageError(
            f"--concurrent-jobs {args.concurrent_jobs}: expected 0 (as many as there are) or more"
        )
    stop = None
    if stops:
        from akashic.cli.breakpoints import terminal_breakpoint  # shells are rare

        stop = terminal_breakpoint(context)
    return DriveOptions(
        sandbox=args.sandbox,
        secrets=pairs(args.secret, args.secret_file, "--secret", context, ask=True),
        env=pairs(args.env, args.env_file, "--env", context, ask=True),
        overrides=overrides_of(getattr(args, "local_repository", []), context),
        builtins=not args.no_builtin,
        offline=args.offline,
        jobs_max=args.concurrent_jobs,
        containers=container_options_of(args, context),
        step_debug=args.step_debug,
        breakpoint=stop,
        break_on_failure=args.break_on_failure,
        break_at=frozenset(args.break_at),
        keep=not args.no_keep,
        memory_bytes_max=size_of(args.memory, "--memory"),
        processes_max=args.processes or None,
    )


def _show_logs(args: argparse.Namespace, context: CommandContext) -> bool:
    if args.quiet:
        return False
    return bool(args.verbose) or not context.color


def _say_nothing_to_run(selection: Selection, context: CommandContext) -> None:
    context.stderr.write(f"nothing to run: no workflow is triggered by {selection.event_name}\n")
    for path, reason in selection.passed_over:
        context.stderr.write(f"  {path}: {reason}\n")
    if any("filters tags only" in reason for _, reason in selection.passed_over):
        context.stderr.write("\nhint: akashic run --tag NAME runs what the push of a tag would\n")
