"""`akashic start [ENV]`: start again what an environment served before a stop."""

from __future__ import annotations

import argparse

from akashic.cli.command import CommandContext
from akashic.cli.conduct_deployment import follow, origin, recover
from akashic.errors import EXIT_OK, UsageError
from akashic.runner.terminal import safe_for_terminal

HELP = "start again what an environment served before a stop"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("environment", nargs="?", default="", help="only this one (all that are down)")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    recover(application, context)
    deployments = application.deployments
    names = [args.environment] if args.environment else deployments.known()
    if not args.environment:
        names = [name for name in names if deployments.state(name).serving() is not None]
        if not names:
            raise UsageError("nothing was deployed yet", hint="akashic up, or akashic deploy ENV")
    code = EXIT_OK
    for name in names:
        if deployments.runs(name):
            context.stderr.write(f"{safe_for_terminal(name)} runs already\n")
            continue
        id_ = deployments.request_start(name, origin(application, context))
        code = max(code, follow(application, context, name, id_))
    return code
