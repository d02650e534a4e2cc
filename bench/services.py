"""Throughput of the services that actions call: 1 GB up and down on loopback, and the server's memory.

The server runs in a process of its own, so that its memory is its own, on the real stores. The client sends
what GitHub's packages send: blocks of 8 MiB, five at a time, a block list, a finalisation; it reads what
comes back and drops it. The packages themselves are slower than either side: Node is not measured here.
"""

from __future__ import annotations

import base64
import http.client
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench import process
from bench.report import Row

ROOT = Path(__file__).parents[1]
SIZE_BYTES = 1 << 30
BLOCK_BYTES = 8 << 20
CLIENTS = 5
RUNS = 3
RATE_MIN_MB_S = 400
MEMORY_MAX_MB = 150
TIMEOUT_S = 120


def services(folder: Path, scripts: Path, *, runs: int, say: Callable[[str], None]) -> list[Row]:
    """The rows of the table. Raises process.Failed when something did not arrive."""
    del scripts
    rates: dict[str, list[float]] = {"artifact upload": [], "artifact download": [], "cache restore": []}
    with _server(folder / "services") as (pid, client):
        for number in range(min(runs, RUNS)):
            with client.stopwatch(rates["artifact upload"]):
                client.upload_artifact(f"measured-{number}")
            with client.stopwatch(rates["artifact download"]):
                client.read(client.artifact_address(f"measured-{number}"))
            client.save_cache(f"measured-{number}")
            with client.stopwatch(rates["cache restore"]):
                client.read(client.cache_address(f"measured-{number}"))
            client.delete_artifact(f"measured-{number}")
            say("services: " + ", ".join(f"{name} {found[-1]:.0f} MB/s" for name, found in rates.items()))
        memory = _peak_memory_mb(pid)
    rows = [
        Row.alone(f"{name}, 1 GB", "MB/s", statistics.median(found), RATE_MIN_MB_S, at_least=True)
        for name, found in rates.items()
    ]
    return [*rows, Row.alone("  the server's peak memory", "MB", memory, MEMORY_MAX_MB)]


class _Client:
    """A job's side, as far as it is measured."""

    def __init__(self, variables: dict[str, str]) -> None:
        place = urlsplit(variables["ACTIONS_RESULTS_URL"])
        self._host, self._port = str(place.hostname), place.port
        self._token = variables["ACTIONS_RUNTIME_TOKEN"]
        self._block = os.urandom(BLOCK_BYTES)
        payload = self._token.split(".")[1]
        _, run, job = json.loads(base64.urlsafe_b64decode(payload + "=="))["scp"].split(":")
        self._ids = {"workflow_run_backend_id": run, "workflow_job_run_backend_id": job}

    @contextmanager
    def stopwatch(self, rates: list[float]) -> Iterator[None]:
        started = time.perf_counter()
        yield
        rates.append(SIZE_BYTES / 1e6 / (time.perf_counter() - started))

    def upload_artifact(self, name: str) -> None:
        named = {**self._ids, "name": name}
        created = self._call("ArtifactService", "CreateArtifact", {**named, "version": 4})
        self._send_blocks(created["signed_upload_url"])
        self._call("ArtifactService", "FinalizeArtifact", {**named, "size": str(SIZE_BYTES)})

    def artifact_address(self, name: str) -> str:
        return str(
            self._call("ArtifactService", "GetSignedArtifactURL", {**self._ids, "name": name})["signed_url"]
        )

    def delete_artifact(self, name: str) -> None:
        self._call("ArtifactService", "DeleteArtifact", {**self._ids, "name": name})

    def save_cache(self, key: str) -> None:
        named = {"key": key, "version": "bench"}
        self._send_blocks(self._call("CacheService", "CreateCacheEntry", named)["signed_upload_url"])
        size = {"size_bytes": str(SIZE_BYTES)}
        self._call("CacheService", "FinalizeCacheEntryUpload", {**named, **size})

    def cache_address(self, key: str) -> str:
        asked = {"key": key, "version": "bench"}
        return str(self._call("CacheService", "GetCacheEntryDownloadURL", asked)["signed_download_url"])

    def read(self, address: str) -> None:
        connection = self._connect()
        connection.request("GET", _target(address))
        response = connection.getresponse()
        buffer, count = memoryview(bytearray(1 << 20)), 0
        while got := response.readinto(buffer):
            count += got
        connection.close()
        if response.status != 200 or count != SIZE_BYTES:
            raise process.Failed(f"the download ended with {response.status} after {count:,} bytes")

    def _send_blocks(self, address: str) -> None:
        names = [
            base64.b64encode(f"block-{n:06}".encode()).decode() for n in range(SIZE_BYTES // BLOCK_BYTES)
        ]
        waiting, problems = list(reversed(names)), []

        def work() -> None:
            connection = self._connect()
            while waiting:
                name = waiting.pop().replace("=", "%3D").replace("+", "%2B").replace("/", "%2F")
                connection.request("PUT", f"{_target(address)}&comp=block&blockid={name}", body=self._block)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 201:
                    problems.append(answer.status)
            connection.close()

        threads = [threading.Thread(target=work) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        listed = "".join(f"<Latest>{name}</Latest>" for name in names)
        connection = self._connect()
        connection.request("PUT", f"{_target(address)}&comp=blocklist", f"<BlockList>{listed}</BlockList>")
        problems += [status for status in (connection.getresponse().status,) if status != 201]
        connection.close()
        if problems:
            raise process.Failed(f"an upload was answered with {problems[0]}")

    def _call(self, service: str, method: str, fields: dict[str, Any]) -> dict[str, Any]:
        connection = self._connect()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        path = f"/twirp/github.actions.results.api.v1.{service}/{method}"
        connection.request("POST", path, json.dumps(fields), headers)
        answer = connection.getresponse()
        found: dict[str, Any] = json.loads(answer.read())
        connection.close()
        if answer.status != 200 or not found.get("ok", True):
            raise process.Failed(f"{method} ended with {answer.status}: {found}")
        return found

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self._host, self._port, timeout=TIMEOUT_S)


@contextmanager
def _server(folder: Path) -> Iterator[tuple[int, _Client]]:
    folder.mkdir(parents=True, exist_ok=True)
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.services", str(folder)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdin is not None and server.stdout is not None
    try:
        first = server.stdout.readline()
        if not first:
            raise process.Failed("the services did not start")
        yield server.pid, _Client(json.loads(first))
    finally:
        server.stdin.close()
        server.wait(TIMEOUT_S)


def _serve(folder: Path) -> None:
    """The server's process: one job's variables on standard output, until standard input ends."""
    from akashic.engine.requests import JobRequest
    from akashic.journal.artifacts import ArtifactStore
    from akashic.journal.caches import CacheStore
    from akashic.toolkit.services import Services
    from akashic.workflow.parse import parse_workflow

    text = "on: push\njobs:\n  build:\n    runs-on: x\n    steps:\n      - run: x\n"
    request = JobRequest(
        run_id="1",
        key="build",
        attempt=1,
        idempotency_key="1/build/1",
        name="build",
        job=parse_workflow(text, "bench.yml").jobs["build"],
        workflow_path=".github/workflows/bench.yml",
        github={"ref": "refs/heads/main", "event_name": "push", "repository": "octo/app"},
    )
    made = Services(
        artifact_store=ArtifactStore(folder / "artifacts"),
        cache_store=CacheStore(folder / "caches"),
        key_path=folder / "key.pem",
        now=time.time,
    )
    print(json.dumps(made.open_job(request).action_variables()), flush=True)
    sys.stdin.read()
    made.close()


def _target(address: str) -> str:
    place = urlsplit(address)
    return f"{place.path}?{place.query}"


def _peak_memory_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise process.Failed("the server has gone")


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
