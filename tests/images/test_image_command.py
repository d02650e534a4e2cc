"""`akashic image` as a user calls it, with a real engine and a real registry."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from akashic.containers.engine import Engine
from akashic.images.transfer import open_repository
from akashic.testing.registry import LoopbackRegistry

DOCKERFILE = 'FROM scratch\nARG VERSION\nARG TOKEN\nCOPY src /app\nUSER 1001\nCMD ["/app"]\n'
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def name(request: pytest.FixtureRequest) -> Iterator[str]:
    mine = f"akashic-test-{uuid.uuid4().hex[:12]}"
    yield mine
    try:
        engine = Engine.connect(os.environ)
        for image in engine.images.list(labels=[f"akashic.image={mine}"]):
            engine.images.remove(image.id, force=True)
    except Exception:
        # Without an engine nothing was made in one.
        return


@pytest.fixture
def akashic(make_repository: Callable[..., Path], name: str, tmp_path: Path) -> Run:
    config = f"image: {{name: {name}, include: [src], source_paths: [src], command: [python, -m, hello], "
    config += "dockerfile: Dockerfile, healthcheck: {path: /health}}\n"
    files = {"Dockerfile": DOCKERFILE, "akashic.yaml": f"name: hello\n{config}"}
    root = make_repository("shop", files)

    def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "HOME": str(tmp_path), "AKASHIC_WARM": "off", **environ}
        return subprocess.run(
            [sys.executable, "-m", "akashic", *arguments],
            cwd=root, env=env, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return run


@pytest.mark.docker
def test_an_image_goes_from_the_engine_to_a_registry_and_is_scanned_there(
    akashic: Run, engine: Engine, private_registry: LoopbackRegistry, name: str, tmp_path: Path
) -> None:
    full = f"{private_registry.host}/team/{name}"
    refused = akashic("image", "build", "--push", "--repository", full)
    assert refused.returncode == 1 and "it wants a login" in refused.stderr

    login = private_registry.docker_config(tmp_path / "docker")
    outputs = tmp_path / "outputs"
    done = akashic(
        "image", "build", "--push", "--repository", full, "--build-arg", "TOKEN",
        TOKEN="s3cr3t-canary", GITHUB_OUTPUT=str(outputs), **login,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    digest = next(line for line in done.stdout.splitlines() if line.startswith("sha256:"))
    assert f"pushed {full}:main" in done.stdout and f"pushed {full}:latest" in done.stdout
    assert f"\n{digest}\n" in outputs.read_text()
    assert engine.images.exists(f"{name}:latest")

    found = akashic("--json", "image", "scan", "--image", f"{full}@{digest}", "--fail-on", "low", **login)
    assert found.returncode == 1, found.stderr
    assert [json.loads(line)["rule"] for line in found.stdout.splitlines()] == ["no-healthcheck"]
    assert akashic("image", "scan", "--image", f"{name}:latest").returncode == 0
    cached = akashic("image", "build", "--cache-to", f"type=registry,ref={full}:cache", **login)
    assert cached.returncode == 0, cached.stderr
    again = akashic("image", "build", "--cache-from", f"type=registry,ref={full}:cache", **login)
    assert again.returncode == 0, again.stderr
    with open_repository(full, login) as repository:
        tags = [tag for tag in repository.tags() if not tag.startswith("sha256-")]
    assert sorted(tags) == sorted(["cache", "latest", "main", next(t for t in tags if t.startswith("main-"))])
    cleaned = akashic("image", "cleanup", "--keep", "2", "--where", "registry", "--repository", full, **login)
    assert cleaned.returncode == 0 and "registry: removed 0, kept 2" in cleaned.stderr


@pytest.mark.docker
def test_all_pushes_only_what_passed(
    akashic: Run, engine: Engine, registry: LoopbackRegistry, name: str
) -> None:
    full = f"{registry.host}/team/{name}"
    # From an empty base nothing can be started.
    done = akashic("image", "all", "--push", "--repository", full, "--timeout", "5")
    assert done.returncode == 1, done.stdout
    assert registry.status(f"/v2/team/{name}/tags/list") == 404


def test_all_builds_scans_tries_pushes_and_cleans_up(
    akashic: Run, registry: LoopbackRegistry, name: str
) -> None:
    full = f"{registry.host}/team/{name}"
    done = akashic(
        *("image", "all", "--engine", "none", "--push", "--repository", full, "--tag", "1", "--keep", "1"),
        DOCKER_HOST="unix:///nonexistent/docker.sock",
    )
    assert done.returncode == 0, done.stderr
    assert "healthy after" in done.stdout and f"pushed {full}:1" in done.stdout
    assert "layout: removed 0, kept 1" in done.stderr
    assert "engine: there is no container engine" in done.stderr
    assert registry.status(f"/v2/team/{name}/tags/list") == 200


def test_the_same_command_builds_and_pushes_without_an_engine(
    akashic: Run, registry: LoopbackRegistry, name: str
) -> None:
    full = f"{registry.host}/team/{name}"
    nowhere = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    done = akashic("--json", "image", "build", "--push", "--tag", f"{full}:1.2", **nowhere)
    assert done.returncode == 0, done.stderr
    built = json.loads(done.stdout)
    assert built["engine"] == "none" and built["pushed"] == [f"{full}:1.2"] and built["tags"] == ["1.2"]
    assert (
        registry.status(f"/v2/team/{name}/manifests/1.2", accept="application/vnd.oci.image.manifest.v1+json")
        == 200
    )
    asked = akashic("image", "build", "--build-arg", "A=1", **nowhere)
    assert asked.returncode == 2 and "--build-arg: only an engine can do this" in asked.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("build", "--engine", "none", "--push"), "--push: where to?"),
        (("build", "--cache-to", "type=gha"), "--cache-to 'type=gha': expected type=inline"),
        (("build", "--cache-from", "type=local,src=x"), "--cache-from 'type=local,src=x': expected IMAGE"),
        (("build", "--engine", "docker"), "no container engine at unix:///nonexistent"),
        (("build", "--engine", "none", "--context", "."), "--context and --file need a container engine"),
        (("build", "--tag", "not a tag"), "is not a tag"),
        (("cleanup", "--where", "moon"), "expected some of layout, engine, registry"),
        (("cleanup", "--where", "registry"), "--where registry: which one?"),
        (("scan", "--image", "nothing"), "there is no image 'nothing'"),
        (("scan", "--scanners", "everything"), "there is no image yet"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_said_in_one_line(akashic: Run, arguments: tuple[str, ...], message: str) -> None:
    done = akashic("image", *arguments, DOCKER_HOST="unix:///nonexistent/docker.sock")
    assert done.returncode in (1, 2)
    assert message in done.stderr and "Traceback" not in done.stderr
