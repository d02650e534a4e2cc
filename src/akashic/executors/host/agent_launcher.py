"""Our side of a job's agent (`executors/agent.py`): starts it, asks it for processes, ends it with all."""

from __future__ import annotations

import marshal
import os
import socket
import subprocess
import sys
import threading

from akashic.executors import agent_calls
from akashic.executors.launching import Command, signal_group
from akashic.executors.protocol import ExecutorError

_AGENT = os.path.join(os.path.dirname(os.path.dirname(__file__)), "agent.py")


class AgentChild:
    """A process that the agent started for us."""

    __slots__ = ("_status", "pid")

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self._status = status

    def fileno(self) -> int:
        return self._status

    def signal(self, number: int) -> None:
        signal_group(self.pid, number)

    def reap(self) -> int:
        status, self._status = self._status, -1
        code = agent_calls.ended(status)
        # The agent is gone, and what it watched with it: somebody killed it.
        return 128 + 9 if code is None else code


class AgentLauncher:
    """Starts processes through an agent of its own. Thread-safe."""

    def __init__(self, mark: dict[str, str]) -> None:
        ours, theirs = socket.socketpair()
        try:
            with open(os.devnull, "r+b") as null:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", _AGENT, str(theirs.fileno())],
                    env=mark,
                    cwd="/",
                    stdin=null,
                    stdout=null,
                    pass_fds=[theirs.fileno()],
                    start_new_session=True,
                )
        except OSError as error:
            ours.close()
            raise ExecutorError(f"cannot start the agent of a job: {error}") from error
        finally:
            theirs.close()
        self._channel = ours
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        return self._process.pid

    def launch(self, command: Command) -> AgentChild:
        user = command.user or ()
        body = marshal.dumps(("run", list(command.argv), dict(command.env), command.cwd, *user))
        status, status_end = os.pipe()
        try:
            with self._lock:
                agent_calls.send(self._channel, body, (command.stdin, command.output, status_end))
        except OSError as error:
            os.close(status)
            raise ExecutorError("the agent of the job is gone: something killed it") from error
        finally:
            os.close(status_end)
        pid = agent_calls.started(status, command)
        if pid is None:
            raise ExecutorError("the agent of the job is gone: something killed it")
        return AgentChild(pid, status)

    def close(self) -> None:
        """End every process of the job, however far it ran away. Safe to call twice."""
        self._channel.close()
        self._process.wait()
