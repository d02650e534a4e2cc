"""What a Dockerfile may see: what git tracks, or everything in a folder, less `.dockerignore`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from akashic.containers.dockerignore import DockerIgnore
from akashic.errors import UsageError
from akashic.images.source import Source, clean_folder, read_files
from akashic.images.tar import Entry

IGNORE_FILE = ".dockerignore"


def tracked_context(source: Source, folder: str, dockerfile: str) -> list[Entry]:
    """What git tracks below `folder`, in the commit or the uncommitted tree; files that usually hold secrets
    never. `dockerfile` is relative to `folder`. Raises UsageError, AkashicError."""
    files = read_files(source, folder, ("**",), ())
    entries = [Entry(path=file.path, kind=file.kind, content=file.content) for file in files]
    return _less_ignored(entries, clean_folder(dockerfile))


def folder_context(folder: Path, dockerfile: str) -> list[Entry]:
    """Everything below `folder`, as an engine's own command takes it; links stay links. `dockerfile` is
    relative to `folder`. Raises UsageError."""
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder to build from")
    return _less_ignored(_walk(folder), clean_folder(dockerfile))


def _walk(top: Path) -> Iterable[Entry]:
    for folder, names, files in os.walk(top):
        names.sort()
        for name in sorted([*files, *(name for name in names if (Path(folder) / name).is_symlink())]):
            path = Path(folder) / name
            mode = path.lstat().st_mode
            relative = path.relative_to(top).as_posix()
            if stat.S_ISLNK(mode):
                yield Entry(path=relative, kind="link", content=os.fsencode(path.readlink()))
            elif stat.S_ISREG(mode):
                yield Entry(path=relative, kind="executable" if mode & stat.S_IXUSR else "file", content=path)


def _less_ignored(entries: Iterable[Entry], dockerfile: str) -> list[Entry]:
    by_path = {entry.path: entry for entry in entries}
    if dockerfile not in by_path:
        raise UsageError(f"{dockerfile}: no such Dockerfile in the context", hint="is it tracked by git?")
    own = f"{dockerfile}{IGNORE_FILE}"
    rules = by_path.get(own) or by_path.get(IGNORE_FILE)
    ignore = DockerIgnore(_content(rules).decode("utf-8", "replace") if rules is not None else "")
    # The Dockerfile goes along even when it is ignored: the engine reads it, and hides it from COPY no more
    # than Docker's own client does.
    kept = [
        entry
        for path, entry in by_path.items()
        if path in (dockerfile, IGNORE_FILE) or not ignore.ignores(path)
    ]
    return sorted(
        kept, key=lambda entry: PurePosixPath(entry.path).as_posix().encode("utf-8", "surrogateescape")
    )


def _content(entry: Entry) -> bytes:
    return entry.content.read_bytes() if isinstance(entry.content, Path) else entry.content
