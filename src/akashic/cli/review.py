"""`approve` and `reject`: shows exactly what is reviewed, asks, and writes down who said what.

The reviewer is the user who runs the command, as the machine knows them; nobody can review under another
name.
"""

from __future__ import annotations

import argparse
import json

from akashic.app.people import inside_a_job
from akashic.cli.command import CommandContext
from akashic.cli.conduct_deployment import recover
from akashic.cli.present.deployments import details, when
from akashic.delivery.review import Waiting, review_waiting, waiting
from akashic.errors import EXIT_OK, EXIT_USAGE, UsageError
from akashic.runner.terminal import safe_for_terminal


def configure_review(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        nargs="?",
        default="",
        help="an environment, a run's id or number (what waits, when it is one)",
    )
    parser.add_argument("--job", default="", help="one job of a run")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.add_argument("--comment", default="", help="for the record")


def review(args: argparse.Namespace, context: CommandContext, *, approved: bool) -> int:
    """Review the one thing that is meant; the exit code."""
    application = context.application()
    if inside_a_job(context.environ, application.state_dir):
        raise UsageError("a step of a job cannot review: it is not a person")
    verb = "approve" if approved else "reject"
    found = [one for one in waiting(application.journal, application.deployments) if _meant(one, args)]
    if not found:
        about = f" that {args.what!r} could mean" if args.what else ""
        raise UsageError(f"nothing waits for approval{about}", hint="akashic status shows what goes on")
    if len(found) > 1:
        names = "\n".join(f"  akashic {verb} {_name(one)}" for one in found)
        raise UsageError(f"{len(found)} things wait; say which:\n{names}")
    one = found[0]
    lines = _details(one)
    if not context.json:
        context.stdout.write("\n".join(lines) + "\n")
    if not args.yes:
        if not context.interactive:
            raise UsageError("there is no terminal to ask at", hint=f"akashic {verb} {_name(one)} --yes")
        context.stdout.write(f"{verb} exactly this as {application.user}? [y/N] ")
        context.stdout.flush()
        if input().strip().lower() not in ("y", "yes"):
            context.stdout.write("nothing was changed\n")
            return EXIT_USAGE
    review_waiting(
        application.journal,
        application.deployments,
        application.clock,
        one,
        by=application.user,
        approved=approved,
        comment=args.comment,
    )
    if context.json:
        said = {"environment": one.environment, "run_id": one.run_id, "job": one.key, "approved": approved}
        context.stdout.write(
            json.dumps({**said, "deployment": one.deployment, "by": application.user}) + "\n"
        )
    else:
        context.stdout.write(f"{'approved' if approved else 'rejected'} by {application.user}\n")
    # Whoever waited may be gone by now: then it goes on here.
    recover(application, context)
    return EXIT_OK


def _meant(one: Waiting, args: argparse.Namespace) -> bool:
    if args.job and one.key != args.job:
        return False
    return not args.what or args.what.casefold() in (
        one.environment.casefold(),
        one.run_id,
        str(one.run_sequence),
        one.deployment,
    )


def _name(one: Waiting) -> str:
    return one.deployment or (f"{one.run_sequence or one.run_id} --job '{safe_for_terminal(one.key)}'")


def _details(one: Waiting) -> list[str]:
    if one.found is not None:
        return details(one.found)
    binding = one.binding
    rows = [
        ("environment", one.environment),
        ("run", f"{one.run_sequence or one.run_id}, job {one.key}"),
        ("commit", binding.commit),
        ("workflow", binding.workflow_sha256),
        ("digest", binding.artifact_digest or "none built yet"),
        ("started by", one.author),
        ("waits since", when(one.since)),
        ("approvals", f"{one.approvals_needed} needed, from {', '.join(one.reviewers) or 'anybody'}"),
    ]
    width = max(len(name) for name, _ in rows)
    return [f"  {name.ljust(width)}  {safe_for_terminal(value)}" for name, value in rows]
