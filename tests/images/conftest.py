from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from akashic.containers.engine import Engine
from akashic.errors import AkashicError
from akashic.images.spec import ImageSpec
from akashic.testing.registry import MISSING, LoopbackRegistry, available

SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path in ("/health", "/") else 404); self.end_headers()
if os.environ.get("FAIL"):
    print("cannot start: no database"); sys.exit(3)
http.server.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def git(folder: Path, *arguments: str, date: str = "2026-01-02T03:04:05+00:00") -> str:
    names = ("-c", "user.name=Test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *names, *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
        env={
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "GIT_COMMITTER_DATE": date,
            "GIT_AUTHOR_DATE": date,
            "HOME": str(folder),
        },
    )
    return done.stdout


@pytest.fixture
def make_repository(tmp_path: Path) -> Callable[..., Path]:
    def make(name: str = "repository", files: dict[str, str] | None = None) -> Path:
        root = tmp_path / name
        root.mkdir(parents=True)
        git(root, "init", "-q", "-b", "main")
        content = {"src/hello/__init__.py": "", "src/hello/__main__.py": SERVER, ".gitignore": "*.log\n"}
        for path, text in (content | (files or {})).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        git(root, "add", "-A", "-f")
        git(root, "commit", "-q", "-m", "first")
        return root

    return make


@pytest.fixture
def spec() -> ImageSpec:
    return ImageSpec(name="hello", source_paths=("src",), entrypoint=("python", "-m", "hello"))


# A real registry, and a real engine


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackRegistry]:
    if not available():
        pytest.skip(MISSING)
    with LoopbackRegistry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackRegistry]:
    """One that wants a login and lets nobody delete."""
    if not available():
        pytest.skip(MISSING)
    folder = tmp_path_factory.mktemp("private")
    with LoopbackRegistry(folder, login=True, deletes=False) as running:
        yield running


@pytest.fixture(scope="session")
def engine() -> Engine:
    try:
        found = Engine.connect(os.environ)
        found.ping()
    except AkashicError as error:
        pytest.skip(error.message)
    return found
