"""`akashic image`: build, scan, test, list and clean up images."""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from akashic.cli.command import CommandContext
from akashic.cli.commands import image_build
from akashic.cli.commands.image_build import write_file
from akashic.errors import EXIT_FAILED, EXIT_OK, UsageError

if TYPE_CHECKING:
    from akashic.app import Application

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
            _scan_options(sub)
        if action in ("test", "all"):
            sub.add_argument(
                "--env", action="append", default=[], metavar="NAME=VALUE", help="set for the image"
            )
            sub.add_argument(
                "--timeout", type=float, default=60.0, metavar="S", help="to become healthy (60)"
            )
        if action in ("scan", "test"):
            sub.add_argument(
                "--image", default="", metavar="IMAGE", help="a tag, version or digest (the newest)"
            )
        if action in ("cleanup", "all"):
            sub.add_argument(
                "--keep", type=int, default=10, metavar="N", help="how many of the newest stay (10)"
            )
            sub.add_argument("--protect", action="append", default=[], metavar="TAG", help="stays (latest)")
            sub.add_argument("--dry-run", action="store_true", help="only say what would be removed")


def _scan_options(sub: argparse.ArgumentParser) -> None:
    levels = ("low", "medium", "high", "critical")
    sub.add_argument("--fail-on", choices=(*levels, "never"), default="high", help="the gate (high)")
    sub.add_argument("--sarif", metavar="FILE", help="write the findings there as SARIF")
    sub.add_argument(
        "--allow-list", metavar="FILE", help="accepted findings, with reasons and days of expiry"
    )
    sub.add_argument("--advisories", default="", metavar="FOLDER", help="OSV records (JSON files)")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    match args.action:
        case "build":
            image_build.build(args, context, application)
            return EXIT_OK
        case "list":
            return _list(context, application)
        case "cleanup":
            return _cleanup(args, context, application)
        case "scan":
            return _scan(args, context, application, _digest(args, application))
        case "test":
            return _test(args, context, application, _digest(args, application))
        case _:
            built = image_build.build(args, context, application)
            for step in (_scan, _test):
                code = step(args, context, application, built.digest)
                if code != EXIT_OK:
                    return code
            return _cleanup(args, context, application)


# Looking at images


def _digest(args: argparse.Namespace, application: Application) -> str:
    from akashic.images.naming import find_image
    from akashic.images.retention import list_images

    layout = application.releases.layout
    reference = args.image or (args.tag[0] if args.tag else "")
    if reference:
        return find_image(layout, reference)
    images = list_images(layout) if (layout / "index.json").exists() else []
    if not images:
        raise UsageError("there is no image yet", hint="akashic image build makes one")
    return images[0].digest


def _platform(args: argparse.Namespace) -> str:
    return str(args.platforms.split(",")[0].strip())


def _scan(args: argparse.Namespace, context: CommandContext, application: Application, digest: str) -> int:
    from akashic import __version__
    from akashic.images.findings import AllowList, apply_allow_list, at_least, parse_allow_list, sarif
    from akashic.images.scan import ScanPolicy, scan_image

    folder = str(context.cwd / args.advisories) if args.advisories else ""
    policy = ScanPolicy(advisories=folder)
    found = scan_image(application.releases.layout, digest, policy, platform=_platform(args))
    allow = AllowList()
    if args.allow_list:
        path = context.cwd / args.allow_list
        allow = parse_allow_list(_read(path), args.allow_list)
    today = datetime.fromtimestamp(application.clock.now(), UTC).date()
    findings, expired = apply_allow_list(found, allow, today)
    if args.sarif:
        write_file(
            context.cwd / args.sarif, json.dumps(sarif(findings, version=__version__), indent=1).encode()
        )
    for finding in findings:
        if context.json:
            print(json.dumps(msgspec.to_builtins(finding)), file=context.stdout)
        else:
            place = f"{finding.where}:{finding.line}" if finding.line else finding.where
            accepted = f" (accepted: {finding.allowed})" if finding.allowed else ""
            print(
                f"{finding.severity:8} {finding.rule} {place}: {finding.message}{accepted}",
                file=context.stdout,
            )
    for sentence in expired:
        print(sentence, file=context.stderr)
    if not args.advisories:
        print("known vulnerabilities were not looked for: no --advisories", file=context.stderr)
    failing = [] if args.fail_on == "never" else at_least(findings, args.fail_on)
    print(
        f"{len(findings)} findings, {len(failing)} of them fail the gate ({args.fail_on})",
        file=context.stderr,
    )
    return EXIT_FAILED if failing else EXIT_OK


def _test(args: argparse.Namespace, context: CommandContext, application: Application, digest: str) -> int:
    from akashic.images.trial import try_image

    env: dict[str, str] = {}
    for item in args.env:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise UsageError(f"--env {name!r}: expected NAME=VALUE")
        env[name] = value
    trial = try_image(application.releases.layout, digest, env=env, timeout_s=args.timeout)
    if context.json:
        print(json.dumps(msgspec.to_builtins(trial)), file=context.stdout)
    elif trial.healthy:
        checks = "".join(f"\n  {line}" for line in trial.smoke)
        print(f"healthy after {trial.started_in_s:.1f} s{checks}", file=context.stdout)
    else:
        print(f"the image failed its test: {trial.problem}\nits output:\n{trial.log}", file=context.stderr)
    return EXIT_OK if trial.healthy else EXIT_FAILED


def _cleanup(args: argparse.Namespace, context: CommandContext, application: Application) -> int:
    from akashic.images.retention import PROTECTED_DEFAULT, clean_up

    done = clean_up(
        application.releases.layout,
        keep=args.keep,
        protected_tags=tuple(args.protect) or PROTECTED_DEFAULT,
        protected_digests=_deployed(application),
        dry_run=args.dry_run,
    )
    verb = "would remove" if args.dry_run else "removed"
    for image in done.removed:
        if context.json:
            print(json.dumps({"removed": image.digest, "dry_run": args.dry_run}), file=context.stdout)
        else:
            print(
                f"{verb} {image.version} {image.digest} {' '.join(image.tags)}".rstrip(), file=context.stdout
            )
    if not context.json:
        freed = f", {done.freed_bytes / 1_000_000:.1f} MB freed" if done.freed_bytes else ""
        print(f"{verb} {len(done.removed)}, kept {len(done.kept)}{freed}", file=context.stderr)
    return EXIT_OK


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


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot read: {error.strerror}") from None
