"""Limits of a job on this machine: what a process of it may take, as limits that all of its children
inherit.

`memory_bytes_max` limits the address space of each process (not the sum), `processes_max` the processes of
the user (all of them), which has no meaning for root and is then told as a note.
"""

from __future__ import annotations

import contextlib
import os
import resource
from collections.abc import Sequence

from akashic.executors.process import Child, Command, Launcher


class Limited:
    """A launcher whose processes have limits. They are set right after the start: before a shell has read its
    script, and without giving up the fast way of starting it."""

    def __init__(self, launcher: Launcher, memory_bytes_max: int | None, processes_max: int | None) -> None:
        self._launcher = launcher
        self._limits: list[tuple[int, int]] = []
        self.notes: Sequence[str] = ()
        if memory_bytes_max is not None:
            self._limits.append((resource.RLIMIT_AS, memory_bytes_max))
        if processes_max is not None and os.geteuid() != 0:
            self._limits.append((resource.RLIMIT_NPROC, processes_max))
        elif processes_max is not None:
            self.notes = ("the number of processes is not limited: root's cannot be on this executor",)

    def launch(self, command: Command) -> Child:
        child = self._launcher.launch(command)
        for kind, most in self._limits:
            with contextlib.suppress(OSError, ValueError):
                resource.prlimit(child.pid, kind, (most, most))
        return child
