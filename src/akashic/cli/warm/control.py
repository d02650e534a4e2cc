"""The warm servers of this user, seen from outside: which there are, and their end."""

import _socket
import os
import signal
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from akashic.cli.warm import place
from akashic.cli.warm.client import peer

_STOP_TIMEOUT_S = 5.0
_POLL_S = 0.02
_KIB = 1024


class ServerInfo(NamedTuple):
    """A server: its process, and the memory that is its own."""

    pid: int
    memory_bytes: int


def servers(environ: Mapping[str, str]) -> list[ServerInfo]:
    """Those that answer, whatever code and language they are of."""
    found = []
    where = place.folder(dict(environ))
    if where and place.is_private(where):
        for path in sorted(Path(where).iterdir()):
            pid = _server_at(str(path))
            if pid:
                found.append(ServerInfo(pid, _memory_bytes(pid)))
    return found


def stop(environ: Mapping[str, str]) -> int:
    """Have all servers take no more work; how many there were. Commands at work end first. A server that is
    still importing cannot be asked: it finds a mark and leaves."""
    where = place.folder(dict(environ))
    if where and place.is_private(where):
        with suppress(OSError):
            Path(where, place.STOP_MARK).touch()
    found = servers(environ)
    for server in found:
        with suppress(OSError):
            os.kill(server.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_TIMEOUT_S
    while servers(environ) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return len(found)


def _server_at(path: str) -> int:
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    channel.settimeout(1.0)
    try:
        channel.connect(path)
        pid, uid = peer(channel)
    except OSError:
        return 0
    finally:
        channel.close()
    return pid if uid == os.geteuid() else 0


def _memory_bytes(pid: int) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * _KIB
    return 0
