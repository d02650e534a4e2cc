"""What a job's sandbox stands on: how its processes start and end, and how a tree is laid over a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from akashic.executors.host.agent_launcher import AgentLauncher
from akashic.executors.launching import Child, Command


class Place(Protocol):
    """Namespaces, or an agent. Any thread may call it; what `overlay` shows is seen by the job, by the thread
    that made the place, and by those that it starts afterwards."""

    notes: Sequence[str]
    """What a user should know of it."""
    overlays: bool
    """Whether `overlay` works here."""

    def launch(self, command: Command) -> Child:
        """See `akashic.executors.launching.Launcher`. Raises ExecutorError when the place is lost."""
        ...

    def overlay(self, lower: str, destination: str, scratch: str) -> bool:
        """Show `lower` at `destination`, with changes kept in `scratch`; False when that is not possible."""
        ...

    def remove_overlay(self, destination: str) -> None:
        """Undo `overlay`; nothing happens where there is none."""
        ...

    def open_folders(self, paths: Sequence[str]) -> list[int]:
        """Descriptors of folders as the job sees them; whoever asked closes them. Raises OSError."""
        ...

    def close(self) -> None:
        """End every process that was started here, and all of theirs. Safe to call twice."""
        ...


class AgentPlace:
    """A place without namespaces: the processes are this machine's, and an agent ends them."""

    overlays = False

    def __init__(self, mark: str, notes: Sequence[str]) -> None:
        self._agent = AgentLauncher({"AKASHIC_AGENT": mark})
        self.notes = notes

    def launch(self, command: Command) -> Child:
        return self._agent.launch(command)

    def overlay(self, lower: str, destination: str, scratch: str) -> bool:
        return False

    def remove_overlay(self, destination: str) -> None:
        return

    def open_folders(self, paths: Sequence[str]) -> list[int]:
        return open_all(paths)

    def close(self) -> None:
        self._agent.close()


def open_all(paths: Sequence[str]) -> list[int]:
    """A descriptor of each folder, or of none: raises OSError."""
    descriptors: list[int] = []
    try:
        for path in paths:
            descriptors.append(os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    return descriptors
