"""HTTP to the engine: one request, one connection; JSON answers, streams, and connections taken over.

Source: the Docker Engine API reference (versioning, attach and exec hijacking). A connection to a unix socket
costs a tenth of a millisecond, so none is kept.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import select
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from akashic.cancellation import Cancellation
from akashic.containers.endpoint import Endpoint
from akashic.containers.errors import EngineError, EngineMissing, refused, unreachable
from akashic.errors import Interrupted

API_VERSION_MIN = (1, 40)
"""Docker Engine 19.03, Podman 3: older ones lack what we use."""
API_VERSION_MAX = (1, 47)
CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 120.0
CANCEL_GRACE_S = 10.0
"""How long an answer is awaited after a request to stop: it tells what there is to take back."""
ANSWER_BYTES_MAX = 64 * 1024 * 1024

Body = bytes | Iterable[bytes]
Query = Mapping[str, str | int | bool | None]


class Hijacked:
    """A connection that now carries a process's input and output. `early` came with the answer's head."""

    def __init__(self, connection: socket.socket, early: bytes) -> None:
        self._socket = connection
        self._early = early

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def has_early(self) -> bool:
        """Whether `receive` has something that polling the descriptor does not tell of."""
        return bool(self._early)

    def receive(self, size: int = 1 << 16, *, deadline: float | None = None) -> bytes:
        """The next bytes, empty at the end, and at the `deadline` (of the monotonic clock)."""
        if self._early:
            found, self._early = self._early[:size], self._early[size:]
            return found
        if deadline is not None:
            poll = select.poll()
            poll.register(self._socket, select.POLLIN)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return b""
        try:
            return self._socket.recv(size)
        except OSError:
            return b""

    def send(self, content: bytes) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(content)

    def abort(self) -> None:
        """End it from another thread."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._socket.close()


class Transport:
    """Speaks to one engine. Thread-safe: every request has a connection of its own."""

    def __init__(self, endpoint: Endpoint, cancellation: Cancellation | None = None) -> None:
        self.endpoint = endpoint
        self._cancellation = cancellation
        self._version = ""

    def under(self, cancellation: Cancellation) -> Transport:
        """The same, for calls that are given up soon after a request to stop; see `call`."""
        found = Transport(self.endpoint, cancellation)
        found._version = self._version
        return found

    @property
    def version(self) -> str:
        """The API version that both sides speak (`1.41`). Raises EngineError for an engine that is too
        old."""
        if not self._version:
            self._version = self._negotiate()
        return self._version

    def call(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = ANSWER_TIMEOUT_S,
    ) -> Any:
        """A JSON answer (None when empty). Raises EngineError and its kinds, Interrupted when the engine does
        not answer within CANCEL_GRACE_S of a request to stop: it may do what it was asked all the same."""
        content = None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})} if content is not None else headers
        with self.stream(
            method,
            path,
            query=query,
            body=content,
            headers=sent,
            timeout_s=timeout_s,
            cancellation=self._cancellation,
            grace_s=CANCEL_GRACE_S,
        ) as response:
            answer = response.read(ANSWER_BYTES_MAX)
        if not answer.strip():
            return None
        try:
            return json.loads(answer)
        except ValueError:
            raise EngineError(f"the container engine's answer to {method} {path} is not JSON") from None

    @contextlib.contextmanager
    def stream(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Body | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        cancellation: Cancellation | None = None,
        grace_s: float = 0.0,
        to_the_end: bool = True,
    ) -> Iterator[http.client.HTTPResponse]:
        """An answer to read bit by bit; `timeout_s` without a byte are too long. Cancelling ends it with
        Interrupted, `grace_s` later unless it is urgent; without `to_the_end` only until the answer
        begins."""
        connection = self._connect(timeout_s)
        stopping = _Stopping(connection.sock, cancellation, grace_s)
        try:
            response = self._ask(connection, method, self._url(path, query), body, headers or {})
            if response.status >= 300:
                raise refused(response.status, _message(response.read(ANSWER_BYTES_MAX)))
            if not to_the_end:
                stopping.forget()
            yield response
        except (OSError, http.client.HTTPException) as error:
            stopping.check()
            raise self._lost(error) from error
        finally:
            stopping.forget()
            connection.close()
        # A connection that was cut looks like one that came to its end.
        stopping.check()

    def post_and_forget(self, method: str, path: str, *, query: Query | None = None) -> None:
        """Ask for something and do not wait for it: the engine goes on when we hang up."""
        with contextlib.suppress(EngineError, OSError):
            connection = self._connect(CONNECT_TIMEOUT_S)
            try:
                connection.putrequest(method, self._url(path, query), skip_accept_encoding=True)
                connection.putheader("Content-Length", "0")
                connection.endheaders()
            finally:
                connection.close()

    def hijack(
        self,
        path: str,
        *,
        query: Query | None = None,
        body: Any = None,
        cancellation: Cancellation | None = None,
    ) -> Hijacked:
        """POST and take the connection over. Raises EngineError and its kinds, Interrupted when it is
        cancelled before the engine has answered."""
        content = json.dumps(body).encode() if body is not None else b""
        head = (
            f"POST {self._url(path, query)} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: "
            f"tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
        )
        connection = self._socket(ANSWER_TIMEOUT_S)
        stopping = _Stopping(connection, cancellation, 0.0)
        try:
            connection.sendall(head.encode() + content)
            received = b""
            while b"\r\n\r\n" not in received:
                part = connection.recv(4096)
                if not part or len(received) > 1 << 16:
                    raise ConnectionResetError("it hung up before it answered")
                received += part
            header, _, early = received.partition(b"\r\n\r\n")
            status = int(header.split(b" ", 2)[1])
            if status not in (101, 200):
                raise refused(status, _message(_rest(connection, header, early)))
            connection.settimeout(None)
        except (OSError, ValueError, IndexError) as error:
            connection.close()
            stopping.check()
            raise self._lost(error) from error
        except BaseException:
            connection.close()
            raise
        finally:
            stopping.forget()
        return Hijacked(connection, early)

    def _negotiate(self) -> str:
        connection = self._connect(CONNECT_TIMEOUT_S)
        try:
            response = self._ask(connection, "GET", "/_ping", None, {})
            response.read(4096)
        except (OSError, http.client.HTTPException) as error:
            raise self._lost(error) from error
        finally:
            connection.close()
        said = response.getheader("Api-Version") or ""
        numbers = re.fullmatch(r"([0-9]+)\.([0-9]+)", said)
        if response.status != 200 or numbers is None:
            raise EngineMissing(f"what listens at {self.endpoint} is no container engine")
        theirs = (int(numbers[1]), int(numbers[2]))
        if theirs < API_VERSION_MIN:
            raise EngineError(
                f"the container engine at {self.endpoint} speaks API {said}, and 1.40 is needed",
                hint="update it: Docker 19.03 or Podman 3 are the oldest that work",
            )
        major, minor = min(theirs, API_VERSION_MAX)
        return f"{major}.{minor}"

    def _url(self, path: str, query: Query | None) -> str:
        given = {
            name: str(int(value)) if isinstance(value, bool) else str(value)
            for name, value in (query or {}).items()
            if value is not None
        }
        return f"/v{self.version}{quote(path)}" + (f"?{urlencode(given)}" if given else "")

    def _socket(self, timeout_s: float | None) -> socket.socket:
        end = self.endpoint
        try:
            if not end.path:
                connection = socket.create_connection((end.host, end.port), timeout=CONNECT_TIMEOUT_S)
            else:
                connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                connection.settimeout(CONNECT_TIMEOUT_S)
                connection.connect(end.path)
        except OSError as error:
            raise unreachable(error, str(end)) from error
        connection.settimeout(timeout_s)
        return connection

    def _connect(self, timeout_s: float | None) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection("docker")
        connection.sock = self._socket(timeout_s)
        return connection

    @staticmethod
    def _ask(
        connection: http.client.HTTPConnection,
        method: str,
        url: str,
        body: Body | None,
        headers: Mapping[str, str],
    ) -> http.client.HTTPResponse:
        streamed = body is not None and not isinstance(body, bytes)
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            # An engine that refuses a long body answers before it has read it all.
            connection.request(method, url, body=body, headers=dict(headers), encode_chunked=streamed)
        return connection.getresponse()

    def _lost(self, error: Exception) -> EngineError:
        if isinstance(error, TimeoutError):
            return EngineError(
                f"the container engine at {self.endpoint} does not answer",
                hint="see what it does: `journalctl -u docker`, or restart it",
            )
        if isinstance(error, EngineError):
            return error
        if isinstance(error, (http.client.IncompleteRead, http.client.RemoteDisconnected)):
            error = ConnectionResetError("it hung up before its answer was complete")
        return EngineMissing(
            f"the connection to the container engine at {self.endpoint} was lost: {error}",
            hint="see that the engine still runs: `docker info`",
        )


class _Stopping:
    """Cuts a connection when the work is cancelled, so that nobody waits for the other end."""

    def __init__(self, connection: socket.socket, cancellation: Cancellation | None, grace_s: float) -> None:
        # The socket itself: `http.client` lets go of it when an answer ends with the connection.
        self._connection = connection
        self._cancellation = cancellation
        self._grace_s = grace_s
        self._timer: threading.Timer | None = None
        self._cut = False
        self._forget = cancellation.on_cancel(self._asked) if cancellation is not None else None

    def _asked(self) -> None:
        assert self._cancellation is not None
        if not self._grace_s or self._cancellation.force:
            self._end()
        elif self._timer is None:
            self._timer = threading.Timer(self._grace_s, self._end)
            self._timer.daemon = True
            self._timer.start()

    def _end(self) -> None:
        self._cut = True
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        if self._forget is not None:
            self._forget()
        if self._timer is not None:
            self._timer.cancel()

    def check(self) -> None:
        """Raises Interrupted when the connection was cut."""
        if self._cut:
            assert self._cancellation is not None
            raise Interrupted(f"stopped: {self._cancellation.reason}")


def _message(content: bytes) -> str:
    try:
        found = json.loads(content)
    except ValueError:
        return content.decode(errors="replace")
    if isinstance(found, dict):
        return str(found.get("message") or found.get("cause") or found)
    return str(found)


def _rest(connection: socket.socket, header: bytes, early: bytes) -> bytes:
    """The body of an answer that was not the one hoped for."""
    length = re.search(rb"(?i)content-length: *([0-9]+)", header)
    wanted = min(int(length[1]), 1 << 16) if length else 0
    while len(early) < wanted:
        part = connection.recv(wanted - len(early))
        if not part:
            break
        early += part
    return early
