"""`akashic cache`: what jobs keep for later runs."""

from __future__ import annotations

import argparse

import msgspec

from akashic.cli.command import CommandContext
from akashic.errors import EXIT_OK, UsageError
from akashic.journal.caches import CacheEntry, CacheStore

HELP = "list and remove the caches of jobs"


def configure(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = commands.add_parser("list", help="caches, the last used first")
    listing.add_argument("--key", default="", help="only keys that begin so")
    listing.add_argument("--ref", default=None, help="only this scope, such as refs/heads/main")
    remove = commands.add_parser("rm", help="remove caches")
    remove.add_argument("cache", nargs="*", help="keys or ids")
    remove.add_argument("--all", action="store_true", help="remove all caches")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    store: CacheStore = context.application().caches
    if args.action == "list":
        for entry in store.find_all(key_prefix=args.key, scope=args.ref):
            _show(entry, context)
        return EXIT_OK
    if bool(args.cache) == args.all:
        raise UsageError("name the caches to remove, or give --all", hint="See: akashic cache list")
    known = store.find_all()
    chosen = known if args.all else [entry for name in args.cache for entry in _find(known, name)]
    for entry in chosen:
        store.delete(entry)
        words = f"removed {entry.key} ({entry.scope})"
        data = msgspec.json.encode({"removed": entry.id}).decode()
        context.stdout.write((data if context.json else words) + "\n")
    return EXIT_OK


def _find(known: list[CacheEntry], name: str) -> list[CacheEntry]:
    found = [entry for entry in known if name in (entry.key, entry.id)]
    if not found:
        raise UsageError(f"there is no cache {name!r}", hint="See: akashic cache list")
    return found


def _show(entry: CacheEntry, context: CommandContext) -> None:
    line = f"{entry.key:<56}  {entry.size:>14,}  {entry.files:>6} files  {entry.scope}"
    context.stdout.write((msgspec.json.encode(entry).decode() if context.json else line) + "\n")
