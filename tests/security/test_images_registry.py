"""A registry that leads elsewhere: who learns the login, and what may go over the wire unencrypted."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from akashic.errors import UsageError
from akashic.images.connections import Connections, RegistryUnreachable

LOGIN = {"Authorization": "Basic canary"}


class _Leading(http.server.BaseHTTPRequestHandler):
    """Redirects to where the path says: `/to/HOST:PORT/…`; keeps what it was told."""

    def do_GET(self) -> None:
        self.server.seen.append(self.headers.get("Authorization"))  # type: ignore[attr-defined]
        leads = self.path.startswith("/to/")
        self.send_response(302 if leads else 200)
        if leads:
            self.send_header("Location", self.path.removeprefix("/to/"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def two_hosts() -> Iterator[list[http.server.ThreadingHTTPServer]]:
    servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Leading) for _ in range(2)]
    for server in servers:
        server.seen = []  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield servers
    for server in servers:
        server.shutdown()
        server.server_close()


def address(server: http.server.ThreadingHTTPServer) -> str:
    return f"127.0.0.1:{server.server_port}"


def test_the_login_does_not_follow_a_redirect_to_another_host(two_hosts: list) -> None:
    first, second = two_hosts
    connections = Connections(address(first), insecure=False)
    for place, expected in ((second, None), (first, "Basic canary")):
        url = f"http://{address(first)}/to/http://{address(place)}/blob"
        assert connections.request("GET", url, headers=LOGIN, body=None, stream=False).status == 200
        assert place.seen[-1] == expected
    connections.close()


def test_a_registry_of_this_machine_is_no_reason_to_trust_others(two_hosts: list) -> None:
    connections = Connections(address(two_hosts[0]), insecure=False)
    for realm in ("http://registry.example.com/token", "http://10.0.0.1/token", "ftp://localhost/token"):
        with pytest.raises(UsageError, match="not https"):
            connections.check_realm(realm)
    connections.check_realm("http://localhost:5001/token")
    connections.check_realm("https://registry.example.com/token")
    url = f"http://{address(two_hosts[0])}/to/http://registry.example.com/blob"
    with pytest.raises(RegistryUnreachable, match="not encrypted"):
        connections.request("GET", url, headers=LOGIN, body=None, stream=False)
    connections.close()


def test_a_registry_elsewhere_never_leads_to_what_is_not_encrypted(two_hosts: list) -> None:
    connections = Connections("registry.example.com", insecure=False)
    for realm in ("http://registry.example.com/token", "http://127.0.0.1:1/token", "http://localhost/token"):
        with pytest.raises(UsageError, match="not https"):
            connections.check_realm(realm)
    for url in ("https://u:p@example.com/", f"http://{address(two_hosts[0])}/", "file:///etc/passwd"):
        with pytest.raises(RegistryUnreachable, match="leads to"):
            connections.request("GET", url, headers={}, body=None, stream=False)
    assert two_hosts[0].seen == []
