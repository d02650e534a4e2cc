"""`akashic cache`: what jobs keep for later runs."""

from __future__ import annotations

import argparse

import msgspec

from akashic.cli.command import CommandContext
from akashic.cli.present.texts import label
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
    remove.add_argument("--key", default=None, help="those whose keys begin so")
    remove.add_argument("--ref", default=None, help="those of this scope, such as refs/pull/7/merge")
    remove.add_argument("--all", action="store_true", help="remove all caches")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    store: CacheStore = context.application().caches
    if args.action == "list":
        for entry in store.find_all(key_prefix=args.key, scope=args.ref):
            _show(entry, context)
        return EXIT_OK
    for entry in _chosen(args, store):
        store.delete(entry)
        words = f"removed {label(entry.key)} ({label(entry.scope)})"
        data = msgspec.json.encode({"removed": entry.id}).decode()
        context.stdout.write((data if context.json else words) + "\n")
    return EXIT_OK


def _chosen(args: argparse.Namespace, store: CacheStore) -> list[CacheEntry]:
    """All are looked up before the first is removed, so that a wrong name removes nothing."""
    by_rule = args.key is not None or args.ref is not None
    if bool(args.cache) + by_rule + args.all != 1:
        raise UsageError(
            "name the caches to remove, or give --key, --ref or --all", hint="See: akashic cache list"
        )
    known = store.find_all(key_prefix=args.key or "", scope=args.ref)
    return [entry for name in args.cache for entry in _find(known, name)] if args.cache else known


def _find(known: list[CacheEntry], name: str) -> list[CacheEntry]:
    found = [entry for entry in known if name in (entry.key, entry.id)]
    if not found:
        raise UsageError(f"there is no cache {name!r}", hint="See: akashic cache list")
    return found


def _show(entry: CacheEntry, context: CommandContext) -> None:
    line = f"{label(entry.key):<56}  {entry.size:>14,}  {entry.files:>6} files  {label(entry.scope)}"
    context.stdout.write((msgspec.json.encode(entry).decode() if context.json else line) + "\n")
