"""Builds by a real container engine: what users get from `akashic image build` with one."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from akashic.cancellation import Cancellation
from akashic.containers.engine import Engine
from akashic.containers.errors import BuildFailed
from akashic.errors import Interrupted
from akashic.images.context import folder_context, tracked_context
from akashic.images.engine import EngineOptions, EnginePlan, build_with_engine
from akashic.images.engine_choice import choose_engine
from akashic.images.inventory import walk_layers
from akashic.images.layout import BuildOptions, BuiltImage
from akashic.images.naming import referrers
from akashic.images.read import read_config, read_manifest, verify
from akashic.images.source import find_source
from akashic.images.spec import ImageSpec
from akashic.images.store import INDEX, Layout
from akashic.images.transfer import open_repository, push
from akashic.testing.registry import LoopbackRegistry

pytestmark = pytest.mark.docker

NO_OPTIONS = EngineOptions()
DOCKERFILE = """\
FROM scratch
ARG VERSION
ARG COMMIT
LABEL commit=$COMMIT
COPY src /app
USER 1001:1001
CMD ["/app/hello"]
"""


@pytest.fixture
def name(engine: Engine) -> Iterator[str]:
    """A name of the test's own; every image of that name goes when it ends."""
    mine = f"akashic-test-{uuid.uuid4().hex[:12]}"
    yield mine
    for image in engine.images.list(labels=[f"akashic.image={mine}"]):
        engine.images.remove(image.id, force=True)


@pytest.fixture
def make(
    engine: Engine, make_repository: Callable[..., Path], tmp_path: Path, name: str
) -> Callable[..., BuiltImage]:
    def build(
        dockerfile: str = DOCKERFILE,
        *,
        options: EngineOptions = NO_OPTIONS,
        cancellation: Cancellation | None = None,
        said: list[str] | None = None,
        files: dict[str, str] | None = None,
        **spec: Any,
    ) -> BuiltImage:
        root = make_repository(f"r{uuid.uuid4().hex[:6]}", {"Dockerfile": dockerfile, **(files or {})})
        source = find_source(root)
        plan = EnginePlan(
            spec=ImageSpec(name=name, dockerfile="Dockerfile", **spec),
            entries=tuple(tracked_context(source, ".", "Dockerfile")),
            dockerfile="Dockerfile",
            version="1.0",
            source=source,
            created_s=source.commit_time_s,
        )
        return build_with_engine(
            engine,
            plan,
            tmp_path / "layout",
            options=BuildOptions(tags=("main", "latest")),
            engine_options=options,
            built_at=1.0,
            say=(said if said is not None else []).append,
            cancellation=cancellation or Cancellation(),
        )

    return build


def paths(built: BuiltImage, platform: str = "linux/amd64") -> set[str]:
    found: set[str] = set()
    manifest = read_manifest(Path(built.path), built.digest, platform=platform)
    walk_layers(Path(built.path), manifest, lambda member, _: found.add(member.name.rstrip("/")))
    return found


def test_an_image_is_built_labelled_described_and_kept_in_the_engine(
    make: Callable[..., BuiltImage], engine: Engine, name: str
) -> None:
    said: list[str] = []
    built = make(said=said)

    assert verify(Path(built.path)) == []
    assert built.engine == "docker" and built.platforms == ("linux/amd64",)
    assert {"app/hello/__main__.py"} <= paths(built)
    config = read_config(Path(built.path), built.digest)
    assert config.user == "1001:1001" and config.labels["commit"] == built.commit
    assert config.labels["org.opencontainers.image.version"] == "1.0"
    assert config.runtime == ""
    assert set(engine.images.inspect(f"{name}:main").tags) == {f"{name}:main", f"{name}:latest"}
    assert any("COPY src /app" in line for line in said)

    statement = json.loads(referrers(Path(built.path), built.digest, "application/vnd.in-toto+json")[0])
    assert statement["subject"][0]["digest"]["sha256"] == built.digest.removeprefix("sha256:")
    assert statement["predicate"]["buildDefinition"]["buildType"] == "urn:akashic:build:dockerfile:v1"


def test_several_platforms_become_one_index_that_any_registry_takes(
    make: Callable[..., BuiltImage], registry: LoopbackRegistry, engine: Engine, name: str
) -> None:
    built = make(platforms=("linux/amd64", "linux/arm64"))

    store = Layout(Path(built.path))
    assert store.read_json(built.digest)["mediaType"] == INDEX
    for platform in ("linux/amd64", "linux/arm64"):
        assert read_config(Path(built.path), built.digest, platform=platform).platform == platform
        assert "app/hello/__main__.py" in paths(built, platform)
    full = f"{registry.host}/team/{name}"
    with open_repository(full, {"DOCKER_CONFIG": "/nonexistent"}) as repository:
        push(Path(built.path), built.digest, repository, ("main",))
        assert len(repository.referrers(built.digest)) == 2
    try:
        engine.images.pull(f"{full}:main", say=lambda _: None, cancellation=Cancellation())
        assert engine.images.inspect(f"{full}:main").labels["commit"] == built.commit
    finally:
        engine.images.remove(f"{full}:main", force=True)


RUNS = 'FROM {base}\nRUN ["/app"]\n'


def test_a_platform_without_an_emulator_is_left_out_with_the_reason_or_refused(
    make: Callable[..., BuiltImage], registry: LoopbackRegistry, engine: Engine, name: str
) -> None:
    """The base image has both parts, and a program that this machine's processor does not know."""
    # A header of a program for no processor at all: what the kernel says of one for another processor.
    base = make("FROM scratch\nCOPY --chmod=755 app /app\n", files={"app": "\x7fELF"},
                platforms=("linux/amd64", "linux/arm64"))  # fmt: skip
    full = f"{registry.host}/team/base-{name}"
    with open_repository(full, {"DOCKER_CONFIG": "/nonexistent"}) as repository:
        push(Path(base.path), base.digest, repository, ("1",))
    foreign = RUNS.format(base=f"--platform=$TARGETPLATFORM {full}:1")
    text = foreign.replace('RUN ["/app"]', "COPY src /app2") + "ARG TARGETARCH\n"
    try:
        with pytest.raises(BuildFailed, match="exec format error"):
            make(foreign)  # on the engine's own platform the engine's message is the truth
        with pytest.raises(
            BuildFailed, match="linux/arm64: Docker cannot run this processor's programs"
        ) as e:
            make(foreign, platforms=("linux/arm64",))
        assert "--platforms linux/amd64" in e.value.hint
        assert make(text, platforms=("linux/amd64", "linux/arm64")).left_out == ()
    finally:
        engine.images.remove(f"{full}:1", force=True)


def test_a_platform_that_a_base_image_lacks_is_left_out_or_refused_when_it_was_asked_for(
    make: Callable[..., BuiltImage], engine: Engine, name: str
) -> None:
    make()
    dependent = f"FROM {name}:main\nCOPY src /again\n"
    built = make(dependent, platforms=("linux/amd64", "linux/arm64"))
    assert built.platforms == ("linux/amd64",)
    assert [left.platform for left in built.left_out] == ["linux/arm64"]
    assert "base image" in built.left_out[0].reason
    with pytest.raises(BuildFailed, match="base image"):
        make(
            dependent, platforms=("linux/amd64", "linux/arm64"), options=EngineOptions(strict_platforms=True)
        )


def test_a_cache_travels_with_the_image_through_a_registry(
    make: Callable[..., BuiltImage], registry: LoopbackRegistry, name: str
) -> None:
    built = make(options=EngineOptions(inline_cache=True))
    full = f"{registry.host}/team/cached-{name}"
    with open_repository(full, {"DOCKER_CONFIG": "/nonexistent"}) as repository:
        push(Path(built.path), built.digest, repository, ("1",))
    config = Layout(Path(built.path)).read_json(
        read_manifest(Path(built.path), built.digest)["config"]["digest"]
    )
    assert "moby.buildkit.cache.v0" in config
    said: list[str] = []
    make(options=EngineOptions(cache_from=(f"{full}:1",)), said=said)
    assert any("importing cache manifest" in line for line in said)
    assert any("CACHED" in line for line in said)


def test_a_failing_build_ends_with_what_it_said(make: Callable[..., BuiltImage]) -> None:
    with pytest.raises(BuildFailed, match=r'"/missing" ?:?.* not found'):
        make("FROM scratch\nCOPY missing /\n")
    with pytest.raises(BuildFailed, match="unknown instruction: FRUM"):
        make("FRUM scratch\n")


def test_a_cancelled_build_ends_as_interrupted(make: Callable[..., BuiltImage]) -> None:
    cancellation = Cancellation()
    cancellation.cancel(source="user", reason="stopped")
    with pytest.raises(Interrupted):
        make(cancellation=cancellation)


def test_build_arguments_values_are_in_no_document(make: Callable[..., BuiltImage]) -> None:
    built = make(
        "FROM scratch\nARG TOKEN\nCOPY src /app\n", options=EngineOptions(args={"TOKEN": "s3cr3t-canary"})
    )
    for path in (Path(built.path) / "blobs/sha256").iterdir():
        assert b"s3cr3t-canary" not in path.read_bytes()


def test_a_folder_is_taken_as_it_is_less_what_is_ignored(tmp_path: Path) -> None:
    for path in ("Dockerfile", "built/app", "secret.env", "deep/cache/x"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("x")
    (tmp_path / ".dockerignore").write_text("*.env\n**/cache\nDockerfile\n")
    (tmp_path / "link").symlink_to("built/app")
    found = {entry.path: entry.kind for entry in folder_context(tmp_path, "Dockerfile")}
    assert found == {".dockerignore": "file", "Dockerfile": "file", "built/app": "file", "link": "link"}


def test_auto_takes_the_engine_when_it_has_the_base_images(engine: Engine, spec: ImageSpec) -> None:
    spec = msgspec.structs.replace(spec, dockerfile="Dockerfile")
    assert choose_engine("auto", spec, b"FROM scratch\n", {}).uses_engine
    choice = choose_engine("auto", spec, b"FROM 127.0.0.1:1/none:1\n", {})
    assert choice.reason.endswith(
        "the base image 127.0.0.1:1/none:1 is neither in the engine nor to be had from its registry"
    )
