"""`akashic deploy ENV`: a release to an environment, healthy or rolled back."""

from __future__ import annotations

import argparse

from akashic.cli.command import CommandContext
from akashic.cli.conduct_deployment import follow, origin, recover
from akashic.delivery.previews import Previews
from akashic.errors import UsageError

HELP = "deploy a release to an environment"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "environment", help="an environment of akashic.yaml; for previews also their template"
    )
    parser.add_argument(
        "--release", metavar="R", default="", help="a release's id, version, commit or digest (the newest)"
    )
    parser.add_argument("--reason", default="", help="why, for the record")
    parser.add_argument("--no-wait", action="store_true", help="leave it waiting when it needs an approval")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    recover(application, context)
    who = origin(application, context)
    releases = application.releases
    if args.release:
        release = releases.find(args.release)
    else:
        found = releases.latest_for_run(who.run_id) if who.run_id else releases.latest()
        if found is None:
            of_run = "this run has registered none" if who.run_id else "there is none yet"
            raise UsageError(f"there is no release to deploy: {of_run}", hint="akashic image build makes one")
        release = found
    name = Previews(application.deployments).name_of(args.environment, release, who)
    id_ = application.deployments.request(name, release, who, reason=args.reason)
    return follow(application, context, name, id_, wait=not args.no_wait)
