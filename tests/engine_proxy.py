"""A door to the engine that a test can make slow, hold or shut: what others use the engine for goes on."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from akashic.containers.engine import Engine

HEAD_BYTES_MAX = 1 << 16
_PIECE_BYTES = 1 << 16

Ask = Callable[[str], float]
"""The first line of a request to the seconds that it is held back."""


class EngineProxy:
    """Listens at `path` and passes everything on to the engine. `on_request` is asked for each request; it
    may `shut` the door. `environ` leads programs here."""

    def __init__(self, path: Path, engine: Engine) -> None:
        self.environ = {**os.environ, "DOCKER_HOST": f"unix://{path}"}
        self.on_request: Ask = lambda line: 0.0
        self.requests: list[str] = []
        self._path = path
        self._target = engine.transport.endpoint.path
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._shut = threading.Event()
        self.open()

    def open(self) -> None:
        """Be there (again)."""
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self._path))
        listener.listen(256)
        self._shut = shut = threading.Event()
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener, shut), daemon=True).start()

    def shut(self) -> None:
        """As an engine that dies: nobody listens any more, and what was open is cut."""
        self._shut.set()
        with self._lock:
            found, self._open = self._open, []
        for connection in (*([self._listener] if self._listener else []), *found):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket, shut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                threading.Thread(target=self._serve, args=(near, shut), daemon=True).start()

    def _serve(self, near: socket.socket, shut: threading.Event) -> None:
        with contextlib.suppress(OSError), near, socket.socket(socket.AF_UNIX) as far:
            head = b""
            while b"\r\n" not in head and len(head) < HEAD_BYTES_MAX:
                part = near.recv(_PIECE_BYTES)
                if not part:
                    return
                head += part
            line = head.partition(b"\r\n")[0].decode(errors="replace")
            with self._lock:
                self.requests.append(line)
                if shut.is_set():
                    return
                self._open += [near, far]
            if shut.wait(self.on_request(line)):
                return
            far.connect(self._target)
            far.sendall(head)
            back = threading.Thread(target=self._copy, args=(far, near), daemon=True)
            back.start()
            self._copy(near, far)
            back.join()

    @staticmethod
    def _copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while part := source.recv(_PIECE_BYTES):
                sink.sendall(part)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
