"""The real services with real stores, a plain client of their protocol, and the real packages under Node."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from akashic.engine.requests import JobRequest
from akashic.journal.artifacts import ArtifactStore
from akashic.journal.caches import CacheStore
from akashic.toolkit.services import JobServices, Services
from akashic.workflow.parse import parse_workflow
from tests.toolkit import packages

JOB = parse_workflow("on: push\njobs:\n  build:\n    runs-on: x\n    steps:\n      - run: x", "ci.yml").jobs[
    "build"
]
GITHUB: dict[str, Any] = {
    "event": {"repository": {"default_branch": "main"}},
    "event_name": "push",
    "ref": "refs/heads/main",
    "ref_type": "branch",
    "sha": "a" * 40,
    "repository": "octo/app",
    "repository_owner": "octo",
    "actor": "mona",
    "workflow": "CI",
    "workflow_ref": "octo/app/.github/workflows/ci.yml@refs/heads/main",
    "workflow_sha": "a" * 40,
    "run_id": "77",
    "run_number": "3",
    "run_attempt": "1",
}


def make_request(**changes: Any) -> JobRequest:
    """A job's request; fields of `github` may be given as `github_ref=…`."""
    github = {**GITHUB, **{name[7:]: value for name, value in changes.items() if name.startswith("github_")}}
    fields: dict[str, Any] = {
        "run_id": "77",
        "key": "build (ubuntu, 3)",
        "attempt": 1,
        "idempotency_key": "77/build/1",
        "name": "build",
        "job": JOB,
        "workflow_path": ".github/workflows/ci.yml",
        "github": github,
    }
    given = {name: value for name, value in changes.items() if not name.startswith("github_")}
    return JobRequest(**{**fields, **given})


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.time = 1_700_000_000.0

    def now(self) -> float:
        return self.time


@dataclass
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """What one job sends: its token is in every request unless another is given."""

    def __init__(self, job: JobServices | Mapping[str, str]) -> None:
        self.variables = dict(job) if isinstance(job, Mapping) else job.action_variables()
        self.origin = self.variables["ACTIONS_RESULTS_URL"].rstrip("/")
        self.token = self.variables["ACTIONS_RUNTIME_TOKEN"]

    @property
    def ids(self) -> dict[str, str]:
        """The backend ids, read from the token as the toolkit does."""
        import base64

        claims = json.loads(base64.urlsafe_b64decode(self.token.split(".")[1] + "=="))
        _, run, job = claims["scp"].split(":")
        return {"workflow_run_backend_id": run, "workflow_job_run_backend_id": job}

    def send(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        token: str | None = None,
    ) -> Answer:
        place = urlsplit(self.origin)
        connection = http.client.HTTPConnection(str(place.hostname), place.port, timeout=20)
        target = url.removeprefix(self.origin)
        sent = dict(headers or {})
        token = self.token if token is None else token
        if token and not target.startswith("/blob/"):
            sent.setdefault("Authorization", f"Bearer {token}")
        if isinstance(body, dict | list):
            sent.setdefault("Content-Type", "application/json")
            body = json.dumps(body).encode()
        try:
            connection.request(method, target, body=body, headers=sent)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def twirp(self, service: str, method: str, body: Mapping[str, Any], token: str | None = None) -> Answer:
        path = f"/twirp/github.actions.results.api.v1.{service}/{method}"
        return self.send("POST", path, dict(body), token=token)

    def upload_artifact(self, name: str, content: bytes) -> str:
        """Create, put, finalise; the artifact's id."""
        created = self.twirp("ArtifactService", "CreateArtifact", {**self.ids, "name": name, "version": 4})
        assert created.status == 200, created.body
        put = self.send("PUT", created.json()["signed_upload_url"], content)
        assert put.status == 201, put.body
        size = str(len(content))
        done = self.twirp("ArtifactService", "FinalizeArtifact", {**self.ids, "name": name, "size": size})
        assert done.status == 200, done.body
        return str(done.json()["artifact_id"])

    def save_cache(self, key: str, content: bytes, version: str = "v") -> Answer:
        """Reserve, put, finalise; the first answer that is not yes."""
        fields = {"key": key, "version": version}
        created = self.twirp("CacheService", "CreateCacheEntry", fields)
        if created.status != 200 or not created.json()["ok"]:
            return created
        assert self.send("PUT", created.json()["signed_upload_url"], content).status == 201
        return self.twirp(
            "CacheService", "FinalizeCacheEntryUpload", {**fields, "size_bytes": str(len(content))}
        )

    def restore_cache(self, key: str, *restore_keys: str, version: str = "v") -> bytes | None:
        """The content that the service finds."""
        fields = {"key": key, "restore_keys": list(restore_keys), "version": version}
        found = self.twirp("CacheService", "GetCacheEntryDownloadURL", fields)
        assert found.status == 200, found.body
        if not found.json()["ok"]:
            return None
        got = self.send("GET", found.json()["signed_download_url"])
        assert got.status == 200
        return got.body


@dataclass
class Desk:
    """The services and what is behind them."""

    folder: Path
    services: Services
    artifacts: ArtifactStore
    caches: CacheStore
    clock: Clock

    def job(self, **changes: Any) -> JobServices:
        return self.services.open_job(make_request(**changes))

    def client(self, **changes: Any) -> Client:
        return Client(self.job(**changes))

    @property
    def left_over(self) -> list[str]:
        """What is in the stores' scratch folders."""
        return [
            str(path) for store in ("artifacts", "caches") for path in (self.folder / store / "tmp").glob("*")
        ]


@pytest.fixture
def client_of() -> Callable[[Mapping[str, str]], Client]:
    """A client of services in another process, from the variables that a step gets."""
    return Client


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    # A few folders down, so that what leads out of the stores is seen without a look at other tests' files.
    folder = tmp_path / "host" / "home" / "desk"
    clock = Clock()
    artifacts = ArtifactStore(folder / "artifacts", now=clock.now)
    caches = CacheStore(folder / "caches", now=clock.now)
    services = Services(
        artifact_store=artifacts, cache_store=caches, key_path=folder / "config" / "key.pem", now=clock.now
    )
    yield Desk(folder, services, artifacts, caches, clock)
    services.close()


@pytest.fixture(scope="session")
def probe() -> Callable[[str], Path]:
    """The probe's script with the packages of a generation; skips where they cannot be had."""

    def find(generation: str) -> Path:
        try:
            return Path(packages.bundle(generation))
        except packages.NotHere as error:
            pytest.skip(f"the packages of GitHub's actions are not here: {error}")

    return find


ACTION = """
name: probe
inputs:
  script:
    required: true
runs:
  using: node20
  main: index.mjs
"""


class Checkout:
    """A repository with the probe as a local action, run by the real command."""

    def __init__(self, folder: Path, script: Path) -> None:
        self.root = folder / "repository"
        self.home = folder / "home"
        self.home.mkdir()
        action = self.root / ".github" / "actions" / "probe"
        action.mkdir(parents=True)
        (action / "action.yml").write_text(ACTION)
        (action / "index.mjs").write_bytes(script.read_bytes())
        (self.root / ".github" / "workflows").mkdir()
        self.git("init", "-q", "-b", "main")
        self.git("remote", "add", "origin", "https://github.com/octo/app.git")

    def git(self, *arguments: str) -> None:
        identity = ["-c", "user.name=t", "-c", "user.email=t@example.test"]
        subprocess.run(["git", *identity, *arguments], cwd=self.root, check=True, capture_output=True)

    def commit(self, workflow: str) -> None:
        (self.root / ".github" / "workflows" / "ci.yml").write_text(workflow)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "x")

    @property
    def environ(self) -> dict[str, str]:
        keep = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        return {**keep, "HOME": str(self.home), "USER": "mona", "AKASHIC_WARM": "off", "CI": "true"}

    def akashic(self, *arguments: str, code: int = 0, environ: Mapping[str, str] | None = None) -> str:
        """Run the command; its output."""
        done = subprocess.run(
            [sys.executable, "-m", "akashic", *arguments],
            cwd=self.root,
            env={**self.environ, **(environ or {})},
            capture_output=True,
            text=True,
            timeout=120,
        )
        output = done.stdout + done.stderr
        assert done.returncode == code, output
        return output


@pytest.fixture
def checkout(tmp_path: Path, probe: Callable[[str], Path]) -> Callable[[str], Checkout]:
    return lambda generation: Checkout(tmp_path, probe(generation))
