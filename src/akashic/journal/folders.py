"""How a store keeps things in a folder: made aside and moved in whole, moved out and then removed, one at a
time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def new_scratch(folder: Path) -> Path:
    """A fresh folder beside what `folder` keeps, for whoever removes it; what a killed process leaves there
    is swept later."""
    scratch = folder / "tmp" / os.urandom(8).hex()
    scratch.mkdir(parents=True)
    return scratch


@contextmanager
def scratch_in(folder: Path) -> Iterator[Path]:
    """A fresh folder beside what `folder` keeps; what is still in it afterwards is removed."""
    scratch = new_scratch(folder)
    try:
        yield scratch
    finally:
        remove(scratch)


def discard(folder: Path, place: Path) -> None:
    """Take `place` out of `folder` at once; nobody sees it half removed. Nothing happens when it is gone."""
    grave = folder / "tmp" / f"gone-{os.urandom(8).hex()}"
    grave.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        place.rename(grave)
    remove(grave)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Held by one thread or process at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove(folder: Path) -> None:
    """Remove a folder and all in it, as far as that is possible."""
    import shutil  # only who removes something pays for it

    shutil.rmtree(folder, ignore_errors=True)
