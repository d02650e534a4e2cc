"""`akashic lock`: pin every action that the workflows use, and what those use, to commits."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping

from akashic.app.driving import action_cache
from akashic.cli.command import CommandContext
from akashic.errors import EXIT_FAILED, EXIT_OK, AkashicError, UsageError
from akashic.runner.actions.lockfile import LOCK_PATH, LockFile, without_tag
from akashic.runner.actions.locking import ImageDigest, Locker, used_actions

HELP = "pin the actions that the workflows use, and what those use, to commits"


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
    application = context.application()
    root = application.root
    if not (root / ".github" / "workflows").is_dir():
        raise UsageError(f"{root}: there is no .github/workflows", hint="run this where workflows are")
    cache = action_cache(application, server_url=args.server_url)
    old = LockFile.read(root)
    pins = dict(old.pins) if old is not None else {}
    images = dict(old.images or {}) if old is not None else {}
    locker = Locker(
        cache, pins, update=args.update or args.check, known_images=images, digest=_digests(context)
    )
    for uses in used_actions(root):
        locker.add(uses)
    before, now = _all(pins, images), _all(locker.pins, locker.images)
    missing = sorted(set(now) - set(before))
    moved = sorted(pin for pin in now if pin in before and before[pin] != now[pin])
    gone = sorted(set(before) - set(now))
    _tell(context, now, missing, moved, gone)
    for image, reason in sorted(locker.unpinned.items()):
        context.stderr.write(f"docker://{image} is not pinned: {reason}\n")
    if args.check:
        return EXIT_FAILED if missing or moved else EXIT_OK
    LockFile(root / LOCK_PATH, locker.pins, locker.images).write()
    if not context.json:
        count = len(locker.pins)
        images_count = sum(1 for digest in locker.images.values() if digest)
        more = f" and {images_count} {'image' if images_count == 1 else 'images'}" if images_count else ""
        own = len(locker.built_in)
        own_text = (
            f"; {own} {'is built in and needs' if own == 1 else 'are built in and need'} no pin"
            if own
            else ""
        )
        what = "action" if count == 1 else "actions"
        context.stdout.write(f"{LOCK_PATH}: {count} {what}{more} pinned{own_text}\n")
    return EXIT_OK


def _all(pins: Mapping[str, str], images: Mapping[str, str]) -> dict[str, str]:
    return {**pins, **{f"docker://{image}": digest for image, digest in images.items()}}


def _digests(context: CommandContext) -> Callable[[str], ImageDigest]:
    """Asks the container engine, when there is one, for the digests of its images in their registries."""
    from akashic.containers.engine import Engine  # only workflows with Docker actions pay for it
    from akashic.containers.errors import NotFound

    def digest(image: str) -> ImageDigest:
        try:
            found = Engine.connect(context.environ).images.inspect(image)
        except NotFound:
            return ImageDigest("", f"the engine does not have it; docker pull {image}, then lock again")
        except AkashicError as error:
            return ImageDigest("", error.message)
        names = [reference.partition("@") for reference in found.digests]
        name = without_tag(image)
        fitting = [value for known, _, value in names if known == name or known.endswith(f"/{name}")]
        if not fitting:
            return ImageDigest("", "it was made on this machine, and no registry knows it")
        return ImageDigest(fitting[0])

    return digest


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
