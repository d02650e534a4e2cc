"""`akashic warm`: the process that makes commands start fast, and its end."""

from __future__ import annotations

import argparse
import json

from akashic.cli.command import CommandContext
from akashic.cli.warm import control, place
from akashic.errors import EXIT_OK

HELP = "show or stop the process that makes commands start fast"
_MIB = 1024 * 1024


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=("status", "stop"), default="status")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    out = context.stdout
    if args.action == "stop":
        count = control.stop(context.environ)
        out.write(json.dumps({"stopped": count}) + "\n" if context.json else f"stopped: {count}\n")
        return EXIT_OK
    found = control.servers(context.environ)
    for server in found:
        if context.json:
            out.write(json.dumps(server._asdict()) + "\n")
        else:
            out.write(f"process {server.pid} is warm ({server.memory_bytes / _MIB:.0f} MB)\n")
    if not context.json:
        if not found:
            out.write("no process is warm; the next `akashic run` leaves one\n")
        minutes = place.IDLE_TIMEOUT_S // 60
        out.write(f"it ends after {minutes} minutes without work; {place.SWITCH}=off does without\n")
    return EXIT_OK
