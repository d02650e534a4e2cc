"""What has changed in a working tree since the last look, and which workflows that affects."""

from __future__ import annotations

import time
from collections.abc import Collection
from pathlib import Path

from msgspec.structs import replace

from akashic.app.application import Application
from akashic.app.selection import Request, Selection, select
from akashic.app.workflows import FOLDER, RemoteReader
from akashic.git import git_output

LOOK_INTERVAL_S = 0.5
QUIET_S = 0.2
"""An editor writes a file in several steps, and a tool many files: wait until nothing changes any more."""


class Watcher:
    """Looks at the files that git would see: tracked ones and new ones that are not ignored. `written`:
    (device, inode) of files that we write ourselves, such as a log; each line of it would be a change."""

    def __init__(self, application: Application, written: Collection[tuple[int, int]] = ()) -> None:
        self._root = application.root
        self._written = frozenset(written)
        self._environ = application.environ
        self._seen = self._look()

    def changes(self) -> tuple[str, ...]:
        """Paths that were made, edited or removed since the last call, in order; empty when none was."""
        now = self._look()
        before, self._seen = self._seen, now
        return tuple(sorted(path for path in {*before, *now} if before.get(path) != now.get(path)))

    def wait(self) -> tuple[str, ...]:
        """Block until something has changed and nothing changes any more."""
        found: set[str] = set()
        while True:
            new = self.changes()
            if found and not new:
                return tuple(sorted(found))
            found.update(new)
            time.sleep(QUIET_S if found else LOOK_INTERVAL_S)

    def _look(self) -> dict[str, tuple[int, int, int]]:
        listing = git_output(
            self._root, self._environ, "ls-files", "-z", "--cached", "--others", "--exclude-standard"
        )
        found = {}
        for name in (listing or b"").decode("utf-8", "surrogateescape").split("\0"):
            try:
                status = Path(self._root, name).lstat()
            except OSError:
                continue
            if name and (status.st_dev, status.st_ino) not in self._written:
                found[name] = (status.st_mtime_ns, status.st_size, status.st_mode)
        return found


def affected(
    application: Application,
    request: Request,
    changed: tuple[str, ...],
    *,
    cwd: Path,
    remote: RemoteReader,
) -> Selection:
    """The workflows that a change of files affects: those whose own text, or that of one they call, has
    changed, and, when other files have changed, those whose path filters let them pass.

    Raises UsageError as `select` does.
    """
    others = tuple(path for path in changed if not path.startswith(f"{FOLDER}/"))
    whole = select(application, replace(request, ignore_paths=True), cwd=cwd, remote=remote)
    passing: set[str] = set()
    if others:
        by_files = select(application, replace(request, changed=others), cwd=cwd, remote=remote)
        passing = {item.loaded.workflow.path for item in by_files.triggered}
    edited = {*changed, *(f"./{path}" for path in changed)}
    wanted = tuple(
        item
        for item in whole.triggered
        if item.loaded.workflow.path in passing or not edited.isdisjoint(item.loaded.sources)
    )
    return replace(whole, triggered=wanted)
