"""A small HTTP/1.1 server: one thread a connection, files sent by the kernel.

The standard library's server reads bodies through buffers of its own and is slow to import; a step that
uploads a gigabyte waits for us. Source: RFC 9112.
"""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus

from akashic.errors import AkashicError
from akashic.toolkit.http import (
    COPY_BYTES,
    HEAD_BYTES_MAX,
    ConnectionEnded,
    HttpError,
    Request,
    Response,
    Stream,
    parse_head,
)

CONNECTIONS_MAX = 128
IDLE_TIMEOUT_S = 75.0
BODY_TIMEOUT_S = 60.0
ACCEPT_PAUSE_S = 0.05
LINGER_S = 2.0
LINGER_BYTES_MAX = 256 << 20

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
