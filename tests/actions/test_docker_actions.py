"""The actions around images: which command their inputs become, and what they do with a real engine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from akashic.actions.docker_build import BUILD_PUSH, api_command
from akashic.actions.docker_login import LOGIN
from akashic.actions.docker_setup import SETUP_BUILDX, SETUP_QEMU
from akashic.actions.protocol import ActionFailed, resolve_inputs
from akashic.actions.trivy import TRIVY, own_command
from akashic.containers.engine import Engine
from akashic.errors import AkashicError
from akashic.testing.registry import MISSING, PASSWORD, USER, LoopbackRegistry, available

DOCKERFILE = "FROM scratch\nARG GREETING\nLABEL greeting=$GREETING\nCOPY README.md /\nUSER 1001\n"
PUSHING = """\
name: image
on: push
jobs:
  image:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: docker/setup-qemu-action@v3
      - uses: docker/setup-buildx-action@v3
        with: {driver: docker}
      - uses: docker/login-action@v3
        with: {registry: HOST, username: USER, password: PASSWORD}
      - id: meta
        uses: docker/metadata-action@v5
        with:
          images: HOST/team/NAME
          tags: |
            type=ref,event=branch
            type=raw,value=latest,enable={{is_default_branch}}
      - id: push
        uses: docker/build-push-action@v6
        with:
          context: .
          push: true
          tags: ${{ steps.meta.outputs.tags }}
          labels: ${{ steps.meta.outputs.labels }}
          build-args: GREETING=hello there
          provenance: false
      - run: |
          test -n "${{ steps.push.outputs.digest }}"
          echo "pushed ${{ steps.push.outputs.digest }}"
      - uses: aquasecurity/trivy-action@0.28.0
        with:
          image-ref: HOST/team/NAME:main
          format: sarif
          output: trivy.sarif
          severity: CRITICAL
          exit-code: 1
      - uses: github/codeql-action/upload-sarif@v3
        with: {sarif_file: trivy.sarif}
"""


def prepared(job, action, **given):  # type: ignore[no-untyped-def]
    ctx = job()
    ctx.inputs = resolve_inputs(
        action, {name.replace("_", "-"): value for name, value in given.items()}
    ).values
    return ctx


def test_inputs_become_options_of_the_build_and_nothing_goes_through_a_shell(job) -> None:  # type: ignore[no-untyped-def]
    ctx = prepared(
        job,
        BUILD_PUSH,
        context="app",
        tags="h/a:1,h/a:2",
        build_args="A=$(touch x); b\nB=2",
        labels="l=with, comma",
        platforms="linux/amd64,linux/arm64",
        push="true",
        cache_from="type=gha\ntype=registry,ref=h/a:cache",
        cache_to="type=gha,mode=max",
        provenance="mode=max",
    )
    assert api_command(ctx, "out.json") == [
        *("akashic", "image", "build", "--engine", "docker", "--context", "app", "--output", "out.json"),
        *("--file", "app/Dockerfile", "--tag", "h/a:1", "--tag", "h/a:2", "--build-arg", "A=$(touch x); b"),
        *(
            "--build-arg",
            "B=2",
            "--label",
            "l=with, comma",
            "--platforms",
            "linux/amd64,linux/arm64",
            "--push",
        ),
        *("--cache-from", "type=registry,ref=h/a:cache"),
    ]
    assert sum("the engine keeps its own cache" in line for line in ctx.lines) == 2


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("secrets", "A=b"), ("ssh", "default"), ("outputs", "type=tar,dest=x"), ("build-contexts", "a=b"),
        ("attests", "type=sbom"), ("allow", "network.host"), ("ulimit", "nofile=1"), ("shm-size", "2g"),
        ("annotations", "a=b"), ("call", "check"), ("cgroup-parent", "x"), ("no-cache-filters", "a"),
        ("secret-files", "a=b"), ("secret-envs", "a=b"), ("context", "https://example.com/a.git"),
    ],
)  # fmt: skip
def test_an_input_that_needs_buildx_is_named(job, name: str, value: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ActionFailed, match=name):
        api_command(prepared(job, BUILD_PUSH, **{name: value}), "out.json")


def test_trivys_inputs_become_options_of_the_scan(job) -> None:  # type: ignore[no-untyped-def]
    ctx = prepared(
        job,
        TRIVY,
        image_ref="h/a:1",
        format="sarif",
        output="t.sarif",
        severity="CRITICAL,HIGH",
        exit_code="1",
        ignore_unfixed="true",
        scanners="vuln,secret",
    )
    assert own_command(ctx) == [
        *("akashic", "image", "scan", "--image", "h/a:1", "--fail-on", "high", "--scanners", "vuln,secret"),
        *("--ignore-unfixed", "--sarif", "t.sarif"),
    ]
    plain = own_command(prepared(job, TRIVY, image_ref="a:1"))
    assert plain == ["akashic", "image", "scan", "--image", "a:1", "--fail-on", "never"]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"scan_type": "fs"}, "scan-type: fs"),
        ({"format": "cyclonedx"}, "format: cyclonedx"),
        ({"trivyignores": ".trivyignore"}, "trivyignores"),
        ({"input": "image.tar"}, "input"),
        ({"severity": "TERRIBLE"}, "terrible"),
        ({"limit_severities_for_sarif": "true"}, "limit-severities-for-sarif"),
        ({"image_ref": ""}, "image-ref"),
    ],
)
def test_what_only_trivy_can_do_is_named(job, given: dict[str, str], named: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ActionFailed, match=named):
        own_command(prepared(job, TRIVY, **{"image_ref": "a:1", **given}))


def test_trivy_itself_is_run_where_it_is_installed(job, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    ctx = job()
    program = tmp_path / "bin/trivy"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "$@" > "$HOME/said"; env | grep ^TRIVY_ | sort >> "$HOME/said"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{os.environ['PATH']}"
    ctx.env["PATH"] = ctx.sandbox.base_env["PATH"] = path
    ctx.use(TRIVY, scan_type="fs", severity="HIGH", exit_code="1", cache_dir="/c")
    assert (Path(ctx.sandbox.home) / "said").read_text().splitlines() == [
        "fs .", "TRIVY_CACHE_DIR=/c", "TRIVY_EXIT_CODE=1", "TRIVY_SEVERITY=HIGH",
    ]  # fmt: skip


# With a real engine


@pytest.fixture
def engine() -> Engine:
    try:
        found = Engine.connect(os.environ)
        found.ping()
    except AkashicError as error:
        pytest.skip(error.message)
    return found


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[LoopbackRegistry]:
    if not available():
        pytest.skip(MISSING)
    with LoopbackRegistry(tmp_path / "registry", login=True) as running:
        yield running


@pytest.fixture
def name(engine: Engine) -> Iterator[str]:
    mine = f"akashic-test-{uuid.uuid4().hex[:12]}"
    yield mine
    for image in engine.images.list(labels=[f"akashic.image={mine}"]):
        engine.images.remove(image.id, force=True)


@pytest.mark.docker
def test_an_image_is_built_and_pushed_with_a_login_that_ends_with_the_job(  # type: ignore[no-untyped-def]
    job, registry: LoopbackRegistry, name: str
) -> None:
    ctx = job()
    workspace = Path(ctx.sandbox.workspace)
    subprocess.run(["git", "clone", "-q", ctx.tree.root, str(workspace)], check=True)
    (workspace / "Dockerfile").write_text(DOCKERFILE)
    ctx.env["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    ctx.use(LOGIN, registry=registry.host, username=USER, password=PASSWORD)
    state = dict(ctx.state)
    ctx.use(SETUP_QEMU)
    assert ctx.outputs["platforms"]
    ctx.use(SETUP_BUILDX, driver="docker")
    assert ctx.outputs["driver"] == "docker"
    full = f"{registry.host}/team/{name}"
    ctx.use(
        BUILD_PUSH,
        push="true",
        tags=f"{full}:main",
        build_args="GREETING=hi",
        context=".",
        provenance="false",
    )
    digest = ctx.outputs["digest"]
    assert digest.startswith("sha256:") and ctx.outputs["imageid"] and json.loads(ctx.outputs["metadata"])
    assert registry.status(f"/v2/team/{name}/manifests/{digest}") in (200, 404)
    assert registry.status(f"/v2/team/{name}/tags/list") == 200

    ctx.state = state
    assert LOGIN.post is not None
    ctx.inputs = resolve_inputs(LOGIN, {"username": USER, "password": PASSWORD}).values
    LOGIN.post(ctx)
    config = Path(ctx.env["DOCKER_CONFIG"]) / "config.json"
    assert json.loads(config.read_text()) == {"auths": {}}


@pytest.mark.docker
def test_a_workflow_logs_in_builds_pushes_scans_and_keeps_the_findings(
    engine: Engine, registry: LoopbackRegistry, name: str, tmp_path: Path
) -> None:
    root = tmp_path / "repository"
    (root / ".github/workflows").mkdir(parents=True)
    text = PUSHING.replace("HOST", registry.host).replace("NAME", name)
    (root / ".github/workflows/image.yml").write_text(
        text.replace("USER", USER).replace("PASSWORD", PASSWORD)
    )
    (root / "Dockerfile").write_text(DOCKERFILE)
    (root / "README.md").write_text("hello\n")
    for command in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "one")):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *command], cwd=root, check=True
        )
    environ = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-m", "akashic", "run", "push"],
        cwd=root, env=environ, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "pushed sha256:" in said
    assert registry.status(f"/v2/team/{name}/tags/list") == 200
    assert engine.images.list(reference=f"{name}:main")[0].labels["greeting"] == "hello there"
