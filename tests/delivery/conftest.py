"""A real release to deploy: a small HTTP server in an OCI layout, with behaviour that a test chooses."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from akashic.cancellation import Cancellation
from akashic.delivery.config import Config
from akashic.delivery.config_file import parse_config
from akashic.delivery.gates import EnvironmentGates
from akashic.delivery.local.client import SupervisorClient
from akashic.delivery.local.processes import marked
from akashic.delivery.releases import Release, Releases
from akashic.delivery.service import Deployments, Origin
from akashic.engine.deployment import Deployment
from akashic.images.config import RUNTIME, image_config
from akashic.images.spec import ImageSpec
from akashic.images.store import CONFIG, MANIFEST, Layout, canonical_json
from akashic.images.tar import Entry, write_layer
from akashic.journal.sqlite import SqliteJournal
from akashic.notify.message import Message

APP = """
import http.server, json, os, pathlib, signal, sys, threading, time
ways = json.loads(pathlib.Path("/app/ways.json".replace("/app", os.getcwd())).read_text())
if ways.get("start") == "exit":
    print("no database for you", flush=True)
    sys.exit(3)
if ways.get("start") == "never":
    time.sleep(600)
sick = threading.Event()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *a): pass
    def do_GET(self):
        status, body = 200, ways["version"]
        if self.path == "/api/health":
            if ways.get("only_first") and os.environ["AKASHIC_INSTANCE"] != "0": status = 500
            if sick.is_set() or ways.get("start") == "500": status = 500
            time.sleep(ways.get("delay", 0))
            body = json.dumps({"ok": status == 200, "version": ways["version"]})
        elif self.path.startswith("/env/"):
            body = os.environ.get(self.path[5:], "")
        elif self.path == "/held":
            data = pathlib.Path(os.environ["DATA"])
            (data / "held").touch()
            while not (data / "let-go").exists(): time.sleep(0.01)
        elif self.path == "/user":
            body = str(os.geteuid())
        elif self.path == "/pid":
            body = str(os.getpid())
        elif self.path == "/fall-ill":
            sick.set()
        data = body.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("X-Version", ways["version"])
        self.end_headers()
        self.wfile.write(data)
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 256
server = Server((os.environ.get("HOST", "127.0.0.1"), int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("listening", flush=True)
print(ways.get("says", "").replace("$KEY", os.environ.get("KEY", "")), flush=True)
server.serve_forever()
os._exit(0)
"""
MIGRATE = """
import json, pathlib, os, sys
ways = json.loads(pathlib.Path("ways.json").read_text())
print("migrating", flush=True)
pathlib.Path(os.environ["DATA"], "migrated").write_text(ways["version"]) if os.environ.get("DATA") else None
sys.exit(ways.get("migrate", 0))
"""
CONFIG_TEXT = """
environments:
  staging:
    target:
      env: {DATA: "${data}"}
      start_timeout_s: 8
      drain_timeout_s: 5
    strategy: {settle_s: 0}
    health: {path: /api/health, interval_s: 0.1, timeout_s: 1}
    smoke:
      - {name: front page, path: /}
"""


class RealClock:
    def now(self) -> float:
        return time.time()


class World:
    """One repository's delivery: journal, releases, deployments, with a real supervisor."""

    def __init__(self, folder: Path, text: str = CONFIG_TEXT) -> None:
        self.folder = folder
        self.state_dir = folder / ".akashic"
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self.secrets: dict[str, str] = {}
        self.messages: list[Message] = []
        self.journal = SqliteJournal(self.state_dir / "journal.db")
        self.releases = Releases(journal=self.journal, folder=self.state_dir / "releases", clock=RealClock())
        self.client = SupervisorClient(self.state_dir)
        self.configure(text)

    def configure(self, text: str) -> None:
        self.config: Config = parse_config(text)
        gates = EnvironmentGates(
            config=self.config, journal=self.journal, releases=self.releases, clock=RealClock()
        )
        self.deployments = Deployments(
            config=self.config,
            journal=self.journal,
            releases=self.releases,
            gates=gates,
            clock=RealClock(),
            state_dir=self.state_dir,
            secrets=lambda environment: self.secrets,
            notify=self.messages.append,
        )

    def release(self, version: str, *, ref: str = "refs/heads/main", **ways: Any) -> Release:
        """Build and register a release whose app behaves as `ways` says."""
        layout, digest = build(self.folder / "layout", version, ways)
        return self.releases.register(
            layout=layout,
            digest=digest,
            version=version,
            commit=version.rjust(40, "c"),
            created_by="eve",
            ref=ref,
        )

    def deploy(self, release: Release, environment: str = "staging", by: str = "eve") -> Deployment:
        id_ = self.deployments.request(environment, release, Origin(by=by))
        return self.deployments.follow(environment, id_, Cancellation())

    def deploying(self, release: Release) -> Future[Deployment]:
        """The same, while the test goes on."""
        pool = ThreadPoolExecutor(1)
        future = pool.submit(self.deploy, release)
        pool.shutdown(wait=False)
        return future

    def rollback(self, environment: str = "staging") -> Deployment:
        id_ = self.deployments.request_rollback(environment, Origin(by="eve"))
        return self.deployments.follow(environment, id_, Cancellation())

    def url(self, environment: str = "staging") -> str:
        return self.deployments.status(environment).url

    def close(self) -> None:
        if self.client.running():
            self.client.ask({"op": "down"})
        self.journal.close()
        # As root the folders of an unprivileged release may lie outside of the state folder.
        shutil.rmtree(self.client.paths.reachable, ignore_errors=True)
        deadline = time.monotonic() + 10
        while marked(str(self.state_dir.resolve()) + "/") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not marked(str(self.state_dir.resolve()) + "/"), "a process was left behind"


def build(folder: Path, version: str, ways: dict[str, Any]) -> tuple[Path, str]:
    """An OCI layout with one image of the test app; the layout and the image's digest."""
    store = Layout(folder)
    store.create()
    content = {"version": version, **ways}
    files = {"app.py": APP, "migrate.py": MIGRATE, "ways.json": json.dumps(content)}
    entries = [
        Entry(path=f"app/{name}", kind="file", content=text.encode()) for name, text in sorted(files.items())
    ]
    with store.writer() as (target, keep):
        layer = write_layer(entries, target, mtime_s=0, compression="none")
        keep(layer.digest)
    spec = ImageSpec(name="app", entrypoint=("python3", "app.py"))
    config = image_config(
        spec, "linux/amd64", [("app", layer)], commit="c" * 40, version=version, created_s=0
    )
    if ways.get("built_with_an_engine"):
        config["config"]["Labels"].pop(RUNTIME)
    data = canonical_json(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG, "digest": store.put(data), "size": len(data)},
        "layers": [{"mediaType": layer.media_type, "digest": layer.digest, "size": layer.size}],
    }
    body = canonical_json(manifest)
    digest = store.put(body)
    entry = {"mediaType": MANIFEST, "digest": digest, "size": len(body)}
    store.change(lambda entries: [*entries, entry])
    return folder, digest


def get(url: str) -> str:
    """The body that an address answers with."""
    import urllib.request

    with urllib.request.urlopen(url, timeout=20) as answer:
        return str(answer.read().decode())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def fetch() -> Callable[[str], str]:
    return get
