"""Trials in a real engine: health, smoke checks, services, logs of what failed, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from akashic.cancellation import Cancellation
from akashic.containers.engine import Engine
from akashic.errors import AkashicError, UsageError
from akashic.images.archive import export_archive
from akashic.images.buildkit import DockerfileBuild, build, context_tar
from akashic.images.cleaning import clean_engine, clean_registry
from akashic.images.compose import Service
from akashic.images.engine_trial import LABEL, engine_name, sweep, try_in_engine
from akashic.images.layout import BuildOptions, build_layout
from akashic.images.locate import open_image
from akashic.images.read import read_config
from akashic.images.scan import ScanPolicy, scan_image
from akashic.images.source import find_source
from akashic.images.spec import ImageSpec
from akashic.images.tar import Entry
from akashic.images.transfer import open_repository, push
from akashic.testing.registry import LoopbackRegistry
from scripts import base_image
from tests.waiting import eventually

pytestmark = pytest.mark.docker
BASE = "akashic-test/base:1"
ROOT = Path(__file__).parents[2]
DOCKERFILE = f"""\
FROM {BASE}
ARG CREATED=1
COPY app.py /app.py
LABEL akashic.health.path=/health akashic.smoke.paths=/ akashic.image=NAME
EXPOSE 3000
USER 1001
CMD ["python3", "/app.py"]
"""
APP = b"""\
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        wanted = {"/health": 200, "/": 200, "/teapot": 418}.get(self.path, 404)
        self.send_response(503 if os.environ.get("SICK") else wanted); self.end_headers()
    def log_message(self, *_): print("asked for", self.path, flush=True)
if os.environ.get("FAIL"):
    print("cannot start: no database"); sys.exit(3)
http.server.HTTPServer(("0.0.0.0", 3000), Handler).serve_forever()
"""


@pytest.fixture(scope="module")
def image(engine: Engine) -> Iterator[str]:
    """An image that serves, made in the engine for these tests."""
    try:
        base_image.ensure(engine, BASE)
    except (AkashicError, OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"the base image cannot be made here: {error}")
    name = f"akashic-test-{uuid.uuid4().hex[:12]}"
    make_image(engine, f"{name}:1", name)
    yield f"{name}:1"
    for found in engine.images.list(labels=[f"akashic.image={name}"]):
        engine.images.remove(found.id, force=True)


def make_image(engine: Engine, tag: str, name: str, created: str = "1") -> str:
    files = [
        Entry(path="Dockerfile", kind="file", content=DOCKERFILE.replace("NAME", name).encode()),
        Entry(path="app.py", kind="file", content=APP),
    ]
    wanted = DockerfileBuild(tag=tag, platform="linux/amd64", labels={"number": created})
    return build(engine.transport, context_tar(files, 0), wanted, say=lambda _: None)


def left(engine: Engine) -> list[object]:
    owner = f"{os.getpid()}."
    found = [*engine.containers.list(labels=[LABEL]), *engine.networks.list(labels=[LABEL])]
    return [thing for thing in found if thing.labels[LABEL].startswith(owner)]


def attempt(engine: Engine, image: str, **given: object):  # type: ignore[no-untyped-def]
    wanted = {"env": {}, "timeout_s": 30.0, "cancellation": Cancellation(), **given}
    trial = try_in_engine(engine, image, **wanted)  # type: ignore[arg-type]
    assert left(engine) == []
    return trial


def test_a_healthy_image_passes_and_leaves_nothing(engine: Engine, image: str) -> None:
    trial = attempt(engine, image)
    assert trial.healthy and trial.smoke == ("/ 200",) and trial.problem == ""


def test_an_image_that_ends_shows_what_it_said(engine: Engine, image: str) -> None:
    trial = attempt(engine, image, env={"FAIL": "1"})
    assert (trial.healthy, trial.problem) == (False, "the image's process ended with exit code 3")
    assert "cannot start: no database" in trial.log


def test_an_image_that_is_sick_or_fails_a_smoke_check_says_which(engine: Engine, image: str) -> None:
    sick = attempt(engine, image, env={"SICK": "1"}, timeout_s=4.0)
    assert sick.problem == "not healthy within 4 s: /health answered 503"
    smoke = attempt(engine, image, smoke_paths=("/", "/teapot"))
    assert smoke.problem == "smoke check /teapot: answered 418" and smoke.smoke == ("/ 200", "/teapot 418")
    assert "asked for /teapot" in smoke.log


def test_services_are_waited_for_as_the_compose_file_says(engine: Engine, image: str) -> None:
    check = "import urllib.request as r; r.urlopen('http://other:3000/health')"
    services = (
        Service(name="other", image=image, health={"Test": ["CMD", "true"], "Interval": 1_000_000_000}),
        Service(
            name="migrate", image=BASE, command=("python3", "-c", check), needs={"other": "service_healthy"}
        ),
        Service(
            name="app",
            image=image,
            needs={"migrate": "service_completed_successfully", "other": "service_started"},
        ),
    )
    assert attempt(engine, image, services=services).healthy
    failing = (
        Service(name="migrate", image=BASE, command=("sh", "-c", "echo no schema; exit 4")),
        Service(name="app", image=image, needs={"migrate": "service_completed_successfully"}),
    )
    trial = attempt(engine, image, services=failing)
    assert trial.problem == "migrate ended with exit code 4" and "no schema" in trial.log


def test_an_image_without_a_health_check_is_refused(engine: Engine, image: str) -> None:
    with pytest.raises(UsageError, match="no health check"):
        attempt(engine, BASE)


def test_what_a_killed_trial_left_is_swept_by_the_next(engine: Engine, image: str) -> None:
    code = (
        "import os, sys; from akashic.images.engine_trial import try_in_engine as t;"
        "from akashic.containers.engine import Engine; from akashic.cancellation import Cancellation as C;"
        "t(Engine.connect(os.environ), sys.argv[1], env={'SICK': '1'}, timeout_s=300, cancellation=C())"
    )
    child = subprocess.Popen([sys.executable, "-c", code, image])

    def of_child() -> list[object]:
        found = [*engine.containers.list(labels=[LABEL]), *engine.networks.list(labels=[LABEL])]
        return [thing for thing in found if thing.labels[LABEL].startswith(f"{child.pid}.")]

    try:
        while not any(hasattr(thing, "image") for thing in of_child()):
            assert child.poll() is None
            time.sleep(0.05)
        assert sweep(engine) >= 0 and of_child(), "a trial that runs is not touched"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    assert len(of_child()) == 2
    # What the engine was asked for it may still be starting, and then it refuses to remove it.
    assert eventually(lambda: sweep(engine) >= 0 and not of_child())


def test_an_image_of_a_layout_is_loaded_when_the_engine_lacks_it(
    engine: Engine, make_repository: Callable[..., Path], tmp_path: Path
) -> None:
    spec = ImageSpec(name="hello", source_paths=("src",), command=("python3",), compression="gzip")
    built = build_layout(
        spec,
        find_source(make_repository()),
        tmp_path / "l",
        cache=tmp_path / "c",
        options=BuildOptions(tags=("1",)),
    )
    name, loaded = engine_name(engine, tmp_path / "l", built.digest)
    try:
        assert loaded and engine.images.inspect(name).user == spec.user
        assert engine_name(engine, tmp_path / "l", built.digest)[1] is False
    finally:
        engine.images.remove(name, force=True)
    assert len(b"".join(export_archive(tmp_path / "l", built.digest, "a:1"))) % 512 == 0


def test_an_image_is_found_in_the_engine_and_in_a_registry_and_scanned(
    engine: Engine, image: str, registry: LoopbackRegistry, tmp_path: Path
) -> None:
    nothing = tmp_path / "none"
    full = f"{registry.host}/team/scan:1"
    with open_image(image, nothing, {}) as found:
        assert found.origin == "engine"
        findings = scan_image(Path(found.layout), found.digest, ScanPolicy())
        assert {(f.rule, f.severity) for f in findings} == {("setuid", "low"), ("no-healthcheck", "low")}
        with open_repository(f"{registry.host}/team/scan", {}) as repository:
            push(Path(found.layout), found.digest, repository, ("1",))
    with open_image(full, nothing, {}, platform="linux/amd64") as found:
        assert found.origin == "registry"
        assert read_config(Path(found.layout), found.digest).user == "1001"
    assert not Path(found.layout).exists()


def test_cleaning_keeps_the_newest_and_the_protected_in_engine_and_registry(
    engine: Engine,
    image: str,
    registry: LoopbackRegistry,
    make_repository: Callable[..., Path],
    tmp_path: Path,
) -> None:
    name = image.partition(":")[0]
    for number in ("2", "3"):
        make_image(engine, f"{name}:{number}", name, created=number)
    listed = sorted(engine.images.list(labels=[f"akashic.image={name}"]), key=lambda i: (-i.created_at, i.id))
    assert {tag for found in listed for tag in found.tags} == {f"{name}:1", f"{name}:2", f"{name}:3"}
    oldest = listed[-1].tags[0].rpartition(":")[2]
    would = clean_engine(engine, name, keep=1, protected_tags=(oldest,), dry_run=True)
    assert [found.digest for found in would.removed] == [listed[1].id]
    done = clean_engine(engine, name, keep=1, protected_tags=(oldest,), dry_run=False)
    assert [i.digest for i in done.removed] == [i.digest for i in would.removed]
    assert len(engine.images.list(labels=[f"akashic.image={name}"])) == 2

    spec = ImageSpec(name="hello", source_paths=("src",), command=("python3",))
    source = find_source(make_repository())
    with open_repository(f"{registry.host}/team/clean", {}) as repository:
        for number in range(1, 5):
            options = BuildOptions(tags=(f"v{number}",), epoch_s=1_700_000_000 + number)
            built = build_layout(spec, source, tmp_path / "l", cache=tmp_path / "c", options=options)
            push(tmp_path / "l", built.digest, repository, (f"v{number}",))
        rules = {"keep": 1, "protected_tags": ("v1",)}
        would = clean_registry(repository, **rules, dry_run=True)  # type: ignore[arg-type]
        assert [i.tags for i in would.removed] == [("v3",), ("v2",)]
        assert len([t for t in repository.tags() if t.startswith("v")]) == 4
        clean_registry(repository, **rules, dry_run=False)  # type: ignore[arg-type]
        assert [t for t in repository.tags() if repository.manifest(t)] == [
            *sorted(t for t in repository.tags() if t.startswith("sha256-") and repository.manifest(t)),
            "v1",
            "v4",
        ]
        assert len([t for t in repository.tags() if t.startswith("sha256-") and repository.manifest(t)]) == 2
