"""A small local sandbox and a context that records, for tests of built-in actions."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from akashic.actions.protocol import Builtin, resolve_inputs
from akashic.cancellation import Cancellation
from akashic.executors.protocol import ExitStatus, Tree
from akashic.journal.artifacts import ArtifactStore
from akashic.journal.caches import CacheScopes, CacheStore

GIT_ENV = {
    "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@example.com", "GIT_CONFIG_GLOBAL": os.devnull,
}  # fmt: skip


class LocalSandbox:
    os = "Linux"
    arch = "X64"

    def __init__(self, folder: Path) -> None:
        for name in ("work", "temp", "tools", "home"):
            (folder / name).mkdir(parents=True)
        self.workspace = str(folder / "work")
        self.temp = str(folder / "temp")
        self.tool_cache = str(folder / "tools")
        self.home = str(folder / "home")
        self.base_env = {"PATH": os.environ["PATH"], "HOME": self.home}
        self.services: dict[str, object] = {}
        self.container: dict[str, object] = {}
        self.notes: list[str] = []

    def exec(self, argv, *, env, cwd, on_output, cancellation, timeout_s=None, stdin=None):  # type: ignore[no-untyped-def]
        try:
            done = subprocess.run(
                argv, env=dict(env), cwd=cwd, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=timeout_s or 120, check=False,
            )  # fmt: skip
        except FileNotFoundError as error:
            on_output(str(error).encode())
            return ExitStatus(code=127)
        on_output(done.stdout)
        return ExitStatus(code=done.returncode)

    def write(self, path: str, content: bytes, *, executable: bool = False) -> None:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(content)
        if executable:
            Path(path).chmod(0o755)

    def read(self, path: str, *, bytes_max: int) -> bytes | None:
        return Path(path).read_bytes()[:bytes_max] if Path(path).is_file() else None

    def host_path(self, path: str) -> str:
        return path

    def materialise(self, tree: Tree, destination: str, *, clean: bool) -> None:
        if clean and Path(destination).exists():
            shutil.rmtree(destination)
        subprocess.run(["git", "clone", "-q", tree.root, destination], check=True, capture_output=True)
        subprocess.run(["git", "-C", destination, "checkout", "-q", tree.commit], check=True)


class RecordingContext:
    def __init__(
        self, sandbox: LocalSandbox, artifacts: ArtifactStore, caches: CacheStore, tree: Tree
    ) -> None:
        self.sandbox = sandbox
        self.artifacts = artifacts
        self.caches = caches
        self.tree = tree
        self.repository = "octo/app"
        self.cache_scopes = CacheScopes(read=("refs/heads/main",), write="refs/heads/main")
        self.trust = "trusted"
        self.run_id = "run1"
        self.run_attempt = 1
        self.job_key = "build"
        self.job_status = "success"
        self.github: dict[str, object] = {
            "repository": "octo/app", "ref": "refs/heads/main", "ref_name": "main", "sha": tree.commit,
            "event_name": "push", "server_url": "https://github.example", "token": "", "job": "build",
            "event": {"repository": {"default_branch": "main", "name": "app"}},
        }  # fmt: skip
        self.env: dict[str, str] = {"HOME": sandbox.home, "PATH": os.environ["PATH"]}
        self.inputs: dict[str, str] = {}
        self.state: dict[str, str] = {}
        self.cancellation = Cancellation()
        self.outputs: dict[str, str] = {}
        self.env_set: dict[str, str] = {}
        self.paths: list[str] = []
        self.masked: list[str] = []
        self.lines: list[str] = []
        self.annotations: list[tuple[str, str]] = []
        self.markdown = ""
        self.commands: list[list[str]] = []

    def output(self, name: str, value: str) -> None:
        self.outputs[name] = value

    def set_env(self, name: str, value: str) -> None:
        self.env_set[name] = value
        self.env[name] = value

    def add_path(self, path: str) -> None:
        self.paths.append(path)

    def save_state(self, name: str, value: str) -> None:
        self.state[name] = value

    def mask(self, secret: str) -> None:
        self.masked.append(secret)

    def log(self, text: str) -> None:
        self.lines.append(text)

    def group(self, title: str):  # type: ignore[no-untyped-def]
        return contextlib.nullcontext()

    def annotate(self, level: str, message: str, **_: object) -> None:
        self.annotations.append((level, message))

    def summary(self, markdown: str) -> None:
        self.markdown += markdown

    def exec(self, argv, *, env=None, cwd=None, log=True, stdin=None, commands=False, timeout_s=None):  # type: ignore[no-untyped-def]
        self.commands.append(list(argv))
        files = {}
        if commands:
            for name in ("OUTPUT", "ENV", "PATH", "STATE", "STEP_SUMMARY"):
                place = Path(self.sandbox.temp) / f"file-{name}"
                place.touch()
                files[f"GITHUB_{name}"] = str(place)
        variables = {**self.env, **files}
        if self.paths:
            variables["PATH"] = ":".join([*reversed(self.paths), variables["PATH"]])
        variables |= env or {}
        chunks: list[bytes] = []
        status = self.sandbox.exec(
            argv, env=variables, cwd=cwd or self.sandbox.workspace, on_output=chunks.append,
            cancellation=self.cancellation, timeout_s=timeout_s, stdin=stdin,
        )  # fmt: skip
        if log:
            self.lines.append(b"".join(chunks).decode(errors="replace"))
        return status, b"".join(chunks)

    def use(self, action: Builtin, **given: str) -> RecordingContext:
        """Run the main part with these inputs (`_` stands for `-`)."""
        named = {name.replace("_", "-"): value for name, value in given.items()}
        declared = {spec.name.lower() for spec in action.inputs}
        named = {(n.replace("-", "_") if n.replace("-", "_") in declared else n): v for n, v in named.items()}
        resolved = resolve_inputs(action, named, lambda text: "")
        self.inputs = resolved.values
        self.outputs = {}
        self.state = {}
        action.main(self)  # type: ignore[arg-type]
        return self

    def file(self, name: str, content: str = "x") -> Path:
        path = Path(self.sandbox.workspace) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path


@pytest.fixture
def repository(tmp_path: Path) -> Tree:
    root = tmp_path / "repository"
    root.mkdir()
    (root / "README.md").write_text("hello\n")

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments],
            env={**os.environ, **GIT_ENV},
            check=True,
            capture_output=True,
        )
        return done.stdout.decode().strip()

    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "one")
    git("branch", "old")
    (root / "src").mkdir()
    (root / "src" / "a.txt").write_text("a\n")
    git("add", ".")
    git("commit", "-q", "-m", "two")
    return Tree(root=str(root), commit=git("rev-parse", "HEAD"))


@pytest.fixture
def job(tmp_path: Path, repository: Tree):  # type: ignore[no-untyped-def]
    """Makes contexts of new jobs that share the stores."""
    artifacts, caches = ArtifactStore(tmp_path / "artifacts"), CacheStore(tmp_path / "caches")
    count = 0

    def make() -> RecordingContext:
        nonlocal count
        count += 1
        return RecordingContext(LocalSandbox(tmp_path / f"job{count}"), artifacts, caches, repository)

    return make
