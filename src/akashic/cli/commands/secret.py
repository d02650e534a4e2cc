"""`akashic secret`: keep secrets in the repository, encrypted.

No sub-command prints a value, or takes one as an argument, where every user of the machine could read it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from akashic.cli.command import CommandContext
from akashic.errors import EXIT_FAILED, EXIT_OK, UsageError

if TYPE_CHECKING:
    from akashic.secrets.document import Recipient
    from akashic.secrets.file import SecretsFile
    from akashic.secrets.secret import Secret

HELP = "keep secrets in the repository, encrypted"
DAY_S = 86_400
GENERATED_BYTES = 32


def configure(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    init = commands.add_parser("init", help="make your key (outside of the repository) and the secrets file")
    init.add_argument(
        "--recipient", action="append", default=[], metavar="[NAME=]KEY", help="somebody else who may read"
    )
    for action, text in (("set", "keep a value"), ("rotate", "replace a value, or encrypt all of them anew")):
        sub = commands.add_parser(action, help=f"{text}; it is read from the terminal or standard input")
        sub.add_argument("name", metavar="NAME", nargs="?" if action == "rotate" else None)
        _scope(sub)
        source = sub.add_mutually_exclusive_group()
        source.add_argument("--from-env", metavar="VARIABLE", help="take the value from this variable")
        source.add_argument("--from-file", metavar="FILE", help="take the value from this file, as it is")
        source.add_argument("--generate", action="store_true", help="make up a random value")
        if action == "rotate":
            sub.add_argument("--all", action="store_true", help="encrypt every value anew to the recipients")
    listing = commands.add_parser("list", help="names, scopes and ages; never values")
    _scope(listing, default=None)
    listing.add_argument(
        "--older-than", type=int, metavar="DAYS", help="only these; exit code 1 if there are any"
    )
    remove = commands.add_parser("rm", help="remove a secret")
    remove.add_argument("name", metavar="NAME")
    _scope(remove)
    people = commands.add_parser("recipients", help="who may read: list, add, rm")
    people.add_argument("change", nargs="?", choices=("list", "add", "rm"), default="list")
    people.add_argument("who", nargs="?", metavar="KEY", help="a public key (age1…); for rm also a name")
    people.add_argument("--name", default="", help="whose key it is")
    take = commands.add_parser("import", help="keep the values of a NAME=value file")
    take.add_argument("file", metavar="FILE", help="- is standard input")
    _scope(take)


def _scope(parser: argparse.ArgumentParser, default: str | None = "repository") -> None:
    parser.add_argument(
        "-e", "--environment", dest="scope", metavar="ENV", default=default, help="only for this environment"
    )


def run(args: argparse.Namespace, context: CommandContext) -> int:
    file = context.application().secrets
    match args.action:
        case "init":
            return _init(args, context, file)
        case "set":
            new = file.set(args.name, _value(args, context), scope=args.scope)
            _done(context, "added" if new else "changed", args)
        case "rotate":
            return _rotate(args, context, file)
        case "list":
            return _list(args, context, file)
        case "rm":
            file.remove(args.name, scope=args.scope)
            _done(context, "removed", args)
        case "recipients":
            return _recipients(args, context, file)
        case _:
            return _import(args, context, file)
    return EXIT_OK


def _init(args: argparse.Namespace, context: CommandContext, file: SecretsFile) -> int:
    from akashic.secrets.document import Recipient
    from akashic.secrets.keys import create_identity, find_identities, key_path, recipients_of

    path = key_path(context.environ)
    if context.environ.get("AKASHIC_KEY") or path.exists():
        mine = recipients_of(find_identities(context.environ))
        said = "your key was there already"
    else:
        mine = (create_identity(path),)
        said = f"made your key: {path} (keep a copy in a safe place; without it nothing can be read)"
    others = [_named(word) for word in args.recipient]
    file.init([*(Recipient(key=key, name="me") for key in mine), *others])
    if context.json:
        _json(context, {"file": str(file.path), "recipients": [*mine, *(other.key for other in others)]})
    else:
        print(f"{said}\nmade {file.path}; commit it\nyour public key: {', '.join(mine)}", file=context.stdout)
    return EXIT_OK


def _named(word: str) -> Recipient:
    from akashic.secrets.document import Recipient

    name, _, key = word.rpartition("=")
    return Recipient(key=key, name=name)


def _rotate(args: argparse.Namespace, context: CommandContext, file: SecretsFile) -> int:
    if args.all:
        if args.name:
            raise UsageError("rotate takes a name or --all, not both")
        count = file.re_encrypt()
        _done(context, f"encrypted {count} values anew", args)
        return EXIT_OK
    if not args.name:
        raise UsageError("rotate needs a secret's name", hint="or --all, to encrypt every value anew")
    file.rotate(args.name, _value(args, context), scope=args.scope)
    _done(context, "rotated", args)
    return EXIT_OK


def _list(args: argparse.Namespace, context: CommandContext, file: SecretsFile) -> int:
    now = time.time()
    found = file.list(args.scope)
    if args.older_than is not None:
        found = [info for info in found if now - info.set_at > args.older_than * DAY_S]
    for info in found:
        age_days = max(0, int(now - info.set_at)) // DAY_S
        if context.json:
            _json(
                context, {"name": info.name, "scope": info.scope, "set_at": info.set_at, "age_days": age_days}
            )
        else:
            print(f"{info.name:32} {info.scope:20} {age_days} d", file=context.stdout)
    if not found and not context.json:
        print("no secrets" if args.older_than is None else "none is that old", file=context.stdout)
    return EXIT_FAILED if args.older_than is not None and found else EXIT_OK


def _recipients(args: argparse.Namespace, context: CommandContext, file: SecretsFile) -> int:
    from akashic.secrets.document import Recipient

    if args.change == "list":
        for recipient in file.recipients():
            if context.json:
                _json(context, {"key": recipient.key, "name": recipient.name})
            else:
                print(f"{recipient.key} {recipient.name}".rstrip(), file=context.stdout)
        return EXIT_OK
    if not args.who:
        raise UsageError(f"recipients {args.change} needs a public key")
    if args.change == "add":
        count = file.add_recipient(Recipient(key=args.who, name=args.name))
        print(f"added; {count} values encrypted anew", file=context.stderr)
    else:
        count = file.remove_recipient(args.who)
        print(
            f"removed; {count} values encrypted anew. They could read the old ones: rotate each value",
            file=context.stderr,
        )
    return EXIT_OK


def _import(args: argparse.Namespace, context: CommandContext, file: SecretsFile) -> int:
    from akashic.secrets.dotenv import parse_dotenv

    text = sys.stdin.read() if args.file == "-" else _read(context.cwd / args.file).decode(errors="replace")
    values = parse_dotenv(text, args.file)
    new = file.set_many(values, scope=args.scope)
    names = ", ".join(sorted(values)) or "nothing"
    print(f"kept {names} in {args.scope} ({new} new); remove {args.file} now", file=context.stderr)
    return EXIT_OK


def _value(args: argparse.Namespace, context: CommandContext) -> Secret:
    """The value, from where the user says; never from an argument."""
    from akashic.secrets.secret import Secret

    if args.generate:
        import secrets

        return Secret(secrets.token_urlsafe(GENERATED_BYTES))
    if args.from_env:
        value = context.environ.get(args.from_env)
        if value is None:
            raise UsageError(f"the variable {args.from_env} is not set")
        return Secret(value)
    if args.from_file:
        return Secret(_read(context.cwd / args.from_file).decode(errors="strict"))
    if sys.stdin.isatty():
        import getpass

        return Secret(getpass.getpass(f"value of {args.name} (not shown): "))
    text = sys.stdin.read()
    # `echo` and editors end with a line break that nobody means.
    return Secret(text.removesuffix("\n").removesuffix("\r"))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot read: {error.strerror}") from None


def _done(context: CommandContext, what: str, args: argparse.Namespace) -> None:
    if context.json:
        _json(context, {"name": args.name, "scope": args.scope, "outcome": what})
    else:
        name = f" {args.name} in {args.scope}" if args.name else ""
        print(f"{what}{name}", file=context.stderr)


def _json(context: CommandContext, value: object) -> None:
    print(json.dumps(value), file=context.stdout)
