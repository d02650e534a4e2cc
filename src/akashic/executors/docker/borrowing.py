"""What of the repository's history a container has to see: a prepared tree borrows its objects."""

from __future__ import annotations

import os

from akashic.executors.host.git_folders import git_folders


def borrowed_objects(root: str) -> list[str]:
    """Where git keeps the objects of the checkout and of those that it borrows from."""
    found: list[str] = []
    waiting = [f"{folder}/objects" for folder in git_folders(root)]
    while waiting:
        folder = os.path.realpath(waiting.pop(0))
        # Whoever packed the repository wrote this list: nothing else of this machine is shown for it.
        if folder in found or os.path.basename(folder) != "objects" or not os.path.isdir(f"{folder}/pack"):
            continue
        found.append(folder)
        try:
            with open(f"{folder}/info/alternates", encoding="utf-8", errors="surrogateescape") as file:
                waiting += [os.path.join(folder, line.strip()) for line in file if line.strip()]
        except OSError:
            continue
    return found
