"""Our side of what an agent (`agent.py`) is asked and answers, wherever it runs."""

from __future__ import annotations

import array
import os
import select
import socket
from collections.abc import Sequence

from akashic.executors.launching import Command

_WRONG_FOLDER = 1 << 16


def send(channel: socket.socket, body: bytes, descriptors: Sequence[int] = ()) -> None:
    """One request with its descriptors; one at a time. Raises OSError when the agent is gone."""
    rights = []
    if descriptors:
        rights.append((socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors)))
    channel.sendmsg([len(body).to_bytes(4, "little")], rights)
    channel.sendall(body)


def started(status: int, command: Command, timeout_s: float | None = None) -> int | None:
    """The number of the process that the agent has started for `command`; None when the agent is gone, or
    does not answer in time. Unless there is one, `status` is closed. Raises OSError with what the process
    could not be started for."""
    answer = _answer(status, 8, timeout_s)
    failure, pid = int.from_bytes(answer[:4], "little"), int.from_bytes(answer[4:], "little")
    if len(answer) == 8 and not failure:
        return pid
    os.close(status)
    if len(answer) < 8:
        return None
    code = failure & ~_WRONG_FOLDER
    raise OSError(code, os.strerror(code), command.cwd if failure & _WRONG_FOLDER else command.argv[0])


def ended(status: int, timeout_s: float | None = None) -> int | None:
    """The exit code of a process, 128 + signal when a signal ended it; waits for the end. None when the agent
    went first, or does not answer in time. Closes `status`."""
    answer = _answer(status, 4, timeout_s)
    os.close(status)
    if len(answer) < 4:
        return None
    code = os.waitstatus_to_exitcode(int.from_bytes(answer, "little"))
    return code if code >= 0 else 128 - code


def _answer(status: int, size: int, timeout_s: float | None) -> bytes:
    """What the agent says, shorter when it is gone or does not answer: its container may be paused."""
    if timeout_s is not None:
        poll = select.poll()
        poll.register(status, select.POLLIN)
        if not poll.poll(timeout_s * 1000):
            return b""
    return os.read(status, size)
