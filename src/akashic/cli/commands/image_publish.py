"""Where the result of `akashic image build` goes: registries, releases, outputs, the terminal."""

from __future__ import annotations

import argparse
import json
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from akashic.cli.command import CommandContext
from akashic.errors import UsageError
from akashic.images.references import Destination, parse_destination

if TYPE_CHECKING:
    from akashic.app import Application
    from akashic.images.layout import BuiltImage
    from akashic.images.transfer import Pushed


def destinations_of(args: argparse.Namespace) -> tuple[Destination, ...]:
    """What `--tag` lists. Raises UsageError, for `--repository` too."""
    found = tuple(parse_destination(tag) for tag in dict.fromkeys(args.tag))
    if args.repository:
        parse_destination(f"{args.repository}:latest")
    return found


def check_push(args: argparse.Namespace, destinations: tuple[Destination, ...], repository: str) -> None:
    """Raises UsageError when an image is to be pushed and nothing says where to."""
    complete = destinations and all(destination.name for destination in destinations)
    if args.push and not repository and not complete:
        raise UsageError(
            "--push: where to?", hint="--repository registry.example.com/team/app, or image.repository"
        )


def push_built(args: argparse.Namespace, context: CommandContext, built: BuiltImage) -> None:
    """Push what was built before, and say where to. Raises AkashicError."""
    for one in push_to(args, context, built, destinations_of(args)):
        for name in one.names:
            print(f"pushed {name}", file=context.stdout)


def push_to(
    args: argparse.Namespace,
    context: CommandContext,
    built: BuiltImage,
    destinations: tuple[Destination, ...],
) -> tuple[Pushed, ...]:
    """Push under every full name that `--tag` gave, and under the plain tags in the repository."""
    named = tuple(destination for destination in destinations if destination.name)
    plain = [item.tag for item in destinations if not item.name] if destinations else built.tags
    repository = args.repository or built.repository
    named += tuple(parse_destination(f"{repository}:{tag}") for tag in plain)
    return copy_to(args, context, built, named)


def copy_to(
    args: argparse.Namespace,
    context: CommandContext,
    built: BuiltImage,
    destinations: tuple[Destination, ...],
) -> tuple[Pushed, ...]:
    from akashic.images.transfer import open_repository, push

    by_name: dict[str, list[str]] = {}
    for destination in destinations:
        by_name.setdefault(destination.name, []).append(destination.tag)
    found: list[Pushed] = []
    for name, tags in by_name.items():
        with open_repository(name, context.environ, insecure=args.insecure) as repository:
            found.append(
                push(
                    Path(built.path),
                    built.digest,
                    repository,
                    tuple(dict.fromkeys(tags)),
                    say=lambda line: print(line, file=context.stderr),
                )
            )
    return tuple(found)


def register(context: CommandContext, application: Application, built: BuiltImage) -> str:
    environ = context.environ
    release = application.releases.register(
        layout=Path(built.path),
        digest=built.digest,
        version=built.version,
        commit=built.commit,
        created_by=environ.get("GITHUB_ACTOR") or application.user,
        run_id=environ.get("AKASHIC_RUN_ID", ""),
        workflow_sha256=environ.get("AKASHIC_WORKFLOW_SHA256", ""),
        ref=environ.get("GITHUB_REF") or application.repository.ref,
        image=built.name,
    )
    return release.id


def report(
    args: argparse.Namespace,
    context: CommandContext,
    built: BuiltImage,
    release: str,
    pushed: tuple[Pushed, ...],
) -> None:
    names = [name for one in pushed for name in one.names]
    value: dict[str, Any] = {
        "image": built.name,
        "digest": built.digest,
        "tags": list(built.tags),
        "version": built.version,
        "commit": built.commit,
        "dirty": built.dirty,
        "platforms": list(built.platforms),
        "left_out": [msgspec.to_builtins(left) for left in built.left_out],
        "size_bytes": built.size,
        "layout": built.path,
        "engine": built.engine,
        "release": release,
        "referrers": dict(built.referrers),
        "pushed": names,
    }
    if args.output:
        write_file(context.cwd / args.output, json.dumps(value, indent=2).encode() + b"\n")
    outputs = context.environ.get("GITHUB_OUTPUT", "")
    if outputs:
        _write_outputs(Path(outputs), built, names)
    if context.json:
        print(json.dumps(value), file=context.stdout)
        return
    for note in built.notes:
        print(note, file=context.stderr)
    for left in built.left_out:
        print(f"left out {left.platform}: {left.reason}", file=context.stderr)
    local = ", ".join(f"{built.name}:{tag}" for tag in built.tags)
    print(f"{local or built.name}\n{built.digest}", file=context.stdout)
    size = f"{built.size / 1_000_000:.1f} MB"
    print(f"{built.version} · {', '.join(built.platforms)} · {size}", file=context.stdout)
    for name in names:
        print(f"pushed {name}", file=context.stdout)
    if release:
        print(f"release {release}", file=context.stdout)


def _write_outputs(path: Path, built: BuiltImage, names: list[str]) -> None:
    """The step's outputs `image`, `digest`, `version` and `tags` (one a line), when the command is one's."""
    mark = f"end-{secrets.token_hex(8)}"
    values = {
        "image": built.name,
        "digest": built.digest,
        "version": built.version,
        "tags": "\n".join(names or built.tags),
    }
    text = "".join(f"{name}<<{mark}\n{value}\n{mark}\n" for name, value in values.items())
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"GITHUB_OUTPUT: {path}: cannot write: {error.strerror}") from None


def write_file(path: Path, data: bytes) -> None:
    """Write a file that the user asked for. Raises UsageError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise UsageError(f"{path}: cannot write: {error.strerror}") from None
