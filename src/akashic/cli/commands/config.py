"""`akashic config check | show | schema`: akashic.yaml."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import msgspec

from akashic.cli.command import CommandContext
from akashic.delivery import CONFIG_NAME
from akashic.delivery.config import Config
from akashic.delivery.config_file import parse_config, schema
from akashic.errors import EXIT_OK, UsageError

HELP = "check and show akashic.yaml"


def configure(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="what", required=True, metavar="check | show | schema")
    check = commands.add_parser("check", help="say everything that is wrong with akashic.yaml")
    check.add_argument("file", nargs="?", default="", help="another file")
    commands.add_parser("show", help="show the configuration with every default")
    commands.add_parser("schema", help="print the JSON schema for editors")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    if args.what == "schema":
        context.stdout.write(json.dumps(schema(), indent=2, sort_keys=True) + "\n")
        return EXIT_OK
    if args.what == "check":
        name, config = _read(args.file, context)
        count = len(config.environments)
        if context.json:
            context.stdout.write(json.dumps({"file": name, "environments": count}) + "\n")
        else:
            context.stdout.write(f"{name} is valid: {count} environment{'' if count == 1 else 's'}\n")
        return EXIT_OK
    config = context.application().config
    indent = None if context.json else 2
    context.stdout.write(json.dumps(msgspec.to_builtins(config), indent=indent) + "\n")
    return EXIT_OK


def _read(given: str, context: CommandContext) -> tuple[str, Config]:
    """The file's name as people know it, and what it says. Raises UsageError when it cannot be read."""
    path = context.cwd / given if given else context.application().root / CONFIG_NAME
    name = given or CONFIG_NAME
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}", hint=f"expected {path}") from error
    return name, parse_config(content, name)
