"""A command in the place of a release that serves: its variables, its folder, its user.

What a release was given is kept nowhere but in its processes, secrets among it; so it is taken from one that
lives.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec

from akashic.delivery.local.model import Environment, Slot, SupervisorState
from akashic.delivery.local.paths import LocalPaths
from akashic.delivery.local.processes import MARK, alive, environment_of
from akashic.errors import AkashicError

_OF_THE_INSTANCE = (MARK, "AKASHIC_INSTANCE", "PORT")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a command runs. `env` holds secrets; `user` is its user and group, None for ours."""

    env: dict[str, str]
    cwd: str
    user: tuple[int, int] | None


def place_of(state_dir: Path, environment: str) -> Place:
    """The place of what an environment serves now. Raises AkashicError when nothing of it runs, or when it
    runs in containers."""
    found = _environment(state_dir, environment)
    slot = found.slots.get(found.serving) if found is not None else None
    if slot is None:
        raise AkashicError(
            f"the environment {environment} serves nothing here",
            hint=f"akashic status {environment} says what it serves; akashic start {environment} starts it",
        )
    if slot.image:
        raise AkashicError(f"{environment} runs in containers", hint=_in_container(slot))
    for instance in slot.instances:
        if instance.process is not None and alive(instance.process):
            env = environment_of(instance.process)
            if env:
                kept = {name: value for name, value in env.items() if name not in _OF_THE_INSTANCE}
                return Place(env=kept, cwd=slot.cwd, user=slot.user)
    raise AkashicError(
        f"no instance of {environment} runs", hint=f"akashic start {environment}, then the command again"
    )


def _environment(state_dir: Path, name: str) -> Environment | None:
    try:
        content = LocalPaths(state_dir.resolve()).state_file.read_bytes()
        state = msgspec.json.decode(content, type=SupervisorState)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    wanted = name.casefold()
    return next((one for known, one in state.environments.items() if known.casefold() == wanted), None)


def _in_container(slot: Slot) -> str:
    container = next((one.container for one in slot.instances if one.container), "CONTAINER")
    return f"ask the engine: docker exec -it {container[:12]} COMMAND"
