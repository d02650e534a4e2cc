"""`akashic image`: build, scan, test, list and clean up images."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from akashic.cli.command import CommandContext
from akashic.cli.commands import image_build, image_check, image_publish
from akashic.errors import EXIT_OK, UsageError

if TYPE_CHECKING:
    from akashic.app import Application
    from akashic.images.retention import Cleanup
    from akashic.images.spec import ImageSpec

HELP = "build, scan, test and clean up images"
DEPLOYMENT_RECORDS_LOOKED_AT = 200


def configure(parser: argparse.ArgumentParser) -> None:
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    actions = {
        "build": "build the image of the current commit and register it as a release",
        "scan": "look for secrets, dangerous settings, licences and known vulnerabilities",
        "test": "start the image, wait for its health, run the smoke checks, stop it",
        "cleanup": "remove old images",
        "all": "build, scan, test and clean up",
        "list": "show the images",
    }
    advisories = commands.add_parser("advisories", help="keep known vulnerabilities for later scans")
    advisories.add_argument(
        "file", nargs="+", metavar="ZIP", help="what OSV exports for an ecosystem (all.zip)"
    )
    for action, text in actions.items():
        sub = commands.add_parser(action, help=text)
        sub.add_argument("--tag", action="append", default=[], help="a tag; may be given several times")
        sub.add_argument(
            "--platforms",
            "--platform",
            default="",
            metavar="LIST",
            help="such as linux/amd64,linux/arm64",
        )
        sub.add_argument(
            "--insecure", action="store_true", help="plain HTTP and unknown certificates for the registry"
        )
        if action in ("build", "all"):
            image_build.configure(sub)
        if action in ("scan", "all"):
            image_check.configure_scan(sub)
        if action in ("test", "all"):
            image_check.configure_test(sub)
        if action in ("scan", "test"):
            sub.add_argument(
                "--image",
                default="",
                metavar="IMAGE",
                help="a tag, version or digest; an image of the engine or a registry (the newest built)",
            )
        if action in ("cleanup", "all"):
            _cleanup_options(sub, with_repository=action == "cleanup")


def _cleanup_options(sub: argparse.ArgumentParser, *, with_repository: bool) -> None:
    sub.add_argument("--keep", type=int, default=10, metavar="N", help="how many of the newest stay (10)")
    sub.add_argument("--protect", action="append", default=[], metavar="TAG", help="stays (latest)")
    sub.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    sub.add_argument(
        "--where",
        default="layout,engine",
        metavar="LIST",
        help="layout, engine, registry (layout,engine: the engine when one answers)",
    )
    if with_repository:
        sub.add_argument(
            "--repository", default="", metavar="NAME", help="in the registry (image.repository)"
        )


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    match args.action:
        case "build":
            image_build.build(args, context, application)
            return EXIT_OK
        case "list":
            return _list(context, application)
        case "advisories":
            return image_check.import_advisories(args, context, application)
        case "cleanup":
            return _cleanup(args, context, application)
        case "scan" | "test":
            with image_check.located(args, context, application) as image:
                check = image_check.scan if args.action == "scan" else image_check.test
                return check(args, context, application, image)
        case _:
            return _all(args, context, application)


def _all(args: argparse.Namespace, context: CommandContext, application: Application) -> int:
    """Build, scan, test, push when all was well, clean up."""
    from akashic.images.locate import Located

    push, args.push = args.push, False
    built = image_build.build(args, context, application)
    image = Located(layout=built.path, digest=built.digest, origin="layout", name=built.name)
    for check in (image_check.scan, image_check.test):
        code = check(args, context, application, image)
        if code != EXIT_OK:
            return code
    if push:
        image_publish.push_built(args, context, built)
    return _cleanup(args, context, application)


def _cleanup(args: argparse.Namespace, context: CommandContext, application: Application) -> int:
    from akashic.images.retention import PROTECTED_DEFAULT, clean_up

    places = [part.strip() for part in args.where.split(",") if part.strip()]
    unknown = [place for place in places if place not in ("layout", "engine", "registry")]
    if unknown or not places:
        raise UsageError(f"--where {args.where!r}: expected some of layout, engine, registry")
    protected = (*args.protect, *args.tag) or PROTECTED_DEFAULT
    if "layout" in places and (application.releases.layout / "index.json").exists():
        done = clean_up(
            application.releases.layout,
            keep=args.keep,
            protected_tags=protected,
            protected_digests=_deployed(application),
            dry_run=args.dry_run,
        )
        _say_cleanup(args, context, "layout", done)
    spec = _image_spec(application)
    if "engine" in places:
        _clean_engine(args, context, spec.name if spec else "", protected)
    if "registry" in places:
        _clean_registry(args, context, args.repository or (spec.repository if spec else ""), protected)
    return EXIT_OK


def _image_spec(application: Application) -> ImageSpec | None:
    from akashic.delivery import CONFIG_NAME
    from akashic.delivery.config_file import parse_config

    path = application.root / CONFIG_NAME
    return parse_config(path.read_bytes(), CONFIG_NAME).image if path.exists() else None


def _clean_engine(
    args: argparse.Namespace, context: CommandContext, name: str, protected: Sequence[str]
) -> None:
    from akashic.containers.engine import Engine
    from akashic.containers.errors import EngineMissing
    from akashic.images.cleaning import clean_engine, clean_runs

    try:
        engine = Engine.connect(context.environ)
        if name:
            done = clean_engine(engine, name, keep=args.keep, protected_tags=protected, dry_run=args.dry_run)
            _say_cleanup(args, context, "engine", done)
        of_runs = clean_runs(engine, keep=args.keep, dry_run=args.dry_run)
    except EngineMissing as error:
        # Without an engine there is nothing in one to remove.
        print(f"engine: {error.message}", file=context.stderr)
        return
    _say_cleanup(args, context, "engine, of runs", of_runs)


def _clean_registry(
    args: argparse.Namespace, context: CommandContext, name: str, protected: Sequence[str]
) -> None:
    from akashic.images.cleaning import clean_registry
    from akashic.images.transfer import open_repository

    if not name:
        raise UsageError("--where registry: which one?", hint="--repository NAME, or image.repository")
    with open_repository(name, context.environ, insecure=args.insecure) as repository:
        done = clean_registry(repository, keep=args.keep, protected_tags=protected, dry_run=args.dry_run)
    _say_cleanup(args, context, "registry", done)


def _say_cleanup(args: argparse.Namespace, context: CommandContext, place: str, done: Cleanup) -> None:
    verb = "would remove" if args.dry_run else "removed"
    for image in done.removed:
        if context.json:
            value = {"removed": image.digest, "dry_run": args.dry_run, "where": place, "tags": image.tags}
            print(json.dumps(value), file=context.stdout)
        else:
            line = f"{verb} {image.version} {image.digest} {' '.join(image.tags)}".rstrip()
            print(line, file=context.stdout)
    if not context.json:
        freed = f", {done.freed_bytes / 1_000_000:.1f} MB freed" if done.freed_bytes else ""
        print(f"{place}: {verb} {len(done.removed)}, kept {len(done.kept)}{freed}", file=context.stderr)


def _deployed(application: Application) -> set[str]:
    """The digests of releases that environments serve, or served lately and could go back to."""
    digests = {release.digest for release in application.releases.all()}
    text = b""
    for stream in application.journal.streams("environment/"):
        for record in application.journal.read(stream)[-DEPLOYMENT_RECORDS_LOOKED_AT:]:
            text += record.data
    return {digest for digest in digests if digest.encode() in text}


def _list(context: CommandContext, application: Application) -> int:
    from akashic.images.retention import list_images

    layout = application.releases.layout
    images = list_images(layout) if (layout / "index.json").exists() else []
    for image in images:
        if context.json:
            print(json.dumps(msgspec.to_builtins(image)), file=context.stdout)
        else:
            line = f"{image.digest[7:19]} {image.version:28} {' '.join(image.tags)}"
            print(line.rstrip(), file=context.stdout)
    return EXIT_OK
