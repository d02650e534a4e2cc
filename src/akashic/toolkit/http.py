"""Messages of HTTP/1.1: requests read from a socket with a limit on everything, bodies streamed, answers.

A body goes from the socket into the file in one copy. Source: RFC 9110 (semantics) and RFC 9112 (messages,
request smuggling).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO
from urllib.parse import parse_qsl

from akashic.errors import AkashicError

HEAD_BYTES_MAX = 32 * 1024
HEADERS_MAX = 100
QUERY_FIELDS_MAX = 32
SMALL_BODY_BYTES_MAX = 1024 * 1024
"""What is read into memory of a body: JSON requests."""
DRAIN_BYTES_MAX = 1024 * 1024
"""An unread body up to this is read and dropped, so that the connection can be used again."""
COPY_BYTES = 256 * 1024
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_PATH = frozenset("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-._~/")


class HttpError(AkashicError):
    """A request that is answered with an error. `code` is the protocol's own word for it."""

    def __init__(self, status: int, message: str, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class ConnectionEnded(Exception):
    """The client has gone, or was too slow."""


class Stream:
    """A socket with what was read too far."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._ahead = bytearray()

    def until(self, end: bytes, bytes_max: int) -> bytes:
        """What comes before `end`, which is taken too. Raises ValueError when it is too long,
        ConnectionEnded."""
        while (found := self._ahead.find(end)) < 0:
            if len(self._ahead) > bytes_max:
                raise ValueError("too long")
            chunk = self._receive(64 * 1024)
            if not chunk:
                raise ConnectionEnded
            self._ahead += chunk
        if found > bytes_max:
            raise ValueError("too long")
        taken = bytes(self._ahead[:found])
        del self._ahead[: found + len(end)]
        return taken

    def into(self, view: memoryview) -> int:
        """Fill some of `view`. Raises ConnectionEnded."""
        if self._ahead:
            count = min(len(view), len(self._ahead))
            view[:count] = self._ahead[:count]
            del self._ahead[:count]
            return count
        try:
            count = self._socket.recv_into(view)
        except OSError as error:
            raise ConnectionEnded from error
        if count == 0:
            raise ConnectionEnded
        return count

    def _receive(self, count: int) -> bytes:
        try:
            return self._socket.recv(count)
        except OSError as error:
            raise ConnectionEnded from error


class Body:
    """A request's body, read once. `length` is its size in bytes, None when it comes in chunks."""

    def __init__(self, stream: Stream, length: int | None, go_on: Callable[[], None]) -> None:
        self._stream = stream
        self.length = length
        self._left = length or 0
        self._done = length == 0
        self._go_on = go_on

    def chunks(self, buffer: bytearray) -> Iterator[memoryview]:
        """The body in views of `buffer`, each valid until the next is asked for."""
        if self._done:
            return
        self._go_on()
        view = memoryview(buffer)
        if self.length is None:
            yield from self._chunked(view)
        while self.length is not None and self._left:
            count = self._stream.into(view[: min(len(view), self._left)])
            self._left -= count
            yield view[:count]
        self._done = True

    def read(self, bytes_max: int = SMALL_BODY_BYTES_MAX) -> bytes:
        """The whole body. Raises HttpError (413) when it is larger."""
        if self.length is not None and self.length > bytes_max:
            raise HttpError(413, f"the body is larger than {bytes_max:,} bytes", "RequestBodyTooLarge")
        content = bytearray()
        for chunk in self.chunks(bytearray(64 * 1024)):
            content += chunk
            if len(content) > bytes_max:
                raise HttpError(413, f"the body is larger than {bytes_max:,} bytes", "RequestBodyTooLarge")
        return bytes(content)

    def write_to(
        self,
        descriptor: int,
        offset: int,
        *,
        bytes_max: int,
        also: Callable[[memoryview], object] | None = None,
    ) -> int:
        """Write the body into a file at `offset`; how many bytes. Raises HttpError (413)."""
        if self.length is not None and self.length > bytes_max:
            raise HttpError(413, f"the body is larger than {bytes_max:,} bytes", "RequestBodyTooLarge")
        written = 0
        for chunk in self.chunks(bytearray(COPY_BYTES)):
            if written + len(chunk) > bytes_max:
                raise HttpError(413, f"the body is larger than {bytes_max:,} bytes", "RequestBodyTooLarge")
            if also is not None:
                also(chunk)
            while chunk:
                count = os.pwrite(descriptor, chunk, offset + written)
                written += count
                chunk = chunk[count:]
        return written

    def drain(self) -> bool:
        """Whether the connection stands at the next request."""
        if self._done:
            return True
        if self.length is None or self._left > DRAIN_BYTES_MAX:
            return False
        for _ in self.chunks(bytearray(64 * 1024)):
            pass
        return True

    def _chunked(self, view: memoryview) -> Iterator[memoryview]:
        while True:
            size = self._line().partition(b";")[0].strip()
            if not size or len(size) > 8 or any(c not in b"0123456789abcdefABCDEF" for c in size):
                raise HttpError(400, "a chunk of the body has no size")
            left = int(size, 16)
            if left == 0:
                # Trailers are read and dropped.
                for _ in range(HEADERS_MAX):
                    if not self._line():
                        return
                raise HttpError(400, f"more than {HEADERS_MAX} trailers")
            while left:
                count = self._stream.into(view[: min(len(view), left)])
                left -= count
                yield view[:count]
            if self._line():
                raise HttpError(400, "a chunk of the body is longer than it says")

    def _line(self) -> bytes:
        try:
            return self._stream.until(b"\r\n", 1024)
        except ValueError:
            raise HttpError(400, "a chunk of the body has no size") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request. `parts` are the path's segments as sent: a path with anything but plain characters is
    refused before, so nothing in it can be decoded into something else. Header names are in lower case."""

    method: str
    parts: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Body
    origin: str
    """`http://address:port` that the client reached us by."""

    @property
    def path(self) -> str:
        return "/" + "/".join(self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer: bytes, or `length` bytes of `file` from `start`, which is closed afterwards."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: BinaryIO | None = None
    start: int = 0
    length: int = 0


def parse_head(head: bytes, stream: Stream, connection: socket.socket, origin: str) -> Request:
    """A request from its first lines. Raises HttpError."""
    if b"\0" in head or not head.isascii():
        raise HttpError(400, "the headers hold a byte that no header may hold")
    first, *lines = head.decode("ascii").lstrip("\r\n").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or words[2] not in ("HTTP/1.1", "HTTP/1.0") or not _is_token(words[0]):
        raise HttpError(400, "the request line is malformed")
    if len(lines) > HEADERS_MAX:
        raise HttpError(431, f"more than {HEADERS_MAX} headers")
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not _is_token(name) or "\n" in line or "\r" in line:
            raise HttpError(400, "a header is malformed")
        if name in headers and name in ("content-length", "transfer-encoding", "host", "authorization"):
            raise HttpError(400, f"the header {name} stands twice")
        headers[name] = value.strip(" \t")
    path, _, query = words[1].partition("?")
    go_on: Callable[[], None] = lambda: None  # noqa: E731
    if headers.get("expect", "").lower() == "100-continue":
        go_on = lambda: connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")  # noqa: E731
    return Request(
        method=words[0],
        parts=_parts(path),
        query=_query(query),
        headers=headers,
        body=Body(stream, _length(words[0], headers), go_on),
        origin=origin,
    )


def _length(method: str, headers: Mapping[str, str]) -> int | None:
    encoding = headers.get("transfer-encoding")
    given = headers.get("content-length")
    if encoding is not None:
        # Both at once is how requests are smuggled past each other (RFC 9112, 6.3).
        if given is not None or encoding.lower() != "chunked":
            raise HttpError(400, "the length of the body is not clear")
        return None
    if given is None:
        return 0
    if not given.isdigit() or len(given) > 15:
        raise HttpError(400, f"no length: {given[:40]!r}")
    return int(given)


def _parts(path: str) -> tuple[str, ...]:
    parts = tuple(path.removeprefix("/").split("/"))
    plain = path.startswith("/") and _PATH.issuperset(path)
    if not plain or any(part in ("", ".", "..") for part in parts):
        raise HttpError(404, "there is nothing at this path", "bad_route")
    return parts


def _query(text: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX, errors="strict")
    except ValueError:
        raise HttpError(400, "the query is malformed") from None
    found = dict(pairs)
    if len(found) != len(pairs):
        raise HttpError(400, "a field of the query stands twice")
    return found


def _is_token(text: str) -> bool:
    return bool(text) and _TOKEN.issuperset(text)
