"""Ports on 127.0.0.1: held until a server takes them, and told by whom when they are taken."""

from __future__ import annotations

import os
import socket
from types import TracebackType

from akashic.executors.protocol import ExecutorError

HOST = "127.0.0.1"


class ReservedPort:
    """A port that nobody else gets until `release`.

    The socket is bound and shared: a server that sets SO_REUSEADDR (PostgreSQL, Redis, nearly all)
    may bind and listen while we hold it, another reservation or a random port may not. So there is no moment
    at which the port is free. Release it when the server listens."""

    def __init__(self, port: int = 0) -> None:
        self._lock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            if port:
                # Lets us have a port whose last connections are still waiting to be forgotten.
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self._claim(port)
            self._socket.bind((HOST, port))
            self.number: int = self._socket.getsockname()[1]
            if not port:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                self._claim(self.number)
        except OSError as error:
            self.release()
            raise PortTaken(port, error) from None

    def _claim(self, port: int) -> None:
        """Two of us must not share a bound port, though each may share it. The name goes when we do."""
        self._lock.bind(f"\0akashic-port-{port}")

    def release(self) -> None:
        self._socket.close()
        self._lock.close()

    def __enter__(self) -> ReservedPort:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class PortTaken(ExecutorError):
    """The port is in use; the message says by which process, when that can be seen."""

    def __init__(self, port: int, error: OSError) -> None:
        holder = port_holder(port)
        by = f" by {holder}" if holder else ""
        what = (
            f"port {port} is taken{by}" if error.errno == 98 else f"cannot use port {port}: {error.strerror}"
        )
        super().__init__(what, hint="stop that process, or choose another port")
        self.port = port
        self.holder = holder


def reserve(wanted: int | None) -> tuple[ReservedPort, str]:
    """The wanted port, else another one with a sentence that says why it is not the wanted one."""
    if wanted is None:
        return ReservedPort(), ""
    try:
        return ReservedPort(wanted), ""
    except PortTaken as taken:
        port = ReservedPort()
        return port, f"{taken.message}, using {port.number} instead"


def port_holder(port: int) -> str:
    """`postgres (process 4711)` for who listens on a port of this machine; empty when it cannot be told."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table) as file:
                rows = file.read().splitlines()[1:]
        except OSError:
            continue
        for row in rows:
            fields = row.split()
            if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                inodes.add(f"socket:[{fields[9]}]")
    if not inodes:
        return ""
    for name in os.listdir("/proc"):
        if name.isdigit() and _holds(name, inodes):
            try:
                with open(f"/proc/{name}/comm") as file:
                    return f"{file.read().strip()} (process {name})"
            except OSError:
                return f"process {name}"
    return "a process of another user"


def _holds(pid: str, inodes: set[str]) -> bool:
    try:
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}") in inodes:
                    return True
            except OSError:
                continue
    except OSError:
        return False
    return False
