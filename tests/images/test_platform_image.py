"""The reference platform's own Dockerfile: built by an engine, and tried with its services."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from akashic.containers.engine import Engine
from akashic.errors import AkashicError
from akashic.images.buildkit import DockerfileBuild, build, context_tar
from akashic.images.tar import Entry
from scripts import base_image

pytestmark = [pytest.mark.docker, pytest.mark.slow]
ROOT = Path(__file__).parents[2]
BASE, PYTHON = "akashic-test/base:1", "akashic-test/python:3.11"
POSTGRES, REDIS = "akashic-test/postgres:1", "akashic-test/redis:1"
TRUSTED = Path("/etc/ssl/certs/ca-certificates.crt")
"""What this machine trusts: where a company reads the traffic, its own authority too."""
DOCKERFILE = f"""\
FROM {BASE}
RUN apt-get update -qq \\
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv \\
 && rm -rf /var/lib/apt/lists/* && ln -sf python3 /usr/bin/python
COPY ca.crt {TRUSTED}
"""


@pytest.fixture(scope="module")
def python_base(engine: Engine) -> str:
    """Debian with Python, as `python:3.11-slim` would be; it stays in the engine as the other bases do."""
    files = [
        Entry(path="Dockerfile", kind="file", content=DOCKERFILE.encode()),
        Entry(path="ca.crt", kind="file", content=TRUSTED.read_bytes() if TRUSTED.exists() else b""),
    ]
    wanted = DockerfileBuild(tag=PYTHON, platform="linux/amd64", network="host")
    try:
        for name in (BASE, POSTGRES, REDIS):
            base_image.ensure(engine, name)
        build(engine.transport, context_tar(files, 0), wanted, say=lambda _: None)
    except (AkashicError, OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"the base images cannot be made here: {error}")
    return PYTHON


@pytest.fixture
def platform(tmp_path: Path, engine: Engine) -> Iterator[tuple[Path, str]]:
    """A copy of the platform with an image name of its own, in a repository of its own."""
    root, name = tmp_path / "campaign-console", f"akashic-test-{uuid.uuid4().hex[:12]}"
    shutil.copytree(
        ROOT / "campaign-console", root, ignore=shutil.ignore_patterns(".akashic", "__pycache__", ".venv")
    )
    config = root / "akashic.yaml"
    config.write_text(config.read_text().replace("  name: campaign-console\n", f"  name: {name}\n"))
    for command in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "one")):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *command], cwd=root, check=True
        )
    yield root, name
    for image in engine.images.list(labels=[f"akashic.image={name}"]):
        engine.images.remove(image.id, force=True)


def test_it_is_built_for_production_and_well_with_its_services(
    platform: tuple[Path, str], python_base: str, engine: Engine, tmp_path: Path
) -> None:
    root, name = platform
    environ = {**os.environ, "HOME": str(tmp_path), "AKASHIC_WARM": "off"}

    def akashic(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "akashic", "--json", "image", *arguments],
            cwd=root, capture_output=True, text=True, timeout=300, check=False,
            env={**environ, "POSTGRES_IMAGE": POSTGRES, "REDIS_IMAGE": REDIS},
        )  # fmt: skip

    built = akashic(
        *("build", "--engine", "docker", "--platforms", "linux/amd64", "--network", "host", "--tag", "now"),
        *("--build-arg", f"BASE_IMAGE={python_base}"),
    )
    assert built.returncode == 0, built.stderr
    facts = json.loads(built.stdout)
    about = engine.images.inspect(f"{name}:now")
    assert about.user == "1001:1001" and about.ports == ("3000/tcp",)
    assert about.env["APP_COMMIT"] == facts["commit"] == about.labels["org.opencontainers.image.revision"]
    assert about.health is not None and about.health["Retries"] == 3

    tried = akashic("test", "--tag", "now")
    assert tried.returncode == 0, tried.stderr
    trial = json.loads(tried.stdout)
    assert trial["healthy"] and trial["smoke"] == ["/api/auth/session 200"]
    scanned = akashic("scan", "--tag", "now")
    assert scanned.returncode == 0, scanned.stdout
