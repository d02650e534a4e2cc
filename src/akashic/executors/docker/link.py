"""Our side of the agent in a job's container: a socket below the job's temporary folder, over which
descriptors are passed, so that output comes straight from the process and the engine has no part in a
step."""

from __future__ import annotations

import contextlib
import marshal
import os
import select
import socket
import struct
import threading
from collections.abc import Sequence
from typing import Any

from akashic.executors import agent_calls
from akashic.executors.launching import Command
from akashic.executors.protocol import ExecutorError

SOCKET_NAME = ".akashic"
ANSWER_TIMEOUT_S = 60.0
"""For the agent to start a process: it answers when the kernel has loaded the program."""
REAP_TIMEOUT_S = 10.0
"""For the status of a process that was killed."""
_LOST = 128 + 9


class RemoteChild:
    """A process in the container; `pid` is its number there."""

    __slots__ = ("_link", "_status", "pid")

    def __init__(self, link: AgentLink, pid: int, status: int) -> None:
        self.pid = pid
        self._link = link
        self._status = status

    def fileno(self) -> int:
        return self._status

    def signal(self, number: int) -> None:
        with contextlib.suppress(ExecutorError):
            self._link.send(("signal", self.pid, int(number)))

    def reap(self) -> int:
        status, self._status = self._status, -1
        code = agent_calls.ended(status, REAP_TIMEOUT_S) if status >= 0 else None
        if code is None:
            self._link.lost = True
            return _LOST
        return code


class AgentDoor:
    """Waits for the agent to come. The socket is gone again when it has come."""

    def __init__(self, folder: str) -> None:
        # The name of a socket may have 107 bytes, a folder's path more.
        self._folder = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        path = f"/proc/self/fd/{self._folder}/{SOCKET_NAME}"
        try:
            self._listener.bind(path)
            os.chmod(path, 0o666)
            self._listener.listen(1)
        except OSError:
            self.close()
            raise

    def wait(self, timeout_s: float, wake: int) -> AgentLink | None:
        """The agent, None when it has not come in time, or when `wake` can be read from."""
        poll = select.poll()
        poll.register(self._listener, select.POLLIN)
        poll.register(wake, select.POLLIN)
        if self._listener.fileno() not in {fd for fd, _ in poll.poll(timeout_s * 1000)}:
            return None
        channel, _ = self._listener.accept()
        return AgentLink(channel)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(SOCKET_NAME, dir_fd=self._folder)
        self._listener.close()
        os.close(self._folder)


class AgentLink:
    """Starts processes in the container. Thread-safe. `uid` and `gid` are the agent's on this machine."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        channel.settimeout(ANSWER_TIMEOUT_S)
        self._lock = threading.Lock()
        credentials = channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid, self.uid, self.gid = struct.unpack("3i", credentials)
        self.pid = pid
        self.lost = False
        """Whether the container went away under a process of ours, or does not answer any more."""
        self._end = -1
        with contextlib.suppress(OSError):
            self._end = os.pidfd_open(pid)

    def launch(self, command: Command) -> RemoteChild:
        status, status_end = os.pipe()
        try:
            request = ("run", list(command.argv), dict(command.env), command.cwd)
            self.send(request, (command.stdin, command.output, status_end))
        except ExecutorError:
            os.close(status)
            raise
        finally:
            os.close(status_end)
        pid = agent_calls.started(status, command, ANSWER_TIMEOUT_S)
        if pid is None:
            self.lost = True
            raise ExecutorError("the job's container is gone")
        return RemoteChild(self, pid, status)

    def forward(self, port: int, host: str, target: int) -> None:
        """Have `127.0.0.1:port` of the container lead to `host:target`."""
        self.send(("forward", port, host, target))

    def send(self, request: tuple[Any, ...], descriptors: Sequence[int] = ()) -> None:
        try:
            body = marshal.dumps(request)
        except ValueError as error:
            raise ExecutorError(f"a command that cannot be sent to the job's container: {error}") from None
        try:
            with self._lock:
                agent_calls.send(self._channel, body, descriptors)
        except OSError as error:
            self.lost = True
            raise ExecutorError("the job's container is gone") from error

    def close(self, timeout_s: float) -> bool:
        """End the agent, and with it all processes of its container; whether they have ended. Safe to call
        twice."""
        # Another thread may be waiting in a call: the end must reach the agent all the same.
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_RDWR)
        self._channel.close()
        if self._end < 0:
            return False
        poll = select.poll()
        poll.register(self._end, select.POLLIN)
        # The first process of a container ends when all others in it have.
        ended = bool(poll.poll(timeout_s * 1000))
        os.close(self._end)
        self._end = -1
        return ended
