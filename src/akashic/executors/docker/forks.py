"""What a fork's workflow may not ask of the engine.

GitHub lets a workflow mount folders of the machine and be root on it, because its machines are thrown away.
This one is not: who writes the workflow of a pull request does not decide what of it is handed out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from akashic.executors.container_options import ContainerOptions
from akashic.executors.docker.create_options import CreateOptions
from akashic.executors.docker.ports import LOOPBACK, Port
from akashic.executors.protocol import ExecutorError

_HOST_ALLOWED = frozenset(
    ("BlkioWeight", "CapDrop", "CpuPeriod", "CpuQuota", "CpuShares", "CpusetCpus", "CpusetMems", "Dns",
     "DnsOptions", "DnsSearch", "ExtraHosts", "Memory", "MemoryReservation", "MemorySwap", "MemorySwappiness",
     "NanoCpus", "PidsLimit", "ReadonlyRootfs", "ShmSize", "Tmpfs", "Ulimits")
)  # fmt: skip
"""Fields of HostConfig that make a container smaller, or matter only to itself."""
_HINT = "push the branch to the repository itself when you trust it: its run may have this"


def check(
    where: str, options: CreateOptions, mounts: Sequence[Mapping[str, Any]], ports: Sequence[Port]
) -> None:
    """Raises ExecutorError for what reaches out of a container. What is not known to be harmless does."""
    found = sorted(set(options.host) - _HOST_ALLOWED)
    if found:
        raise ExecutorError(f"{where}: a fork's job may not have {', '.join(found)}", hint=_HINT)
    for mount in mounts:
        if mount["Type"] == "bind":
            raise ExecutorError(
                f"{where}: a fork's job may not see {mount.get('Source')} of this machine", hint=_HINT
            )
    for port in ports:
        if port.address not in ("", LOOPBACK):
            raise ExecutorError(
                f"{where}: a fork's job may not listen on {port.address} of this machine", hint=_HINT
            )


def without_privilege(options: ContainerOptions) -> tuple[ContainerOptions, list[str]]:
    """What the user chose for all containers, without what makes a container root on this machine; and a line
    that says so."""
    given = {
        "--privileged": options.privileged,
        "--userns": options.userns,
        "--container-cap-add": options.cap_add,
        "--container-daemon-socket": options.daemon_socket,
    }
    left_out = [name for name, value in given.items() if value]
    notes = [f"not for a fork's job: {', '.join(left_out)}"] if left_out else []
    return replace(options, privileged=False, userns="", cap_add=(), daemon_socket=""), notes
