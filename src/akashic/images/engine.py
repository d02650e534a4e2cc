"""Builds a Dockerfile with a container engine, one platform after another; the result is an OCI layout.

The engine is asked through its API alone. Engines whose store holds one platform an image (all before the
containerd store) can take part too, because the parts are put together here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from akashic.cancellation import Cancellation
from akashic.containers.dockerfile import base_images, declared_args
from akashic.containers.engine import Engine
from akashic.containers.errors import BuildFailed, NotFound
from akashic.images import provenance, sbom
from akashic.images.archive import import_archive
from akashic.images.buildkit import DockerfileBuild, build, context_tar
from akashic.images.config import image_labels, timestamp
from akashic.images.inventory import packages_of
from akashic.images.layout import BuildOptions, BuiltImage, LeftOut
from akashic.images.naming import attach_documents, name_image
from akashic.images.read import read_config, read_manifest
from akashic.images.references import check_tag
from akashic.images.source import Source
from akashic.images.spec import ImageSpec
from akashic.images.store import INDEX, Layout, canonical_json
from akashic.images.tar import Entry

IMAGE_LABEL = "akashic.image"
"""On every image that we have an engine build: the image's name. Cleaning up looks for it."""

_NO_EMULATOR = re.compile(
    r"exec format error|exec user process caused|unsupported architecture", re.IGNORECASE
)

_NO_BASE = re.compile(
    r"no such host|connection refused|i/o timeout|pull access denied|failed to do request|: not found"
)


class EngineOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What only an engine can be told. `args` win over those that we give by ourselves; `cache_from` are
    images with an inline cache; `strict_platforms`: a platform that cannot be built is an error."""

    args: dict[str, str] = {}
    labels: dict[str, str] = {}
    cache_from: tuple[str, ...] = ()
    inline_cache: bool = False
    no_cache: bool = False
    pull: bool = False
    network: str = ""
    add_hosts: tuple[str, ...] = ()
    strict_platforms: bool = False


class EnginePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is built: the context's files, the Dockerfile's place among them, and how the build is called.
    `commit` is empty for a folder that is no repository."""

    spec: ImageSpec
    entries: tuple[Entry, ...]
    dockerfile: str
    version: str
    source: Source
    created_s: int


def build_args(plan: EnginePlan, options: EngineOptions, dockerfile: str) -> dict[str, str]:
    """The build arguments: of ours those that the Dockerfile declares (version, commit, date, runtime's
    version), then `image.build_args`, then what was given."""
    declared = declared_args(dockerfile)
    ours = {
        "PYTHON_VERSION": plan.spec.python,
        "VERSION": plan.version,
        "APP_VERSION": plan.version,
        "COMMIT": plan.source.commit,
        "APP_COMMIT": plan.source.commit,
        "BUILD_DATE": timestamp(plan.created_s),
        "SOURCE_DATE_EPOCH": str(plan.created_s),
    }
    args = {name: value for name, value in ours.items() if name in declared}
    args |= plan.spec.build_args | options.args
    # A cache that travels inside of the image: the only one that an engine writes by itself.
    return args | ({"BUILDKIT_INLINE_CACHE": "1"} if options.inline_cache else {})


def build_with_engine(
    engine: Engine,
    plan: EnginePlan,
    layout: Path,
    *,
    options: BuildOptions,
    engine_options: EngineOptions,
    built_at: float,
    say: Callable[[str], None],
    cancellation: Cancellation,
) -> BuiltImage:
    """Build every platform, take the results into the layout, attach bill of materials and provenance, and
    name the image. The engine keeps its own platform's part as `name:tag`.

    Raises BuildFailed with the end of the output, EngineError, ImageError, Interrupted.
    """
    for tag in options.tags:
        check_tag(tag)
    work = _Work(engine, plan, layout, options, engine_options, say, cancellation)
    store = Layout(layout)
    store.create()
    with store.building():
        parts, left_out = work.parts(options.tags)
        platforms = tuple(parts)
        top = next(iter(parts.values())) if len(parts) == 1 else _put_index(store, parts)
        attached = attach_documents(store, top, *work.documents(str(top["digest"]), platforms[0]))
        name_image(
            store,
            top,
            options.tags,
            name=plan.spec.name,
            version=plan.version,
            built_at=built_at,
            referrers=list(attached.values()),
        )
    digest = str(top["digest"])
    return BuiltImage(
        name=plan.spec.name,
        digest=digest,
        path=str(layout),
        config=read_config(layout, digest, platform=platforms[0]),
        size=sum(store.blob_path(part).stat().st_size for part in store.reachable([digest])),
        commit=plan.source.commit,
        version=plan.version,
        dirty=plan.source.dirty,
        tags=options.tags,
        platforms=platforms,
        left_out=left_out,
        referrers={kind: descriptor["digest"] for kind, descriptor in attached.items()},
        engine="docker",
        repository=plan.spec.repository,
        notes=("an engine's image is not reproducible byte for byte",),
    )


class _Work:
    """One build of all platforms."""

    def __init__(
        self,
        engine: Engine,
        plan: EnginePlan,
        layout: Path,
        build_options: BuildOptions,
        options: EngineOptions,
        say: Callable[[str], None],
        cancellation: Cancellation,
    ) -> None:
        self._engine = engine
        self._plan = plan
        self._layout = layout
        self._build_options = build_options
        self._options = options
        self._say = say
        self._cancellation = cancellation
        dockerfile = next(entry for entry in plan.entries if entry.path == plan.dockerfile)
        content = dockerfile.content
        text = (content.read_bytes() if isinstance(content, Path) else content).decode("utf-8", "replace")
        self.args = build_args(plan, options, text)
        self._base_names = base_images(text, self.args)
        self.bases: dict[str, str] = {}

    def parts(self, tags: Sequence[str]) -> tuple[dict[str, dict[str, Any]], tuple[LeftOut, ...]]:
        """The descriptor of each platform's image, the first platform's first."""
        info = self._engine.info()
        native = f"linux/{info.architecture}"
        wanted = tuple(dict.fromkeys(self._plan.spec.platforms)) or (native,)
        self._pull_bases(native)
        found: dict[str, dict[str, Any]] = {}
        left_out: list[LeftOut] = []
        for platform in wanted:
            try:
                found[platform] = self._part(platform, tags, native=platform == native)
            except BuildFailed as error:
                explained = _explain(error, platform, native, engine=info.name)
                if explained is error or self._options.strict_platforms or len(wanted) == 1:
                    raise explained from None
                self._say(explained.message)
                left_out.append(LeftOut(platform=platform, reason=explained.message.splitlines()[0]))
        if not found:
            raise BuildFailed(f"none of {', '.join(wanted)} could be built", hint=left_out[0].reason)
        return found, tuple(left_out)

    def documents(self, digest: str, platform: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The bill of materials and the statement of provenance. Of build arguments only the names are told:
        their values may be secret."""
        plan, options = self._plan, self._build_options
        bill = sbom.cyclonedx(
            plan.spec.name,
            plan.version,
            packages_of(self._layout, read_manifest(self._layout, digest, platform=platform)),
            subject_digest=digest,
            created_s=plan.created_s,
        )
        bases = [
            {"uri": f"docker-image:{name}", "digest": {"sha256": known.removeprefix("sha256:")}}
            for name, known in self.bases.items()
        ]
        statement = provenance.statement(
            plan.spec.name,
            digest=digest,
            build_type=provenance.DOCKERFILE,
            parameters={
                "dockerfile": plan.dockerfile,
                "target": plan.spec.dockerfile_target,
                "platforms": list(plan.spec.platforms),
                "buildArguments": sorted(self.args),
                "uncommittedTree": plan.source.dirty,
            },
            materials=[provenance.commit_material(plan.source), *bases],
            builder_id=options.builder_id,
            invocation_id=options.invocation_id,
        )
        return bill, statement

    def _pull_bases(self, native: str) -> None:
        """Have the base images in the engine: it asks registries for us with the user's credentials, which
        BuildKit alone would not know."""
        for name in self._base_names:
            if self._options.pull or not self._engine.images.exists(name):
                self._engine.images.pull(
                    name, say=self._say, cancellation=self._cancellation, platform=native
                )
            found = self._engine.images.inspect(name)
            # Without a registry's digest (an image made here) its own id says which one it was.
            self.bases[name] = next(iter(found.digests), found.id).rpartition("@")[2]

    def _part(self, platform: str, tags: Sequence[str], *, native: bool) -> dict[str, Any]:
        plan, options = self._plan, self._options
        slug = platform.replace("/", "-")
        names = [f"{plan.spec.name}:{tag}" for tag in tags] if native else []
        name = names[0] if names else f"akashic-build/{plan.spec.name}:{slug}"
        labels = image_labels(
            plan.spec,
            commit=plan.source.commit,
            version=plan.version,
            created_s=plan.created_s,
            runtime=False,
        )
        wanted = DockerfileBuild(
            tag=name,
            platform=platform,
            dockerfile=plan.dockerfile,
            target=plan.spec.dockerfile_target,
            args=self.args,
            labels={**labels, IMAGE_LABEL: plan.spec.name, **options.labels},
            cache_from=options.cache_from,
            no_cache=options.no_cache,
            network=options.network,
            add_hosts=options.add_hosts,
        )
        self._say(f"building {plan.spec.name} for {platform}")
        context = context_tar(plan.entries, plan.created_s)
        image = build(self._engine.transport, context, wanted, say=self._say, cancellation=self._cancellation)
        for other in names[1:]:
            self._engine.images.tag(image, other)
        try:
            with self._engine.transport.stream(
                "GET", f"/images/{name}/get", cancellation=self._cancellation
            ) as stream:
                taken = import_archive(
                    cast("IO[bytes]", stream), self._layout, compression=plan.spec.compression
                )
        finally:
            if not native:
                self._engine.images.remove(name)
        os_name, _, rest = platform.partition("/")
        architecture, _, variant = rest.partition("/")
        about = {"os": os_name, "architecture": architecture, **({"variant": variant} if variant else {})}
        return {**taken, "platform": about}


def _put_index(store: Layout, parts: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    data = canonical_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": list(parts.values())})
    return {"mediaType": INDEX, "digest": store.put(data), "size": len(data)}


def _explain(error: BuildFailed, platform: str, native: str, *, engine: str) -> BuildFailed:
    """The error itself, or one that says that the engine cannot run another processor's programs."""
    lowered = error.message.lower()
    if platform != native and _NO_EMULATOR.search(error.message):
        return BuildFailed(
            f"{platform}: {engine} cannot run this processor's programs, and the Dockerfile runs some",
            hint="install an emulator there (Debian: qemu-user-static, binfmt-support; anywhere: "
            f"docker run --privileged --rm tonistiigi/binfmt --install {platform.split('/')[1]}), or "
            f"--platforms {native}",
        )
    if platform != native and _NO_BASE.search(error.message):
        reason = error.message.splitlines()[0].rpartition(": ")[2]
        return BuildFailed(
            f"{platform}: a base image cannot be had for this platform ({reason})",
            hint=f"the engine has what it needs for {native}: --platforms {native}",
        )
    if platform != native and ("no match for platform" in lowered or "does not provide" in lowered):
        return BuildFailed(
            f"{platform}: a base image has no part for this platform", hint=f"--platforms {native}"
        )
    return error


def engine_image(engine: Engine, name: str, layout: Path) -> dict[str, Any]:
    """Take an image of the engine into a layout; its descriptor. Raises NotFound, ImageError."""
    engine.images.inspect(name)
    with engine.transport.stream("GET", f"/images/{name}/get") as stream:
        return import_archive(cast("IO[bytes]", stream), layout)


def has_image(engine: Engine, name: str) -> bool:
    """Whether the engine has an image of this name."""
    try:
        engine.images.inspect(name)
    except NotFound:
        return False
    return True
