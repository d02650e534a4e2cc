"""`akashic image scan` and `akashic image test`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from akashic.cli.command import CommandContext
from akashic.cli.commands.image_build import platforms
from akashic.cli.commands.image_publish import write_file
from akashic.errors import EXIT_FAILED, EXIT_OK, UsageError

if TYPE_CHECKING:
    from akashic.app import Application
    from akashic.images.compose import Service
    from akashic.images.findings import Finding
    from akashic.images.locate import Located
    from akashic.images.trial import Trial


def configure_scan(sub: argparse.ArgumentParser) -> None:
    """The options of `scan`, and of `all`."""
    levels = ("low", "medium", "high", "critical")
    sub.add_argument("--fail-on", choices=(*levels, "never"), default="high", help="the gate (high)")
    sub.add_argument("--sarif", metavar="FILE", help="write the findings there as SARIF")
    sub.add_argument(
        "--allow-list", metavar="FILE", help="accepted findings, with reasons and days of expiry"
    )
    sub.add_argument(
        "--advisories", default="", metavar="PATH", help="OSV records: a folder, or the zip that OSV exports"
    )

    sub.add_argument("--ignore-unfixed", action="store_true", help="no vulnerabilities that have no fix")
    sub.add_argument(
        "--scanners", default="", metavar="LIST", help="only some of vuln, secret, misconfig, license"
    )


def configure_test(sub: argparse.ArgumentParser) -> None:
    """The options of `test`, and of `all`."""
    sub.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="set for the image")
    sub.add_argument("--timeout", type=float, default=60.0, metavar="S", help="to become healthy (60)")
    sub.add_argument(
        "--compose", default="", metavar="FILE", help="the services that it needs (image.compose)"
    )
    sub.add_argument("--smoke", action="append", default=[], metavar="PATH", help="answers below 400")


@contextmanager
def located(args: argparse.Namespace, context: CommandContext, application: Application) -> Iterator[Located]:
    """The image that `--image` or `--tag` means; else the newest."""
    from akashic.images.locate import open_image
    from akashic.images.read import host_platform

    reference = args.image or (args.tag[0] if args.tag else "")
    several = len(platforms(args)) > 1
    platform = "" if several else _platform(args) or host_platform()
    layout = application.releases.layout
    with open_image(reference, layout, context.environ, platform=platform, insecure=args.insecure) as found:
        yield found


def _platform(args: argparse.Namespace) -> str:
    return str(args.platforms.split(",")[0].strip())


def advisories_folder(application: Application) -> Path:
    """Where imported advisories lie, for all repositories of the user."""
    return application.user_cache / "advisories"


def import_advisories(args: argparse.Namespace, context: CommandContext, application: Application) -> int:
    """Keep OSV's exports for later scans."""
    from akashic.images.advisories import import_advisories as keep

    for file in args.file:
        ecosystem, count = keep(context.cwd / file, advisories_folder(application))
        if context.json:
            print(json.dumps({"ecosystem": ecosystem, "records": count}), file=context.stdout)
        else:
            print(f"{ecosystem}: {count} advisories", file=context.stdout)
    return EXIT_OK


def scan(args: argparse.Namespace, context: CommandContext, application: Application, image: Located) -> int:
    """Scan, apply the allow-list, write SARIF, say the findings; the gate decides the exit code."""
    from akashic import __version__
    from akashic.images.findings import AllowList, apply_allow_list, at_least, parse_allow_list, sarif
    from akashic.images.scan import ScanPolicy, scan_image

    imported = advisories_folder(application)
    place = str(context.cwd / args.advisories) if args.advisories else ""
    place = place or (str(imported) if imported.is_dir() else "")
    found = [
        finding
        for platform in platforms(args) or ("",)
        for finding in scan_image(
            Path(image.layout), image.digest, ScanPolicy(advisories=place), platform=platform
        )
    ]
    found = _wanted(args, list(dict.fromkeys(found)))
    allow = AllowList()
    if args.allow_list:
        path = context.cwd / args.allow_list
        allow = parse_allow_list(_read(path), args.allow_list)
    today = datetime.fromtimestamp(application.clock.now(), UTC).date()
    findings, expired = apply_allow_list(found, allow, today)
    if args.sarif:
        document = json.dumps(sarif(findings, version=__version__), indent=1)
        write_file(context.cwd / args.sarif, document.encode())
    for finding in findings:
        if context.json:
            print(json.dumps(msgspec.to_builtins(finding)), file=context.stdout)
            continue
        where = f"{finding.where}:{finding.line}" if finding.line else finding.where
        accepted = f" (accepted: {finding.allowed})" if finding.allowed else ""
        print(
            f"{finding.severity:8} {finding.rule} {where}: {finding.message}{accepted}", file=context.stdout
        )
    for sentence in expired:
        print(sentence, file=context.stderr)
    if not place:
        print(
            "known vulnerabilities were not looked for: no --advisories, and none were imported",
            file=context.stderr,
        )
    failing = [] if args.fail_on == "never" else at_least(findings, args.fail_on)
    print(
        f"{len(findings)} findings, {len(failing)} of them fail the gate ({args.fail_on})",
        file=context.stderr,
    )
    return EXIT_FAILED if failing else EXIT_OK


def _wanted(args: argparse.Namespace, found: list[Finding]) -> list[Finding]:
    """What `--scanners` and `--ignore-unfixed` leave. Raises UsageError."""
    from akashic.images.findings import SCANNERS, scanner_of

    names = [name.strip() for name in args.scanners.split(",") if name.strip()]
    unknown = [name for name in names if name not in SCANNERS]
    if unknown:
        raise UsageError(f"--scanners {unknown[0]!r}: expected some of {', '.join(SCANNERS)}")
    kept = [finding for finding in found if not names or scanner_of(finding) in names]
    return [finding for finding in kept if not (args.ignore_unfixed and finding.unfixed)]


def test(args: argparse.Namespace, context: CommandContext, application: Application, image: Located) -> int:
    """Start the image, here or in the engine, and say how it went."""
    from akashic.images.read import read_config

    env: dict[str, str] = {}
    for item in args.env:
        name, equals, value = item.partition("=")
        if not equals or not name:
            raise UsageError(f"--env {name!r}: expected NAME=VALUE")
        env[name] = value
    config = read_config(Path(image.layout), image.digest, platform=_platform(args))
    if config.runtime:
        trial = _try_here(args, image, env)
    else:
        trial = _try_in_engine(args, context, image, env)
    if context.json:
        print(json.dumps(msgspec.to_builtins(trial)), file=context.stdout)
    elif trial.healthy:
        checks = "".join(f"\n  {line}" for line in trial.smoke)
        print(f"healthy after {trial.started_in_s:.1f} s{checks}", file=context.stdout)
    else:
        print(f"the image failed its test: {trial.problem}\nits output:\n{trial.log}", file=context.stderr)
    return EXIT_OK if trial.healthy else EXIT_FAILED


def _try_here(args: argparse.Namespace, image: Located, env: dict[str, str]) -> Trial:
    """An image without an interpreter of its own runs as a process of this machine."""
    from akashic.images.trial import try_image

    if args.compose:
        raise UsageError(
            "--compose: this image was built without an engine and runs as a process of this machine",
            hint="give it its services with --env, or build it with --engine docker",
        )
    return try_image(
        Path(image.layout), image.digest, env=env, timeout_s=args.timeout, smoke_paths=tuple(args.smoke)
    )


def _try_in_engine(
    args: argparse.Namespace, context: CommandContext, image: Located, env: dict[str, str]
) -> Trial:
    from akashic.cancellation import Cancellation
    from akashic.containers.engine import Engine
    from akashic.images.engine_trial import engine_name, try_in_engine

    engine = Engine.connect(context.environ)
    name, loaded = engine_name(engine, Path(image.layout), image.digest, platform=_platform(args))
    try:
        return try_in_engine(
            engine,
            name,
            services=_services(args, context, name),
            env=env,
            timeout_s=args.timeout,
            smoke_paths=tuple(args.smoke),
            cancellation=Cancellation(),
        )
    finally:
        if loaded:
            engine.images.remove(name, force=True)


def _services(args: argparse.Namespace, context: CommandContext, image: str) -> tuple[Service, ...]:
    """What stands in the compose file, with `IMAGE` for the image that is tried."""
    from akashic.delivery import CONFIG_NAME
    from akashic.delivery.config_file import parse_config
    from akashic.images.compose import parse_compose

    path = context.cwd / args.compose if args.compose else None
    config = context.application().root / CONFIG_NAME
    if path is None and config.exists():
        spec = parse_config(_read(config), CONFIG_NAME).image
        if spec is not None and spec.compose:
            path = config.parent / spec.context / spec.compose
    if path is None:
        return ()
    text = _read(path).decode("utf-8", "replace")
    return parse_compose(text, str(path), {**context.environ, "IMAGE": image})


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot read: {error.strerror}") from None
