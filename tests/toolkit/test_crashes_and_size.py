"""A runner that is killed in the middle of uploads, and content that is larger than the memory allowed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SIZE_BYTES = 300 << 20
MEMORY_MB_MAX = 150

HALF = """
on: push
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - uses: ./.github/actions/probe
        with:
          script: |
            const base = process.env.ACTIONS_RESULTS_URL, token = process.env.ACTIONS_RUNTIME_TOKEN
            const scp = JSON.parse(Buffer.from(token.split('.')[1], 'base64url')).scp.split(':')
            const ids = {workflow_run_backend_id: scp[1], workflow_job_run_backend_id: scp[2]}
            const call = async (service, method, body) => {
              const url = base + 'twirp/github.actions.results.api.v1.' + service + '/' + method
              const headers = {authorization: 'Bearer ' + token, 'content-type': 'application/json'}
              return (await fetch(url, {method: 'POST', headers, body: JSON.stringify(body)})).json()
            }
            const one = await call('ArtifactService', 'CreateArtifact', {...ids, name: 'half', version: 4})
            const two = await call('CacheService', 'CreateCacheEntry', {key: 'half', version: 'v'})
            for (const {signed_upload_url: url} of [one, two]) {
              const id = Buffer.from('block-000000').toString('base64')
              const block = url + '&comp=block&blockid=' + encodeURIComponent(id)
              await fetch(block, {method: 'PUT', body: 'x'.repeat(1000)})
            }
            fs.writeFileSync(process.env.GITHUB_WORKSPACE + '/ready', 'x')
            console.log('half' + ' way')
            await new Promise(resolve => setTimeout(resolve, 60000))
"""


def test_kill_9_in_the_middle_of_uploads_leaves_nothing_half_visible(checkout: Callable[[str], Any]) -> None:
    house = checkout("v4")
    house.commit(HALF)
    runner = subprocess.Popen(
        [sys.executable, "-m", "akashic", "run", "push"],
        cwd=house.root,
        env=house.environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert runner.stdout is not None
    try:
        for line in runner.stdout:
            if "half way" in line:
                break
        else:
            pytest.fail("the action never came half way")
    finally:
        runner.send_signal(signal.SIGKILL)
        runner.wait(30)
    left = [
        path
        for store in ("artifacts", "caches")
        for path in (house.root / ".akashic" / store / "tmp").iterdir()
    ]
    assert len(left) == 2, "the uploads were really in the middle"
    assert house.akashic("--json", "artifact", "list") == ""
    assert house.akashic("--json", "cache", "list") == ""
    # A day later the first that tidies up removes what was left.
    for path in left:
        os.utime(path, (time.time() - 90_000,) * 2)
    script = HALF.split("script: |\n")[1]
    ended = HALF.replace(
        script,
        """            fs.writeFileSync('f', 'x')
            await artifact.uploadArtifact('half', [process.cwd() + '/f'], process.cwd())
            await cache.saveCache(['f'], 'half')
""",
    )
    house.commit(ended)
    house.akashic("run", "push")
    assert [
        json.loads(line)["name"] for line in house.akashic("--json", "artifact", "list").splitlines()
    ] == ["half"]
    assert [json.loads(line)["key"] for line in house.akashic("--json", "cache", "list").splitlines()] == [
        "half"
    ]
    assert not any(path.exists() for path in left)


SERVER = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from akashic.journal.artifacts import ArtifactStore
from akashic.journal.caches import CacheStore
from akashic.toolkit.services import Services
from tests.toolkit.conftest import make_request
folder = Path({folder!r})
services = Services(
    artifact_store=ArtifactStore(folder / "artifacts"), cache_store=CacheStore(folder / "caches"),
    key_path=folder / "key.pem", now=time.time,
)
import json
print(json.dumps(services.open_job(make_request()).action_variables()), flush=True)
sys.stdin.read()
services.close()
"""


@pytest.fixture
def server(tmp_path: Path) -> Any:
    """The services in a process of their own, so that their memory can be read."""
    code = SERVER.format(root=str(Path(__file__).parents[2]), folder=str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdin is not None
    yield process, json.loads(process.stdout.readline())
    process.stdin.close()
    process.wait(20)


def memory_mb(pid: int) -> float:
    """The peak of a process's resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(pid)


def test_content_is_streamed_in_bounded_memory(server: Any, client_of: Any) -> None:
    process, variables = server
    client = client_of(variables)
    block = os.urandom(1 << 20)

    def pieces() -> Any:
        for _ in range(SIZE_BYTES >> 20):
            yield block

    created = client.twirp("CacheService", "CreateCacheEntry", {"key": "k", "version": "v"}).json()
    put = client.send("PUT", created["signed_upload_url"], pieces(), {"Content-Length": str(SIZE_BYTES)})
    assert put.status == 201
    done = client.twirp(
        "CacheService", "FinalizeCacheEntryUpload", {"key": "k", "version": "v", "size_bytes": SIZE_BYTES}
    )
    assert done.json()["ok"]
    found = client.twirp("CacheService", "GetCacheEntryDownloadURL", {"key": "k", "version": "v"}).json()
    got = client.send("GET", found["signed_download_url"])
    assert len(got.body) == SIZE_BYTES and got.body[-len(block) :] == block
    assert memory_mb(process.pid) < MEMORY_MB_MAX
