"""`akashic environments`: the environments and their rules."""

from __future__ import annotations

import argparse
import json

import msgspec

from akashic.cli.command import CommandContext
from akashic.cli.present.style import Style, table
from akashic.delivery.config import EnvironmentConfig, LocalTarget, MemoryTarget
from akashic.errors import EXIT_OK
from akashic.runner.terminal import safe_for_terminal

HELP = "list the environments and their rules"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults()


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    environments = application.config.environments
    if context.json:
        for name, environment in environments.items():
            value = {"environment": name, **msgspec.to_builtins(environment)}
            context.stdout.write(json.dumps(value) + "\n")
        return EXIT_OK
    if not environments:
        context.stdout.write("akashic.yaml has no environments yet\n")
        return EXIT_OK
    rows = [["ENVIRONMENT", "TARGET", "BRANCHES", "APPROVALS", "CHECKS", "PROMOTES FROM"]]
    for name, environment in environments.items():
        cells = [
            name,
            _target(environment),
            ", ".join(environment.branches) or "all",
            _approvals(environment),
            f"{environment.health.path} + {len(environment.smoke)}",
            ", ".join(environment.promote_from) or "any",
        ]
        rows.append([safe_for_terminal(cell) for cell in cells])
    lines = table(rows)
    style = Style(context.color)
    context.stdout.write(style("dim", lines[0]) + "\n" + "\n".join(lines[1:]) + "\n")
    for name in application.deployments.known():
        if application.config.environment(name) is None:
            context.stdout.write(f"\n{safe_for_terminal(name)} is not in akashic.yaml: it has no rules\n")
    return EXIT_OK


def _target(environment: EnvironmentConfig) -> str:
    target = environment.target
    if isinstance(target, MemoryTarget):
        return "memory"
    port = f":{target.port}" if target.port else ""
    count = f" × {target.instances}" if target.instances > 1 else ""
    kind = "local" if isinstance(target, LocalTarget) else "docker"
    return f"{kind}{port}{count}"


def _approvals(environment: EnvironmentConfig) -> str:
    parts = []
    if environment.approvals is not None:
        rules = environment.approvals
        who = ", ".join(rules.reviewers) or "anybody"
        own = "" if rules.author_may_approve else ", not the author"
        parts.append(f"{rules.count} of {who}{own}")
    if environment.wait_timer_minutes:
        parts.append(f"after {environment.wait_timer_minutes:g} min")
    return "; ".join(parts) or "none"
