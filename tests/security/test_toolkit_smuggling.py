"""Rows 2 and 27: two readings of one stream of requests. What stands behind a request whose end is not clear
is never taken for a request of its own."""

from __future__ import annotations

import socket
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.toolkit.conftest import checkout, desk, probe

__all__ = ["checkout", "desk", "probe"]
PATH = b"/twirp/github.actions.results.api.v1.ArtifactService/ListArtifacts"
SECOND = b"GET /.well-known/openid-configuration HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
UNCLEAR = {
    "length and chunks": b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 90\r\n\r\n",
    "two encodings": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "another encoding": b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a hidden encoding": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a space before the colon": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "a folded line": b"A: b\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a bare line feed": b"A: b\nContent-Length: 90\r\n\r\n",
    "a signed length": b"Content-Length: +0\r\n\r\n",
    "a length with an underscore": b"Content-Length: 1_0\r\n\r\n",
    "a list of lengths": b"Content-Length: 0, 0\r\n\r\n",
    "a chunk with a sign": b"Transfer-Encoding: chunked\r\n\r\n+0\r\n\r\n",
    "a chunk in hex notation": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "a chunk that is longer": b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n",
    "a huge chunk": b"Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    "two hosts": b"Host: b\r\nContent-Length: 0\r\n\r\n",
}


def answers(desk: Any, request: bytes) -> bytes:
    place = urlsplit(desk.client().origin)
    with socket.create_connection((place.hostname, place.port), timeout=10) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


@pytest.mark.parametrize("how", UNCLEAR)
def test_attack_27_nothing_is_smuggled_behind_an_unclear_request(desk: Any, how: str) -> None:
    said = answers(desk, b"POST " + PATH + b" HTTP/1.1\r\nHost: a\r\n" + UNCLEAR[how] + SECOND)
    assert said.startswith(b"HTTP/1.1 4"), said
    assert said.count(b"HTTP/1.1 ") == 1 and b"Connection: close" in said, said


def test_the_second_request_would_be_answered(desk: Any) -> None:
    said = answers(desk, b"POST " + PATH + b" HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n" + SECOND)
    assert said.count(b"HTTP/1.1 ") == 2 and b"HTTP/1.1 200" in said


def test_attack_2_a_page_of_a_browser_cannot_use_the_services(desk: Any) -> None:
    """DNS rebinding and cross-site requests: no header allows another origin, and a cookie or an address is
    no token."""
    for host in (b"evil.example", b"127.0.0.1.evil.example"):
        for method in (b"OPTIONS", b"POST", b"GET"):
            request = (
                method + b" " + PATH + b" HTTP/1.1\r\nHost: " + host + b"\r\nOrigin: https://evil.example\r\n"
                b"Cookie: token=x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )  # fmt: skip
            said = answers(desk, request)
            assert said[:12] in (b"HTTP/1.1 401", b"HTTP/1.1 404"), said
            assert b"access-control" not in said.lower()
