"""`akashic image build`: which tree, which options, who builds, where the result goes."""

from __future__ import annotations

import argparse
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from akashic.cli.command import CommandContext
from akashic.cli.commands.image_publish import (
    check_push,
    copy_to,
    destinations_of,
    push_to,
    register,
    report,
)
from akashic.errors import UsageError
from akashic.images.references import Destination, parse_destination
from akashic.images.spec import ImageSpec

if TYPE_CHECKING:
    from akashic.app import Application
    from akashic.images.engine import EngineOptions
    from akashic.images.layout import BuildOptions, BuiltImage
    from akashic.images.source import Source

CACHES_HINT = "an engine keeps a cache by itself; others need Docker's Buildx: docker buildx build"


def configure(sub: argparse.ArgumentParser) -> None:
    """The options of `build`, and of `all`."""
    sub.add_argument("--engine", choices=("auto", "docker", "none"), default="auto", help="who builds (auto)")
    sub.add_argument("--output", metavar="FILE", help="write image, digest and tags there as JSON")
    sub.add_argument("--version", dest="image_version", default="", help="for the labels and the release")
    sub.add_argument("--revision", default="", metavar="COMMIT", help="build this commit")
    sub.add_argument("--no-register", action="store_true", help="do not make it a release")
    sub.add_argument("--push", action="store_true", help="send image, SBOM and provenance to the registry")
    sub.add_argument(
        "--repository",
        default="",
        metavar="NAME",
        help="where --push sends it: registry.example.com/team/app",
    )
    engine = sub.add_argument_group("with a container engine")
    engine.add_argument(
        "--build-arg",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="a build argument; without a value that of the environment",
    )
    engine.add_argument("--label", action="append", default=[], metavar="NAME=VALUE", help="a label")
    engine.add_argument(
        "--cache-from", action="append", default=[], metavar="IMAGE", help="use the layers of this image"
    )
    engine.add_argument(
        "--cache-to",
        action="append",
        default=[],
        metavar="type=inline",
        help="let the image carry its cache (type=registry,ref=IMAGE also pushes it there)",
    )
    engine.add_argument("--no-cache", action="store_true", help="run every step again")
    engine.add_argument("--pull", action="store_true", help="ask the registries for newer base images")
    engine.add_argument("--network", default="", help="of the build's RUN steps (host, none)")
    engine.add_argument(
        "--add-host", action="append", default=[], metavar="NAME:ADDRESS", help="an entry in /etc/hosts"
    )
    engine.add_argument("--target", default="", metavar="STAGE", help="build this stage")
    engine.add_argument(
        "--context", default="", metavar="FOLDER", help="build this folder as it is, not what git tracks"
    )
    engine.add_argument("--file", default="", metavar="PATH", help="the Dockerfile (FOLDER/Dockerfile)")


def build(args: argparse.Namespace, context: CommandContext, application: Application) -> BuiltImage:
    """Build, register, push and report. Raises AkashicError."""
    destinations = destinations_of(args)
    if args.context or args.file:
        built = _build_folder(args, context, application, destinations)
        release = ""
    else:
        built = _build_repository(args, context, application, destinations)
        release = "" if args.no_register else register(context, application, built)
    pushed = push_to(args, context, built, destinations) if args.push else ()
    report(args, context, built, release, pushed)
    return built


# The trees


def _source(args: argparse.Namespace, context: CommandContext, application: Application) -> Source:
    """The tree that is meant: inside of a step the job's checkout, else the repository."""
    from akashic.app.repository import find_root
    from akashic.images.source import find_source, recognise

    in_step = context.environ.get("AKASHIC") == "true"
    root = application.root
    if in_step:
        try:
            root = find_root(context.cwd)[0]
        except UsageError:
            root = application.root
    source = find_source(root, revision=args.revision or "HEAD", untracked=not in_step)
    pushed = context.environ.get("GITHUB_SHA", "")
    if not in_step or not pushed or args.revision:
        return source
    return recognise(source, find_source(application.root, revision=pushed, dirty=False))


def _spec(args: argparse.Namespace, source: Source) -> ImageSpec:
    """`image:` of the akashic.yaml that belongs to the tree."""
    from akashic.delivery import CONFIG_NAME
    from akashic.delivery.config_file import parse_config
    from akashic.images.source import read_file

    config = parse_config(read_file(source, ".", CONFIG_NAME), CONFIG_NAME)
    if config.image is None:
        raise UsageError(f"{CONFIG_NAME}: there is no image to build", hint="describe it under image:")
    spec = config.image
    return msgspec.structs.replace(
        spec,
        platforms=platforms(args) or spec.platforms,
        repository=args.repository or spec.repository,
        dockerfile_target=args.target or spec.dockerfile_target,
    )


def platforms(args: argparse.Namespace) -> tuple[str, ...]:
    """What `--platforms` lists."""
    return tuple(part.strip() for part in args.platforms.split(",") if part.strip())


def _layer_cache(application: Application) -> Path:
    """Where finished layers are kept: with the tools, which jobs keep too. The `~/.cache` that a job sees is
    a copy of its own, gone when it ends."""
    tools = application.environ.get("RUNNER_TOOL_CACHE") or application.user_cache / "tools"
    return Path(tools) / "akashic-images"


def _build_repository(
    args: argparse.Namespace,
    context: CommandContext,
    application: Application,
    destinations: tuple[Destination, ...],
) -> BuiltImage:
    from akashic.images.context import tracked_context
    from akashic.images.engine import EnginePlan
    from akashic.images.engine_choice import choose_engine
    from akashic.images.layout import build_layout
    from akashic.images.source import content_version, read_file, read_files

    source = _source(args, context, application)
    spec = _spec(args, source)
    check_push(args, destinations, spec.repository)
    options = _options(args, context, application, source, destinations)
    dockerfile = read_file(source, spec.context, spec.dockerfile) if spec.dockerfile else None
    known = msgspec.structs.replace(spec, build_args=spec.build_args | _arguments(args, context))
    choice = choose_engine(args.engine, known, dockerfile, context.environ)
    if not choice.uses_engine:
        _refuse_engine_options(args, choice.reason)
        cache = _layer_cache(application)
        layout = application.releases.layout
        built = build_layout(spec, source, layout, cache=cache, options=options, clock=application.clock.now)
        return msgspec.structs.replace(built, notes=(choice.reason, *built.notes))
    files = read_files(source, spec.context, spec.include, spec.exclude)
    plan = EnginePlan(
        spec=spec,
        entries=tuple(tracked_context(source, spec.context, spec.dockerfile)),
        dockerfile=spec.dockerfile,
        version=options.version or content_version(source, files),
        source=source,
        created_s=source.commit_time_s if options.epoch_s is None else options.epoch_s,
    )
    built = _with_engine(args, context, application, plan, options)
    return msgspec.structs.replace(built, notes=(choice.reason, *built.notes))


def _build_folder(
    args: argparse.Namespace,
    context: CommandContext,
    application: Application,
    destinations: tuple[Destination, ...],
) -> BuiltImage:
    """A folder and its Dockerfile, as an engine's own command would build them; no akashic.yaml is read."""
    from akashic.images.context import folder_context
    from akashic.images.engine import EnginePlan
    from akashic.images.source import Source, find_source

    if args.engine == "none":
        raise UsageError("--context and --file need a container engine", hint="leave out --engine none")
    folder = (context.cwd / (args.context or ".")).resolve()
    dockerfile = _dockerfile(args, context, folder)
    try:
        source = find_source(folder, untracked=False)
    except UsageError:
        now = int(application.clock.now())
        commit = context.environ.get("GITHUB_SHA", "")
        source = Source(root=str(folder), prefix="", commit=commit, commit_time_s=now, dirty=True)
    name = destinations[0].name.rpartition("/")[2] if destinations and destinations[0].name else folder.name
    spec = ImageSpec(
        name=re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "image",
        dockerfile=dockerfile,
        dockerfile_target=args.target,
        platforms=platforms(args),
        repository=args.repository,
        compression="gzip",
    )
    check_push(args, destinations, spec.repository)
    options = _options(args, context, application, source, destinations)
    plan = EnginePlan(
        spec=spec,
        entries=tuple(folder_context(folder, dockerfile)),
        dockerfile=dockerfile,
        version=options.version or source.commit[:12] or "0",
        source=source,
        created_s=source.commit_time_s if options.epoch_s is None else options.epoch_s,
    )
    return _with_engine(args, context, application, plan, options)


def _dockerfile(args: argparse.Namespace, context: CommandContext, folder: Path) -> str:
    """Where the Dockerfile is, relative to the folder."""
    if not args.file:
        return "Dockerfile"
    path = Path(args.file)
    # As Docker reads it: relative to where the command runs.
    found = (context.cwd / path).resolve()
    if found.is_relative_to(folder):
        return PurePosixPath(found.relative_to(folder)).as_posix()
    raise UsageError(f"{args.file}: the Dockerfile must lie in the folder that is built ({folder})")


# With an engine


def _with_engine(
    args: argparse.Namespace,
    context: CommandContext,
    application: Application,
    plan: Any,
    options: BuildOptions,
) -> BuiltImage:
    from akashic.cancellation import Cancellation
    from akashic.containers.engine import Engine
    from akashic.images.engine import build_with_engine

    def say(line: str) -> None:
        print(line, file=context.stderr)

    engine = Engine.connect(context.environ)
    chosen = _engine_options(args, context)
    built = build_with_engine(
        engine,
        plan,
        application.releases.layout,
        options=options,
        engine_options=chosen,
        built_at=application.clock.now(),
        say=say,
        cancellation=Cancellation(),
    )
    for reference in _cache_images(args):
        copy_to(args, context, built, (parse_destination(reference),))
    return built


def _engine_options(args: argparse.Namespace, context: CommandContext) -> EngineOptions:
    from akashic.images.engine import EngineOptions

    return EngineOptions(
        args=_arguments(args, context),
        labels=dict(_pair(item, "--label") for item in args.label),
        cache_from=tuple(_cache_source(item) for item in args.cache_from),
        inline_cache=bool(args.cache_to),
        no_cache=args.no_cache,
        pull=args.pull,
        network=args.network,
        add_hosts=tuple(args.add_host),
        strict_platforms=bool(args.platforms),
    )


def _arguments(args: argparse.Namespace, context: CommandContext) -> dict[str, str]:
    found: dict[str, str] = {}
    for item in args.build_arg:
        name, equals, value = item.partition("=")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise UsageError(f"--build-arg {name!r}: expected NAME=VALUE, or NAME")
        if equals:
            found[name] = value
        elif name in context.environ:
            found[name] = context.environ[name]
    return found


def _pair(item: str, option: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals or not name:
        raise UsageError(f"{option} {item[:80]!r}: expected NAME=VALUE")
    return name, value


def _fields(item: str) -> dict[str, str]:
    return dict(part.partition("=")[::2] for part in item.split(","))


def _cache_source(item: str) -> str:
    """`IMAGE` or `type=registry,ref=IMAGE`."""
    if "=" not in item:
        parse_destination(item)
        return item
    fields = _fields(item)
    if fields.get("type") != "registry" or not fields.get("ref"):
        raise UsageError(
            f"--cache-from {item!r}: expected IMAGE or type=registry,ref=IMAGE", hint=CACHES_HINT
        )
    return fields["ref"]


def _cache_images(args: argparse.Namespace) -> list[str]:
    """Where `--cache-to` wants the image besides. Raises UsageError for what an engine cannot write."""
    found: list[str] = []
    for item in args.cache_to:
        fields = _fields(item)
        kind = fields.get("type", "")
        if kind not in ("inline", "registry") or fields.get("mode", "min") != "min":
            raise UsageError(
                f"--cache-to {item!r}: expected type=inline or type=registry,ref=IMAGE", hint=CACHES_HINT
            )
        if kind == "registry":
            found.append(fields.get("ref", ""))
    return found


def _refuse_engine_options(args: argparse.Namespace, reason: str) -> None:
    given = {
        "--build-arg": args.build_arg,
        "--label": args.label,
        "--cache-to": args.cache_to,
        "--target": args.target,
        "--network": args.network,
        "--add-host": args.add_host,
    }
    names = [name for name, value in given.items() if value]
    if names:
        raise UsageError(f"{', '.join(names)}: only an engine can do this, and the image is {reason}")


def _options(
    args: argparse.Namespace,
    context: CommandContext,
    application: Application,
    source: Source,
    destinations: tuple[Destination, ...],
) -> BuildOptions:
    from akashic.images.layout import BuildOptions

    environ = context.environ
    epoch = environ.get("SOURCE_DATE_EPOCH", "")
    if epoch and not epoch.isdecimal():
        raise UsageError(f"SOURCE_DATE_EPOCH is {epoch!r}; expected seconds since 1970")
    # What cannot be is told before anything is built.
    _cache_images(args)
    for item in args.cache_from:
        _cache_source(item)
    tags = tuple(dict.fromkeys(destination.tag for destination in destinations))
    return BuildOptions(
        tags=tags or _default_tags(context, application, source),
        version=args.image_version,
        epoch_s=int(epoch) if epoch else None,
        invocation_id=environ.get("AKASHIC_RUN_ID", ""),
    )


def _default_tags(context: CommandContext, application: Application, source: Source) -> tuple[str, ...]:
    from akashic.images.references import tags_for

    repository = application.repository
    ref = context.environ.get("GITHUB_REF") or repository.ref
    return tags_for(ref, source.commit, default_branch=repository.default_branch)
