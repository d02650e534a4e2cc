"""A small HTTP/1.1 server: one thread a connection, streamed bodies, and a limit on everything.

The standard library's `http.server` costs some 20 ms to import and reads bodies through Python-level buffers;
a step that uploads a gigabyte waits for us, so bodies go from the socket to the file in one copy and come
back with sendfile. Source: RFC 9110 (semantics, ranges) and RFC 9112 (messages, request smuggling).
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http import HTTPStatus
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
CONNECTIONS_MAX = 128
IDLE_TIMEOUT_S = 75.0
BODY_TIMEOUT_S = 60.0
ACCEPT_PAUSE_S = 0.05
LINGER_S = 2.0
LINGER_BYTES_MAX = 256 << 20
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


Handler = Callable[[Request], Response]
OnError = Callable[[Request | None, HttpError], Response]


class HttpServer:
    """Listens on the addresses it is told, in daemon threads, until it is closed."""

    def __init__(self, handler: Handler, on_error: OnError) -> None:
        self._handler = handler
        self._on_error = on_error
        self._listeners: dict[str, socket.socket] = {}
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._closed = False

    def listen(self, address: str) -> str:
        """Listen on an address of this machine, at a free port; the origin. Once for each address.
        Raises AkashicError for a wildcard address, or one that this machine does not have."""
        if address in ("", "0.0.0.0", "::", "*"):
            raise AkashicError(f"the services for actions never listen on every address ({address!r})")
        with self._lock:
            listener = self._listeners.get(address)
            if listener is None:
                listener = self._listeners[address] = _bind(address)
                threading.Thread(
                    target=self._accept, args=(listener, _origin(listener)), name="services", daemon=True
                ).start()
            return _origin(listener)

    def close(self) -> None:
        """Stop listening and end all connections."""
        with self._lock:
            self._closed = True
            open_now = [*self._listeners.values(), *self._connections]
        for connection in open_now:
            # close alone does not wake a thread that waits in accept or recv.
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self, listener: socket.socket, origin: str) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                if self._closed:
                    return
                # Out of descriptors, most likely: they come back when connections end.
                time.sleep(ACCEPT_PAUSE_S)
                continue
            with self._lock:
                refused = self._closed or len(self._connections) >= CONNECTIONS_MAX
                if not refused:
                    self._connections.add(connection)
            if refused:
                with suppress(OSError):
                    connection.sendall(b"HTTP/1.1 503 Busy\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                connection.close()
                continue
            threading.Thread(
                target=self._serve, args=(connection, origin), name="services connection", daemon=True
            ).start()

    def _serve(self, connection: socket.socket, origin: str) -> None:
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = Stream(connection)
            while self._one(connection, stream, origin):
                pass
            _linger(connection)
        except (ConnectionEnded, OSError):
            pass
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _one(self, connection: socket.socket, stream: Stream, origin: str) -> bool:
        """Answer one request; whether another may follow."""
        connection.settimeout(IDLE_TIMEOUT_S)
        request: Request | None = None
        keep = False
        try:
            try:
                head = stream.until(b"\r\n\r\n", HEAD_BYTES_MAX)
            except ValueError:
                raise HttpError(431, f"the headers are larger than {HEAD_BYTES_MAX:,} bytes") from None
            connection.settimeout(BODY_TIMEOUT_S)
            request = parse_head(head, stream, connection, origin)
            response = self._handler(request)
            keep = request.headers.get("connection", "").lower() != "close"
        except HttpError as error:
            response = self._on_error(request, error)
            keep = request is not None
        except (ConnectionEnded, ConnectionError, TimeoutError):
            raise
        except Exception as error:
            # No input may end the process, and a client learns nothing of our insides.
            response = self._on_error(request, HttpError(500, f"internal error ({type(error).__name__})"))
        try:
            keep = keep and request is not None and request.body.drain()
        except HttpError:
            keep = False
        send(connection, response, head_only=request is not None and request.method == "HEAD", keep=keep)
        return keep


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


def send(connection: socket.socket, response: Response, *, head_only: bool, keep: bool) -> None:
    """Write an answer. Raises OSError when the client has gone."""
    length = response.length if response.file is not None else len(response.body)
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in response.headers.items()]
    if response.status not in (204, 304) and "Content-Length" not in response.headers:
        lines.append(f"Content-Length: {length}")
    lines += ["Cache-Control: no-store", f"Connection: {'keep-alive' if keep else 'close'}"]
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("ascii")
    try:
        if head_only or response.status in (204, 304):
            connection.sendall(head)
        elif response.file is None:
            connection.sendall(head + response.body)
        else:
            connection.sendall(head)
            _send_file(connection, response.file.fileno(), response.start, length)
    finally:
        if response.file is not None:
            response.file.close()


def _linger(connection: socket.socket) -> None:
    """Read on for a moment what a client still sends: closing at once would reset the connection, and the
    client would never see why (RFC 9112, 9.6)."""
    connection.shutdown(socket.SHUT_WR)
    connection.settimeout(LINGER_S)
    left = LINGER_BYTES_MAX
    buffer = bytearray(COPY_BYTES)
    while left > 0 and (count := connection.recv_into(buffer)):
        left -= count


def _send_file(connection: socket.socket, descriptor: int, start: int, length: int) -> None:
    # `socket.sendfile` wants a blocking socket with no time-out for its fast way; the kernel's time-out does.
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", int(BODY_TIMEOUT_S), 0))
    connection.setblocking(True)
    while length:
        sent = os.sendfile(connection.fileno(), descriptor, start, min(length, 1 << 30))
        if sent == 0:
            raise ConnectionEnded
        start += sent
        length -= sent


def _bind(address: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.bind((address, 0))
        listener.listen(64)
    except OSError as error:
        listener.close()
        raise AkashicError(
            f"the services for actions cannot listen on {address}: {error.strerror}",
            hint="The address must be one of this machine's own.",
        ) from error
    return listener


def _origin(listener: socket.socket) -> str:
    address, port = listener.getsockname()[:2]
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
