"""`akashic rollback [ENV]`: back to the release before."""

from __future__ import annotations

import argparse

from akashic.cli.command import CommandContext
from akashic.cli.conduct_deployment import follow, origin, recover
from akashic.errors import UsageError

HELP = "go back to the release before"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("environment", nargs="?", default="", help="needed when there is more than one")
    parser.add_argument("--to", metavar="R", default="", help="a release that served here before")
    parser.add_argument("--reason", default="", help="why, for the record")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    recover(application, context)
    name = args.environment
    if not name:
        names = list(application.config.environments)
        if len(names) != 1:
            listed = ", ".join(names) or "none"
            raise UsageError("which environment?", hint=f"akashic rollback ENV; there is: {listed}")
        name = names[0]
    who = origin(application, context)
    id_ = application.deployments.request_rollback(name, who, to=args.to, reason=args.reason)
    return follow(application, context, name, id_)
