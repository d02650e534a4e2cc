"""Whether a killed run left a job's container behind: told by its folder, without importing what speaks to an
engine."""

from __future__ import annotations

import os

from akashic.executors.host.keeping import CONTAINERS_FOLDER, is_kept
from akashic.executors.host.marker import is_alive, read_owner


def crashed_containers(state_dir: str) -> bool:
    work = f"{os.path.realpath(state_dir)}/{CONTAINERS_FOLDER}/work"
    try:
        names = os.listdir(work)
    except FileNotFoundError:
        return False
    owners = [read_owner(f"{work}/{name}") for name in names if not is_kept(work, name)]
    return any(owner is not None and not is_alive(owner) for owner in owners)
