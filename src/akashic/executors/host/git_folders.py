"""Where git keeps the objects of a checkout: a prepared workspace borrows them instead of copying history."""

from __future__ import annotations

import os

_POINTER_BYTES_MAX = 4096


def git_folders(root: str) -> list[str]:
    """The folders that git needs to read for the checkout around `root`: its `.git`, and for a linked
    worktree also the folder that it shares with the main one. Empty outside a checkout; asks no git."""
    folder = os.path.realpath(root)
    while not os.path.lexists(os.path.join(folder, ".git")):
        parent = os.path.dirname(folder)
        if parent == folder:
            return []
        folder = parent
    found = os.path.join(folder, ".git")
    if os.path.isdir(found):
        return [os.path.realpath(found)]
    own = os.path.realpath(os.path.join(folder, _read(found).removeprefix("gitdir:").strip()))
    common = _read(os.path.join(own, "commondir")).strip()
    return [own, os.path.realpath(os.path.join(own, common))] if common else [own]


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(_POINTER_BYTES_MAX)
    except OSError:
        return ""
