"""The supervisor's socket: JSON lines over a unix socket that only its owner may use.

A socket's path may have 107 bytes, a state folder's may be longer: both sides reach it through a descriptor
of its folder. One connection is one request: lines of progress, then one line with the result or an error.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from akashic.errors import AkashicError

LINE_BYTES_MAX = 4_000_000
CONNECT_TIMEOUT_S = 5.0
_PEER = struct.Struct("3i")


class UnreachableError(AkashicError):
    """No supervisor answers."""


@contextmanager
def _address(folder: Path, name: str) -> Iterator[str]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{name}"
    finally:
        os.close(descriptor)


def listen(folder: Path, name: str) -> socket.socket:
    """The listening socket; a stale one is replaced. Only to be called by who holds the supervisor's lock."""
    (folder / name).unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with _address(folder, name) as address:
            server.bind(address)
    finally:
        os.umask(before)
    server.listen(64)
    return server


def peer_allowed(connection: socket.socket) -> bool:
    """Whether the other side is our own user, or root."""
    content = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    _, uid, _ = _PEER.unpack(content)
    return uid in (os.geteuid(), 0)


def ask(
    folder: Path,
    name: str,
    request: dict[str, Any],
    *,
    progress: Callable[[str], None],
    timeout_s: float | None,
) -> Any:
    """One request. Raises UnreachableError when nobody answers or the answer breaks off, AkashicError for
    what the
    supervisor says is wrong."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(CONNECT_TIMEOUT_S)
    try:
        with _address(folder, name) as address:
            connection.connect(address)
        connection.settimeout(timeout_s)
        connection.sendall(msgspec.json.encode(request) + b"\n")
        with connection.makefile("rb") as lines:
            while line := lines.readline(LINE_BYTES_MAX):
                answer = msgspec.json.decode(line)
                if "progress" in answer:
                    progress(answer["progress"])
                elif "error" in answer:
                    raise AkashicError(answer["error"], hint=answer.get("hint", ""))
                else:
                    return answer["result"]
    except (OSError, msgspec.MsgspecError) as error:
        raise UnreachableError(f"the supervisor of {folder.parent} does not answer: {error}") from error
    finally:
        connection.close()
    raise UnreachableError(f"the supervisor of {folder.parent} ended before it answered")
