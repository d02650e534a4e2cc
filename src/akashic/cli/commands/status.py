"""`akashic status [ENV]`: what each environment serves."""

from __future__ import annotations

import argparse
import json
from typing import Any

import msgspec

from akashic.app import Application
from akashic.cli.command import CommandContext
from akashic.cli.conduct_deployment import recover
from akashic.cli.present.deployments import kind_of, machine, safe_lines, took, when
from akashic.cli.present.style import Style, table
from akashic.delivery.review import Waiting, waiting
from akashic.errors import EXIT_OK, UsageError
from akashic.runner.terminal import safe_for_terminal

HELP = "show what each environment serves"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("environment", nargs="?", default="", help="one environment, in detail")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    recover(application, context)
    known = application.deployments.known()
    names = [name for name in known if not args.environment or name.casefold() == args.environment.casefold()]
    if args.environment and not names:
        raise UsageError(f"there is no environment {args.environment!r}", hint=f"known: {', '.join(known)}")
    found = [_one(application, name) for name in names]
    if context.json:
        for one in found:
            context.stdout.write(json.dumps(one) + "\n")
        return EXIT_OK
    if not found:
        context.stdout.write("akashic.yaml has no environments yet\n")
        return EXIT_OK
    style = Style(context.color)
    rows = [["ENVIRONMENT", "SERVES", "COMMIT", "SINCE", "ADDRESS", "STATE"]]
    rows += [[safe_for_terminal(cell) for cell in _row(one)] for one in found]
    lines = table(rows)
    context.stdout.write(style("dim", lines[0]) + "\n" + "\n".join(lines[1:]) + "\n")
    for name in names:
        for deployment in application.deployments.state(name).open():
            request = deployment.request
            status = style(kind_of(deployment), str(deployment.status))
            spent = took(deployment, application.clock.now())
            context.stdout.write(
                f"\n{name} #{request.number}: {request.release.version} is {status} ({spent})\n"
            )
    for item in waiting(application.journal, application.deployments):
        if item.environment in names:
            context.stdout.write(safe_lines(_waits(item)) + "\n")
    if args.environment:
        _details(found[0], context)
    return EXIT_OK


def _waits(one: Waiting) -> str:
    if one.deployment:
        return f"{one.environment} waits for approval: akashic approve {one.environment}"
    number = one.run_sequence
    return f"{one.environment} waits for approval (run {number}): akashic approve {number}"


def _one(application: Application, name: str) -> dict[str, Any]:
    state = application.deployments.state(name)
    serving = state.serving()
    before = state.before_current()
    return {
        "environment": name,
        "serving": machine(serving) if serving else None,
        "rollback_to": machine(before) if before else None,
        "open": [machine(deployment) for deployment in state.open()],
        "target": msgspec.to_builtins(application.deployments.status(name)),
    }


def _row(one: dict[str, Any]) -> list[str]:
    serving, target = one["serving"], one["target"]
    problems = target["problems"]
    if serving is None:
        return [one["environment"], "–", "", "", "", "nothing deployed"]
    address = target["url"] or serving["url"]
    state = "; ".join(problems) if problems else "healthy"
    return [
        one["environment"],
        serving["version"],
        serving["commit"][:7],
        when(serving["ended_at"]),
        address,
        state,
    ]


def _details(one: dict[str, Any], context: CommandContext) -> None:
    out = context.stdout
    target = one["target"]
    for instance in target["instances"]:
        text = f"instance {instance['name']}: {instance['state']}, port {instance['port']}"
        text += f", process {instance['pid']}"
        if instance["restarts"]:
            text += f", restarted {instance['restarts']} times ({instance['last_exit']})"
        out.write(safe_lines(text) + "\n")
    for name, text in target["services"].items():
        out.write(safe_lines(f"service {name}: {text}") + "\n")
    if one["rollback_to"]:
        back = one["rollback_to"]
        out.write(safe_lines(f"akashic rollback goes back to {back['version']} ({back['release']})") + "\n")
