"""`akashic image build`: which tree, which options, who builds, where the result goes."""

from __future__ import annotations

import argparse
import json
import re
import secrets
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from akashic.cli.command import CommandContext
from akashic.errors import UsageError
from akashic.images.references import Destination, parse_destination
from akashic.images.spec import ImageSpec

if TYPE_CHECKING:
    from akashic.app import Application
    from akashic.images.engine import EngineOptions
    from akashic.images.layout import BuildOptions, BuiltImage
    from akashic.images.source import Source
    from akashic.images.transfer import Pushed

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
    destinations = _destinations(args)
    if args.context or args.file:
        built = _build_folder(args, context, application, destinations)
        release = ""
    else:
        built = _build_repository(args, context, application, destinations)
        release = "" if args.no_register else _register(context, application, built)
    pushed = _push(args, context, built, destinations) if args.push else ()
    _report(args, context, built, release, pushed)
    return built


def _destinations(args: argparse.Namespace) -> tuple[Destination, ...]:
    found = tuple(parse_destination(tag) for tag in dict.fromkeys(args.tag))
    if args.repository:
        parse_destination(f"{args.repository}:latest")
    return found


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
    from akashic.delivery.config import CONFIG_NAME
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


def _build_repository(
    args: argparse.Namespace,
    context: CommandContext,
    application: Application,
    destinations: tuple[Destination, ...],
) -> BuiltImage:
    from akashic.images.context import tracked_context
    from akashic.images.engine import EnginePlan, choose_engine
    from akashic.images.layout import build_layout
    from akashic.images.source import content_version, read_file, read_files

    source = _source(args, context, application)
    spec = _spec(args, source)
    options = _options(args, context, application, source, destinations)
    dockerfile = read_file(source, spec.context, spec.dockerfile) if spec.dockerfile else None
    known = msgspec.structs.replace(spec, build_args=spec.build_args | _arguments(args, context))
    choice = choose_engine(args.engine, known, dockerfile, context.environ)
    if not choice.uses_engine:
        _refuse_engine_options(args, choice.reason)
        cache = application.user_cache / "images"
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
        _copy(args, context, built.path, built.digest, (parse_destination(reference),))
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
    if args.cache_to:
        _cache_images(args)
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


# Where the result goes


def push_built(args: argparse.Namespace, context: CommandContext, built: BuiltImage) -> None:
    """Push what was built before, and say where to. Raises AkashicError."""
    for one in _push(args, context, built, _destinations(args)):
        for name in one.names:
            print(f"pushed {name}", file=context.stdout)


def _push(
    args: argparse.Namespace,
    context: CommandContext,
    built: BuiltImage,
    destinations: tuple[Destination, ...],
) -> tuple[Pushed, ...]:
    named = tuple(destination for destination in destinations if destination.name)
    if not named or built.repository:
        repository = args.repository or built.repository
        if not repository and not named:
            raise UsageError(
                "--push: where to?", hint="--repository registry.example.com/team/app, or image.repository"
            )
        if repository:
            plain = [destination.tag for destination in destinations if not destination.name] or built.tags
            named += tuple(
                parse_destination(f"{repository}:{tag}") for tag in plain if not destinations or tag
            )
    return _copy(args, context, built.path, built.digest, named)


def _copy(
    args: argparse.Namespace,
    context: CommandContext,
    layout: str,
    digest: str,
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
                    Path(layout),
                    digest,
                    repository,
                    tuple(dict.fromkeys(tags)),
                    say=lambda line: print(line, file=context.stderr),
                )
            )
    return tuple(found)


def _register(context: CommandContext, application: Application, built: BuiltImage) -> str:
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


def _report(
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
