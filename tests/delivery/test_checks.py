"""What a check expects, and what it says when it finds something else."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator

import pytest

from akashic.delivery.checks import check
from akashic.delivery.config import CheckConfig


class Answers(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        return None

    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(0.6)
        if self.path == "/broken":
            self.wfile.write(b"this is not HTTP\r\n\r\n")
            return
        body = (
            b'{"ok": true, "database": {"ok": 1}, "list": ["a"]}' if self.path == "/json" else b"hello there"
        )
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Location", "/")
        self.send_header("Content-Type", "application/json" if self.path == "/json" else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        (CheckConfig(path="/"), ""),
        (CheckConfig(path="/", contains="there"), ""),
        (CheckConfig(path="/", contains="world"), "expected a body that contains 'world'"),
        (CheckConfig(path="/moved"), "expected status 200, found 302"),
        (CheckConfig(path="/moved", status=(200, 302)), ""),
        (CheckConfig(path="/json", json={"ok": True, "list.0": "a"}), ""),
        (CheckConfig(path="/json", json={"database.ok": True}), "to be True, found 1"),
        (CheckConfig(path="/json", json={"cache": 1}), "there is no such field"),
        (CheckConfig(path="/", json={"a": 1}), "expected JSON"),
        (CheckConfig(path="/", headers={"content-type": "text"}), ""),
        (CheckConfig(path="/", headers={"X-A": "b"}), "expected the header X-A"),
        (CheckConfig(path="/", headers={"Content-Type": "json"}), "to contain 'json'"),
        (CheckConfig(path="/slow", timeout_s=0.2), "no answer within 0.2 s"),
        (CheckConfig(path="/broken"), "BadStatusLine"),
    ],
)
def test_a_check_says_what_it_expected_and_found(address, wanted, words):
    evidence = check(address, wanted)
    assert evidence.passed == (not words), evidence.message
    assert words in evidence.message


def test_nothing_that_listens_is_evidence_too():
    assert check("http://127.0.0.1:1", CheckConfig(path="/")).message == "nothing listens there"
