"""`akashic notify test`: send a message to every receiver, and say what became of it."""

from __future__ import annotations

import argparse
import json

from akashic.cli.command import CommandContext
from akashic.errors import EXIT_FAILED, EXIT_OK, UsageError

HELP = "test where notifications go"


def configure(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    test = commands.add_parser("test", help="send a message to every receiver and wait for the outcome")
    test.add_argument("--receiver", action="append", default=[], metavar="NAME", help="only this one")
    test.add_argument("--environment", default="", metavar="ENV", help="as if it were about this environment")
    test.add_argument(
        "--kind",
        default="info",
        choices=("success", "failure", "rollback", "approval_wanted", "info"),
        help="the kind of message (info)",
    )


def run(args: argparse.Namespace, context: CommandContext) -> int:
    from akashic.notify.message import Message
    from akashic.notify.notifier import Notifier

    application = context.application()
    notify = application.config.notifications

    def secret(name: str) -> str | None:
        found = application.secrets.get(name, args.environment)
        return None if found is None else found.reveal()

    notifier = Notifier(notify, secret=secret, say=lambda text: print(text, file=context.stderr))
    message = Message(
        kind=args.kind,
        title="A test of your notifications",
        text="If you read this, Akashic can reach you.",
        environment=args.environment,
        who=application.user,
    )
    deliveries = notifier.send(message, receivers=tuple(args.receiver))
    notifier.close()
    if not deliveries:
        raise UsageError("no receiver hears about this", hint="akashic.yaml lists them under notifications:")
    for delivery in deliveries:
        if context.json:
            value = {"receiver": delivery.receiver, "status": delivery.status, "attempts": delivery.attempts}
            print(json.dumps(value | {"error": delivery.error}), file=context.stdout)
        else:
            print(str(delivery), file=context.stdout)
    return EXIT_OK if all(delivery.status == "delivered" for delivery in deliveries) else EXIT_FAILED
