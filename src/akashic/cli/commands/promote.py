"""`akashic promote FROM TO`: what one environment serves, to the next."""

from __future__ import annotations

import argparse

from akashic.cli.command import CommandContext
from akashic.cli.conduct_deployment import follow, origin, recover

HELP = "deploy what one environment serves to the next"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="from", help="the environment that serves the release")
    parser.add_argument("destination", metavar="to", help="the environment that it goes to")
    parser.add_argument("--no-wait", action="store_true", help="leave it waiting when it needs an approval")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    recover(application, context)
    who = origin(application, context)
    id_ = application.deployments.request_promotion(args.source, args.destination, who)
    return follow(application, context, args.destination, id_, wait=not args.no_wait)
