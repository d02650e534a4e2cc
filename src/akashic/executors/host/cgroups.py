"""A control group of a job's own: memory and number of processes, for all of them together.

Where one can be made: as root, and with systemd below the user's slices. Version 2 wants the controllers
handed down by an ancestor that we may write to; our own group holds us, so the job's stands beside it or
higher.
Version 1 has a hierarchy for each controller. Source: the kernel's "Control Group v2" and "cgroup-v1".
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator

ROOT = "/sys/fs/cgroup"
OWN = "/proc/self/cgroup"
EMPTY_TIMEOUT_S = 2.0
_LIMIT_FILES = {
    ("memory", 2): "memory.max",
    ("pids", 2): "pids.max",
    ("memory", 1): "memory.limit_in_bytes",
    ("pids", 1): "pids.max",
}


class ControlGroup:
    """Folders of the cgroup file system that a job's processes are put into."""

    def __init__(self) -> None:
        self._folders: dict[str, int] = {}
        self.limited: set[str] = set()
        """The controllers whose limit holds: `memory`, `pids`."""

    @classmethod
    def make(cls, name: str, limits: dict[str, int], *, root: str = ROOT, own: str = OWN) -> ControlGroup:
        """A group with these limits, as far as that is possible here; see `limited`. Never raises."""
        group = cls()
        for controller, most in limits.items():
            for parent, version in _parents(controller, root, own):
                if group._limit(f"{parent}/{name}", controller, version, most):
                    group.limited.add(controller)
                    break
        return group

    def add(self, pid: int) -> None:
        """Put a process into it, and with it all that it will start."""
        for folder in self._folders:
            with contextlib.suppress(OSError):
                _write(f"{folder}/cgroup.procs", str(pid))

    def kills(self) -> int:
        """How many processes were killed because the memory was used up."""
        total = 0
        for folder, version in self._folders.items():
            name = "memory.events" if version == 2 else "memory.oom_control"
            with contextlib.suppress(OSError):
                for line in _read(f"{folder}/{name}").splitlines():
                    word, _, number = line.partition(" ")
                    if word == "oom_kill" and number.isdigit():
                        total += int(number)
        return total

    def close(self) -> None:
        """Remove it, when its processes are gone."""
        deadline = time.monotonic() + EMPTY_TIMEOUT_S
        for folder in self._folders:
            while True:
                try:
                    os.rmdir(folder)
                except FileNotFoundError:
                    pass
                except OSError:
                    # A process that was killed leaves its group a moment later.
                    if time.monotonic() < deadline:
                        time.sleep(0.005)
                        continue
                break

    def _limit(self, folder: str, controller: str, version: int, most: int) -> bool:
        made = folder not in self._folders
        try:
            os.makedirs(folder, exist_ok=True)
            _write(f"{folder}/{_LIMIT_FILES[controller, version]}", str(most))
            if controller == "memory" and version == 2:
                # Without this the job would swap instead of being stopped.
                with contextlib.suppress(OSError):
                    _write(f"{folder}/memory.swap.max", "0")
        except OSError:
            if made:
                with contextlib.suppress(OSError):
                    os.rmdir(folder)
            return False
        self._folders[folder] = version
        return True


def _parents(controller: str, root: str, own: str) -> Iterator[tuple[str, int]]:
    """Where a group with this controller may be made, nearest first, each with the version of its tree."""
    with contextlib.suppress(OSError):
        for line in _read(own).splitlines():
            number, names, path = (*line.split(":", 2), "", "")[:3]
            if number == "0" and not names:
                folder = f"{root}{path}".rstrip("/")
                while len(folder) > len(root):
                    folder = os.path.dirname(folder)
                    if _hands_down(folder, controller):
                        yield folder, 2
                if path == "/" and _hands_down(root, controller):
                    yield root, 2
            elif controller in names.split(","):
                hierarchy = f"{root}/{names}"
                for folder in dict.fromkeys((f"{hierarchy}{path}".rstrip("/"), hierarchy)):
                    if os.access(folder, os.W_OK):
                        yield folder, 1


def _hands_down(folder: str, controller: str) -> bool:
    try:
        return controller in _read(f"{folder}/cgroup.subtree_control").split() and os.access(folder, os.W_OK)
    except OSError:
        return False


def _read(path: str) -> str:
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def _write(path: str, text: str) -> None:
    # Not made when it is not there: the kernel makes the files of a group.
    fd = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
