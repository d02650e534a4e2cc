"""`akashic down`: stop everything that was started on this machine for this repository."""

from __future__ import annotations

import argparse

from akashic.cli.command import CommandContext
from akashic.cli.warm import control
from akashic.delivery.local.client import SupervisorClient
from akashic.delivery.previews import Previews
from akashic.errors import EXIT_OK

HELP = "stop everything that `up` or `deploy` started on this machine"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("environment", nargs="?", default="", help="only this environment")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    if not args.environment:
        control.stop(context.environ)
    client = SupervisorClient(application.state_dir)
    Previews(application.deployments).sweep(by="akashic")
    if not client.running():
        context.stdout.write("nothing runs\n")
        return EXIT_OK

    def say(text: str) -> None:
        context.stdout.write(text + "\n")

    if args.environment:
        args.environment, _ = application.config.find(args.environment)
        client.ask({"op": "stop", "environment": args.environment}, progress=say)
        context.stdout.write(f"{args.environment} is stopped; its data is kept\n")
    else:
        client.ask({"op": "down"}, progress=say)
        context.stdout.write("everything is stopped; data is kept\n")
    return EXIT_OK
