"""`akashic lock`: pin every action that the workflows use, and what those use, to commits."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

from akashic.cli.command import CommandContext
from akashic.errors import EXIT_FAILED, EXIT_OK, UsageError
from akashic.runner.actions.cache import ActionCache
from akashic.runner.actions.lockfile import LOCK_PATH, LockFile
from akashic.runner.actions.locking import Locker, used_actions

HELP = "pin the actions that the workflows use, and what those use, to commits"
CACHE_FOLDER = "akashic/actions"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--update", action="store_true", help="take the commits that tags and branches have now"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="change nothing; fail when an action is missing or its tag has moved",
    )
    parser.add_argument("--server-url", default="https://github.com", help=argparse.SUPPRESS)


def run(args: argparse.Namespace, context: CommandContext) -> int:
    root = _root(context.cwd)
    home = context.environ.get("XDG_CACHE_HOME") or str(Path(context.environ.get("HOME", "/")) / ".cache")
    cache = ActionCache(Path(home) / CACHE_FOLDER, server_url=args.server_url, environ=context.environ)
    old = LockFile.read(root)
    pins = dict(old.pins) if old is not None else {}
    locker = Locker(cache, pins, update=args.update or args.check)
    for uses in used_actions(root):
        locker.add(uses)
    missing = sorted(set(locker.pins) - set(pins))
    moved = sorted(pin for pin in locker.pins if pin in pins and pins[pin] != locker.pins[pin])
    gone = sorted(set(pins) - set(locker.pins))
    _tell(context, locker.pins, missing, moved, gone)
    if args.check:
        return EXIT_FAILED if missing or moved else EXIT_OK
    LockFile(root / LOCK_PATH, locker.pins).write()
    if not context.json:
        count = len(locker.pins)
        context.stdout.write(f"{LOCK_PATH}: {count} {'action' if count == 1 else 'actions'} pinned\n")
    return EXIT_OK


def _tell(
    context: CommandContext, pins: dict[str, str], missing: list[str], moved: list[str], gone: list[str]
) -> None:
    for kind, names in (("new", missing), ("moved", moved), ("unused", gone)):
        for name in names:
            if context.json:
                context.stdout.write(
                    json.dumps({"change": kind, "action": name, "commit": pins.get(name, "")}) + "\n"
                )
            else:
                context.stdout.write(f"{kind:7}{name} {pins.get(name, '')}".rstrip() + "\n")


def _root(cwd: Path) -> Path:
    for folder in _upwards(cwd):
        if (folder / ".github" / "workflows").is_dir():
            return folder
    raise UsageError(
        f"{cwd}: no .github/workflows here or above", hint="Run this inside a repository with workflows."
    )


def _upwards(cwd: Path) -> Iterator[Path]:
    folder = Path(os.path.abspath(cwd))  # noqa: PTH100 - links in the user's path stay as typed
    yield folder
    yield from folder.parents
