"""Limits of a job on this machine: what its processes may take together, or, where no control group can be
made, what each of them may.

`memory_bytes_max` then limits the address space of each process, `processes_max` the processes of the user
(all of them), which has no meaning for root. A note says which it is.
"""

from __future__ import annotations

import contextlib
import os
import resource
import threading
import time

from msgspec.structs import replace

from akashic.executors.host.cgroups import ControlGroup
from akashic.executors.launching import Child, Command, Launcher, has_ended

_WAIT = 'read -r _ <"$1"; shift; exec "$@"'


class Limited:
    """A launcher whose processes have limits. With limits, a process waits at a gate (a named pipe in
    `folder`) until they are set: moving it into a group takes the kernel longer than a shell takes to start
    others."""

    def __init__(
        self,
        launcher: Launcher,
        memory_bytes_max: int | None,
        processes_max: int | None,
        *,
        name: str,
        folder: str,
    ) -> None:
        self._launcher = launcher
        self._folder = folder
        self._lock = threading.Lock()
        self._count = 0
        self._limits: list[tuple[int, int]] = []
        self._group: ControlGroup | None = None
        self._killed = 0
        self.notes: list[str] = []
        wanted = {"memory": memory_bytes_max, "pids": processes_max}
        limits = {controller: most for controller, most in wanted.items() if most is not None}
        if not limits:
            return
        self._group = ControlGroup.make(f"akashic-{name}", limits)
        if "memory" in limits and "memory" not in self._group.limited:
            self._limits.append((resource.RLIMIT_AS, limits["memory"]))
            self.notes.append(
                "the memory limit holds for each process, not for all: no control group can be made here"
            )
        if "pids" in limits and "pids" not in self._group.limited:
            if os.geteuid() != 0:
                self._limits.append((resource.RLIMIT_NPROC, limits["pids"]))
                self.notes.append(
                    "the limit of processes counts all of yours: no control group can be made here"
                )
            else:
                self.notes.append(
                    "the number of processes is not limited: root's cannot be without a control group"
                )

    def launch(self, command: Command) -> Child:
        if self._group is None:
            return self._launcher.launch(command)
        with self._lock:
            self._count += 1
            gate = f"{self._folder}/start-{self._count}"
        os.mkfifo(gate, 0o600)
        try:
            waiting = replace(command, argv=["/bin/sh", "-c", _WAIT, "sh", gate, *command.argv])
            child = self._launcher.launch(waiting)
            self._group.add(child.pid)
            for kind, most in self._limits:
                with contextlib.suppress(OSError, ValueError):
                    resource.prlimit(child.pid, kind, (most, most))
            _open_gate(gate, child)
        finally:
            os.unlink(gate)
        return child

    def newly_killed(self) -> int:
        """How many processes were killed for their memory since this was last asked."""
        if self._group is None:
            return 0
        before, self._killed = self._killed, self._group.kills()
        return self._killed - before

    def close(self) -> None:
        """Remove the group; the processes are gone."""
        if self._group is not None:
            self._group.close()


def _open_gate(gate: str, child: Child) -> None:
    """Let a process go on that waits at its gate, or will in a moment; none that has ended is waited for."""
    while not has_ended(child):
        try:
            os.close(os.open(gate, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
            return
        except OSError:
            time.sleep(0.0005)
