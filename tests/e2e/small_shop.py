"""A small repository that is delivered by real processes: a server without dependencies, two environments on
this machine, an approval before the second one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
import urllib.request
from pathlib import Path
from typing import Any

from akashic.delivery.local.client import SupervisorClient
from akashic.delivery.local.processes import marked
from akashic.errors import AkashicError
from tests.cli.cli_process import Cli
from tests.waiting import eventually

EXECUTABLES = str(Path(sys.executable).parent)
APPLICATION = """
import http.server, json, os, pathlib, signal, sys, threading, time

ways = json.loads(pathlib.Path("ways.json").read_text())
if ways.get("start") == "exit":
    print("no database for you", flush=True)
    sys.exit(3)
if ways.get("start") == "never":
    time.sleep(600)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        status, body = 200, os.environ["APP_VERSION"]
        if self.path == "/health":
            time.sleep(ways.get("delay", 0))
            status = ways.get("status", 200)
        elif self.path == "/pid":
            body = str(os.getpid())
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


server = http.server.ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
os._exit(0)
"""
WORKFLOW = """
name: deliver
on: push
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: akashic image build --tag now
  staging:
    needs: build
    runs-on: ubuntu-latest
    environment: staging
    steps: [{run: akashic deploy staging}]
  production:
    needs: staging
    runs-on: ubuntu-latest
    environment: production
    steps: [{run: akashic deploy production}]
  tell:
    needs: production
    if: always()
    runs-on: ubuntu-latest
    steps: [{run: 'echo it ended with ${{ needs.production.result }}'}]
"""
ENVIRONMENT = """
  {name}:
    target:
      port: {port}
      env: {{APP_VERSION: "${{version}}"}}
      start_timeout_s: {start_timeout_s}
      drain_timeout_s: 1{services}
    strategy: {{type: blue-green, settle_s: 0}}
    health: {{path: /health, interval_s: 0.05, timeout_s: 0.5}}
"""
APPROVALS = "    approvals: {count: 1, author_may_approve: true}\n"
SERVICES = "\n      services: {postgres: {image: 'postgres:16', env: {POSTGRES_PASSWORD: secret}}}"


class SmallShop(Cli):
    """The repository, and `akashic` in it. `ports` are those of staging and production."""

    def __init__(
        self, folder: Path, *, services: bool = False, production: bool = True, start_timeout_s: float = 15
    ) -> None:
        super().__init__(folder / "shop", folder / "home")
        self.env["PATH"] = EXECUTABLES + ":" + os.environ["PATH"]
        self.state_dir = (self.path / ".akashic").resolve()
        self.client = SupervisorClient(self.state_dir)
        names = ("staging", "production") if production else ("staging",)
        self.ports = dict(zip(names, free_ports(len(names)), strict=True))
        text = "image: {name: shop, include: [app.py, ways.json], command: [python, app.py]}\nenvironments:\n"
        for name, port in self.ports.items():
            text += ENVIRONMENT.format(
                name=name, port=port, start_timeout_s=start_timeout_s, services=SERVICES if services else ""
            )
            text += APPROVALS if name == "production" else ""
        self.write("akashic.yaml", text)
        self.write("app.py", APPLICATION)
        self.workflow(WORKFLOW if production else WORKFLOW[: WORKFLOW.index("  production:")], "deliver.yml")

    def release(self, message: str = "Change", **ways: Any) -> str:
        """Commit a version of the application that behaves as `ways` says: how it starts, what its health
        answers and after what delay."""
        self.write("ways.json", json.dumps(ways))
        return self.commit(message)

    def url(self, environment: str) -> str:
        return f"http://127.0.0.1:{self.ports[environment]}"

    def answer(self, environment: str, path: str = "/") -> str:
        """What the environment answers now. Raises OSError when it does not."""
        with urllib.request.urlopen(self.url(environment) + path, timeout=5) as response:
            return str(response.read().decode())

    def served_commit(self, environment: str) -> str:
        """The commit that the journal says is promoted; empty when none is."""
        serving = self.json("status", environment)[0]["serving"]
        return str(serving["commit"]) if serving else ""

    def supervisor_pid(self) -> int | None:
        try:
            return self.client.ask_if_running({"op": "ping"}, timeout_s=5)
        except AkashicError:
            return None

    def close(self) -> None:
        """Stop everything and see that nothing is left."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.communicate()
        if self.path.exists():
            self("down")
        # As root the folders of an unprivileged release may lie outside of the state folder.
        shutil.rmtree(self.client.paths.reachable, ignore_errors=True)
        assert eventually(lambda: not marked(f"{self.state_dir}/"), timeout_s=10), "a process was left behind"


def free_ports(count: int) -> list[int]:
    """Ports below the range that the system gives to outgoing connections, so that nobody takes them while
    what listens there restarts."""
    found: list[int] = []
    port = 20_000 + os.getpid() % 9_000
    while len(found) < count:
        port += 1
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            found.append(port)
    return found
