"""Where the local target keeps things below the state folder."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

SHARED_BASE = Path("/var/lib/akashic")
"""Where root keeps unpacked releases that an unprivileged user must read, when the state folder lies below a
folder that only root may enter."""


@dataclass(frozen=True, slots=True)
class LocalPaths:
    """The folders of one state folder."""

    state_dir: Path

    @property
    def supervisor(self) -> Path:
        return self.state_dir / "supervisor"

    @property
    def socket_name(self) -> str:
        return "socket"

    @property
    def state_file(self) -> Path:
        return self.supervisor / "state.json"

    @property
    def log(self) -> Path:
        return self.supervisor / "log"

    def environment(self, name: str) -> Path:
        """The environment's own folder: proxy configuration, upstreams, logs."""
        return self.state_dir / "environments" / folder_name(name)

    def logs(self, name: str) -> Path:
        """What an environment's releases, services and proxy print."""
        return self.environment(name) / "logs"

    def front(self, name: str) -> Path:
        """The folder of a proxy that several environments share."""
        return self.state_dir / "environments" / "_fronts" / folder_name(name)

    @property
    def reachable(self) -> Path:
        """The base of what an unprivileged user must be able to read. Where there is no such place (inside of
        a job the system is read-only) releases run as who we are, and say so."""
        if os.geteuid() != 0 or others_may_enter(self.state_dir) or not _may_make(SHARED_BASE):
            return self.state_dir / "environments"
        return SHARED_BASE / hashlib.sha256(str(self.state_dir.resolve()).encode()).hexdigest()[:16]

    def release(self, digest: str) -> Path:
        """Where a release is unpacked."""
        return self.reachable / "_releases" / digest.removeprefix("sha256:")[:32]

    def data(self, name: str) -> Path:
        """The environment's folder for files that outlive a deployment."""
        return self.reachable / folder_name(name) / "data"

    def service(self, name: str, service: str) -> Path:
        return self.reachable / folder_name(name) / "services" / folder_name(service)


def folder_name(name: str) -> str:
    """A name as one safe part of a path; different names give different parts."""
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-.") else "_" for c in name).strip(".")
    folded = name.casefold()
    if safe == name and safe == folded and not safe.startswith("_"):
        return safe
    return f"{safe[:60]}-{hashlib.sha256(folded.encode()).hexdigest()[:8]}"


def _may_make(folder: Path) -> bool:
    while not folder.exists():
        folder = folder.parent
    return os.access(folder, os.W_OK)


def others_may_enter(path: Path) -> bool:
    """Whether any user may reach what lies below `path` (every folder on the way is enterable)."""
    path = path.resolve()
    folders = (path, *path.parents)
    return all(folder.stat().st_mode & 0o001 for folder in folders if folder.exists())
