"""Removing what killed processes of ours left on the engine, and below the state folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial

from akashic.containers.engine import Engine
from akashic.containers.errors import EngineError, EngineMissing
from akashic.executors.docker import mounting
from akashic.executors.docker.labels import JOB, OWNER, RUN, SANDBOX, is_dead
from akashic.executors.docker.layout import bind
from akashic.executors.docker.runtime import MOUNTED_AT, python_command
from akashic.executors.host.marker import is_alive as owner_alive
from akashic.executors.host.marker import read_owner
from akashic.executors.host.sandbox_folder import remove_folder

REMOVE_TIMEOUT_S = 300.0
"""For the removal of a job's files by a container."""


def sweep_engine(engine: Engine, left_behind: Collection[str] = ()) -> Sequence[str]:
    """Remove containers, networks and volumes whose owner has ended, and those of the sandboxes with these
    marks; a line for each. What the engine still uses stays for the next time. Raises EngineMissing."""
    removed = []

    def to_go(labels: Mapping[str, str]) -> bool:
        return is_dead(labels.get(OWNER, "")) or labels.get(SANDBOX, "") in left_behind

    for container in engine.containers.list(labels=(OWNER,)):
        if to_go(container.labels) and _done(partial(engine.containers.remove, container.id)):
            removed.append(f"removed a container{_whose(container.labels)}")
    for network in engine.networks.list(labels=(OWNER,)):
        if to_go(network.labels) and _done(partial(engine.networks.remove, network.id)):
            removed.append(f"removed the network {network.name}{_whose(network.labels)}")
    for volume in engine.volumes.list(labels=(OWNER,)):
        if to_go(volume.labels) and _done(partial(engine.volumes.remove, volume.id)):
            removed.append(f"removed the volume {volume.name}{_whose(volume.labels)}")
    return removed


def _done(remove: Callable[[], None]) -> bool:
    try:
        remove()
    except EngineMissing:
        raise
    except EngineError:
        return False
    return True


def _whose(labels: Mapping[str, str]) -> str:
    return f" of job {labels.get(JOB, '?')} in run {labels.get(RUN, '?')} ({labels.get(SANDBOX, '?')})"


def dead_folders(work: str) -> list[str]:
    """Sandboxes below `work` whose owner has ended."""
    try:
        names = sorted(os.listdir(work))
    except FileNotFoundError:
        return []
    found = []
    for name in names:
        owner = read_owner(f"{work}/{name}")
        if owner is not None and not owner_alive(owner):
            found.append(f"{work}/{name}")
    return found


def remove_sandbox_folder(folder: str) -> bool:
    """Remove a sandbox's folder with what is mounted in it; whether nothing is left. Files of the container's
    root stay when we are somebody else."""
    mounting.unmount_below(folder)
    remove_folder(folder)
    return not os.path.lexists(folder)


def remove_with_engine(engine: Engine, folder: str, image: str, runtime: str) -> None:
    """Remove what only the container's root may: by a container that sees the folder and nothing else. Raises
    EngineError."""
    container = engine.containers.create(
        {
            "Image": image,
            "Entrypoint": python_command("-c", _REMOVE),
            "Cmd": [],
            "User": "0:0",
            "HostConfig": {
                "NetworkMode": "none",
                "Mounts": [bind(folder, "/remove"), bind(runtime, MOUNTED_AT, read_only=True)],
            },
        }
    )
    try:
        engine.containers.start(container)
        engine.containers.wait(container, timeout_s=REMOVE_TIMEOUT_S)
    finally:
        engine.containers.remove(container)
    remove_folder(folder)


_REMOVE = """
import os
for place, folders, names in os.walk("/remove", topdown=False):
    for name in names:
        os.unlink(os.path.join(place, name))
    for name in folders:
        path = os.path.join(place, name)
        os.unlink(path) if os.path.islink(path) else os.rmdir(path)
"""
