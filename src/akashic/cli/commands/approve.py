"""`akashic approve [WHAT]`: approve what waits: a job's gate in a run, or a deployment."""

from __future__ import annotations

import argparse

from akashic.cli.command import CommandContext
from akashic.cli.review import configure_review, review

HELP = "approve what waits at an environment's gate"


def configure(parser: argparse.ArgumentParser) -> None:
    configure_review(parser)


def run(args: argparse.Namespace, context: CommandContext) -> int:
    return review(args, context, approved=True)
