"""`akashic plan`: what an event would run, and why not."""

from __future__ import annotations

import argparse

from akashic.app.driving import action_cache
from akashic.app.foresight import foresee_all
from akashic.app.remote import remote_reader
from akashic.app.selection import select
from akashic.cli.command import CommandContext
from akashic.cli.commands.run import take_act_files
from akashic.cli.present.graph import plan_json, plan_lines, plan_mermaid
from akashic.cli.run_options import configure_request, overrides_of, request_of
from akashic.errors import EXIT_OK

HELP = "show what an event would run, and why not"


def configure(parser: argparse.ArgumentParser) -> None:
    configure_request(parser)
    parser.add_argument("--offline", action="store_true", help="ask no server for reusable workflows")
    parser.add_argument(
        "--format", choices=("text", "json", "mermaid", "svg"), default="text", help="how (text)"
    )


def run(args: argparse.Namespace, context: CommandContext) -> int:
    take_act_files(args, context)
    application = context.application(keeps=False)
    overrides = overrides_of(args.local_repository, context)
    remote = remote_reader(action_cache(application), overrides, offline=args.offline)
    request = request_of(args, context)
    selection = select(application, request, cwd=context.cwd, remote=remote, unread=context.complain)
    foresight = foresee_all(application, request, selection)
    if args.format == "json" or context.json:
        indent = None if context.json else 2
        context.stdout.write(plan_json(selection, request, indent=indent, foresight=foresight) + "\n")
        return EXIT_OK
    if args.format == "mermaid":
        context.stdout.write(plan_mermaid(selection, request, foresight))
        return EXIT_OK
    if args.format == "svg":
        from akashic.cli.present.svg import plan_svg

        context.stdout.write(plan_svg(selection, request, foresight))
        return EXIT_OK
    if not selection.triggered:
        context.stdout.write(f"nothing would run on {selection.event_name}\n")
    for line in plan_lines(selection, request, color=context.color, foresight=foresight):
        context.stdout.write(line + "\n")
    return EXIT_OK
