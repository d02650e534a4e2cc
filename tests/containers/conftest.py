"""A door that answers like an engine, for what a real one cannot be made to say."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from akashic.containers.engine import Engine

Answers = dict[str, tuple[int, bytes]]


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@pytest.fixture
def saying(tmp_path: Path) -> Iterator[Callable[[Answers], Engine]]:
    """An engine that gives these answers: `METHOD /path` without version and query to status and body."""
    servers: list[_Server] = []

    def start(answers: Answers, api_version: str = "1.41") -> Engine:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = self.path.partition("?")[0]
                key = f"{self.command} {path}"
                if path != "/_ping":
                    key = f"{self.command} /{path.split('/', 2)[2]}"
                status, body = answers.get(
                    key, (200, b"OK") if path == "/_ping" else (404, b'{"message": "?"}')
                )
                self.send_response(status)
                self.send_header("Api-Version", api_version)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_DELETE = do_PUT = _answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                return

            def address_string(self) -> str:
                return ""

        path = tmp_path / f"{len(servers)}.sock"
        server = _Server(str(path), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return Engine.connect({"DOCKER_HOST": f"unix://{path}", "HOME": str(tmp_path)})

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
