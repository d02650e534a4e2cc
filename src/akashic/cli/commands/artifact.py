"""`akashic artifact`: what runs have kept."""

from __future__ import annotations

import argparse
from functools import cache
from pathlib import Path

import msgspec

from akashic.app.runs import find_run, number_of
from akashic.cli.command import CommandContext
from akashic.cli.present.texts import label
from akashic.errors import EXIT_OK, UsageError
from akashic.journal.artifact import Artifact
from akashic.journal.artifacts import ArtifactStore
from akashic.journal.beneath import open_beneath

HELP = "list, fetch and remove the artifacts of runs"


def configure(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = commands.add_parser("list", help="artifacts that have not expired")
    listing.add_argument("--run", default=None, help="only this run's (its number or id)")
    listing.add_argument("--pattern", default="*", help="only names that match, such as 'report-*'")
    fetch = commands.add_parser("get", help="unpack an artifact into a folder")
    fetch.add_argument("artifact", help="its id or its name (the newest of that name)")
    fetch.add_argument("--run", default=None, help="look only in this run (its number or id)")
    fetch.add_argument("--output", "-o", default=None, help="the folder (default: one named after it)")
    remove = commands.add_parser("rm", help="remove artifacts")
    remove.add_argument("artifact", nargs="+", help="ids or names")
    remove.add_argument("--run", default=None, help="look only in this run (its number or id)")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    store: ArtifactStore = application.artifacts
    # Looked up also when there are no artifacts of it: a run that is not there is a mistake.
    run_id = find_run(application, args.run) if args.run is not None else None
    if args.action == "list":
        number = cache(lambda run_id: number_of(application, run_id))
        for artifact in store.find_all(run_id, pattern=args.pattern):
            _show(artifact, context, number(artifact.run_id))
        return EXIT_OK
    if args.action == "get":
        artifact = _find(store, args.artifact, run_id)
        # An artifact's name is one part of a path, and never a way out (`check_name`).
        folder = context.cwd / (args.output or artifact.name)
        folder.mkdir(parents=True, exist_ok=True)
        with open_beneath(str(folder), (), create=False) as place:
            facts = store.extract(artifact, place, modes=True)
        _tell(context, {"id": artifact.id, "folder": str(folder), "files": facts.files},
              f"{facts.files} file(s) in {_short(folder, context)}")  # fmt: skip
        return EXIT_OK
    # All are looked up before the first is removed, so that a wrong name removes nothing.
    for artifact in [_find(store, wanted, run_id) for wanted in args.artifact]:
        store.delete(artifact)
        _tell(context, {"removed": artifact.id}, f"removed {label(artifact.name)} ({artifact.id})")
    return EXIT_OK


def _find(store: ArtifactStore, wanted: str, run_id: str | None) -> Artifact:
    found = [
        artifact
        for artifact in store.find_all(run_id)
        if artifact.name == wanted or (wanted.isdigit() and artifact.id == int(wanted))
    ]
    if not found:
        raise UsageError(f"there is no artifact {wanted!r}", hint="See: akashic artifact list")
    return found[-1]


def _short(folder: Path, context: CommandContext) -> str:
    return str(folder.relative_to(context.cwd)) if folder.is_relative_to(context.cwd) else str(folder)


def _show(artifact: Artifact, context: CommandContext, run_number: int) -> None:
    line = f"{artifact.id:>6}  {label(artifact.name):<32}  {artifact.size:>12,}  {artifact.files:>6} files"
    _tell(context, msgspec.to_builtins(artifact), f"{line}  run {run_number or artifact.run_id}")


def _tell(context: CommandContext, data: object, words: str) -> None:
    text = msgspec.json.encode(data).decode() if context.json else words
    context.stdout.write(text + "\n")
