"""`akashic history ENV`: an environment's deployments."""

from __future__ import annotations

import argparse
import json

from akashic.cli.command import CommandContext
from akashic.cli.present.deployments import kind_of, machine, took, when
from akashic.cli.present.style import Style, table
from akashic.errors import EXIT_OK, UsageError
from akashic.runner.terminal import safe_for_terminal

HELP = "show an environment's deployments"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("environment", nargs="?", default="", help="one environment (all)")
    parser.add_argument("-n", "--last", type=int, default=20, metavar="N", help="how many of each (20)")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    known = application.deployments.known()
    names = [name for name in known if not args.environment or name.casefold() == args.environment.casefold()]
    if args.environment and not names:
        raise UsageError(f"there is no environment {args.environment!r}", hint=f"known: {', '.join(known)}")
    shown = [d for name in names for d in application.deployments.history(name)[: max(1, args.last)]]
    if context.json:
        for deployment in shown:
            context.stdout.write(json.dumps(machine(deployment)) + "\n")
        return EXIT_OK
    if not shown:
        context.stdout.write("no deployments yet\n")
        return EXIT_OK
    style = Style(context.color)
    rows = [["", "#", "ENVIRONMENT", "RELEASE", "STATUS", "KIND", "BY", "APPROVED BY", "WHEN", "TOOK", "WHY"]]
    for deployment in shown:
        request = deployment.request
        first_line = deployment.reason.partition("\n")[0]
        cells = [
            style.mark(kind_of(deployment)),
            str(request.number),
            request.environment,
            request.release.version,
            str(deployment.status),
            request.kind,
            request.by,
            ", ".join(deployment.approved_by) or "–",
            when(deployment.requested_at),
            took(deployment, application.clock.now()),
            first_line[:60],
        ]
        rows.append([cells[0], *(safe_for_terminal(cell) for cell in cells[1:])])
    lines = table(rows)
    context.stdout.write(style("dim", lines[0]) + "\n" + "\n".join(lines[1:]) + "\n")
    return EXIT_OK
