"""`akashic preview list|rm|sweep`: the environments of branches."""

from __future__ import annotations

import argparse
import json

import msgspec

from akashic.cli.command import CommandContext
from akashic.cli.conduct_deployment import recover
from akashic.cli.present.deployments import when
from akashic.cli.present.style import Style, table
from akashic.delivery.previews import Previews
from akashic.errors import EXIT_OK
from akashic.runner.terminal import safe_for_terminal

HELP = "list and remove the environments of branches"


def configure(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="what", metavar="list|rm|sweep", required=True)
    commands.add_parser("list", help="show the previews, their branches, and how long they stay")
    remove = commands.add_parser("rm", help="stop a preview and remove its data")
    remove.add_argument("preview", help="its name, its branch, or the branch's slug")
    remove.add_argument("--missing-ok", action="store_true", help="there may be none (its branch is gone)")
    commands.add_parser("sweep", help="remove those whose time is over; every delivery command does")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    previews = Previews(application.deployments)
    if args.what == "rm":
        return _remove(args, context, previews, application.user)
    recover(application, context)
    if args.what == "sweep":
        for name in previews.sweep(by=application.user):
            context.stdout.write(safe_for_terminal(f"{name} is removed: its time is over") + "\n")
        return EXIT_OK
    found = previews.all()
    if context.json:
        for preview in found:
            context.stdout.write(json.dumps(msgspec.to_builtins(preview)) + "\n")
        return EXIT_OK
    if not found:
        context.stdout.write("there are no previews\n")
        return EXIT_OK
    rows = [["PREVIEW", "BRANCH", "SERVES", "ADDRESS", "UNTIL"]]
    for preview in found:
        until = when(preview.expires_at) if preview.expires_at else "removed"
        rows.append(
            [
                safe_for_terminal(t)
                for t in (preview.name, preview.branch, preview.version, preview.url, until)
            ]
        )
    lines = table(rows)
    context.stdout.write(Style(context.color)("dim", lines[0]) + "\n" + "\n".join(lines[1:]) + "\n")
    return EXIT_OK


def _remove(args: argparse.Namespace, context: CommandContext, previews: Previews, user: str) -> int:
    from akashic.errors import UsageError

    try:
        name = previews.find(args.preview)
    except UsageError:
        if not args.missing_ok:
            raise
        context.stdout.write(safe_for_terminal(f"there is no preview of {args.preview}") + "\n")
        return EXIT_OK
    previews.remove(name, by=user, reason="removed by hand or with its branch")
    context.stdout.write(safe_for_terminal(f"{name} and its data are removed") + "\n")
    return EXIT_OK
