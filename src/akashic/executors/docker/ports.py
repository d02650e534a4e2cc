"""`ports:` of containers and services, and `volumes:`.

Source: GitHub's "Workflow syntax" (`ports`, `volumes`) and Docker's forms of `--publish` and `--volume`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from akashic.executors.protocol import ExecutorError

PORT_MAX = 65535
RANGE_MAX = 1000
LOOPBACK = "127.0.0.1"
_MODES = {"ro", "rw", "z", "Z", "cached", "delegated", "consistent", "nocopy", "rprivate", "private",
"rshared", "shared", "rslave", "slave"}  # fmt: skip
_VOLUME_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Port:
    """A port of a container; `outer` is the one that was asked for outside, 0 for any."""

    inner: int
    outer: int
    protocol: str
    address: str = ""

    @property
    def key(self) -> str:
        return f"{self.inner}/{self.protocol}"


def parse_ports(where: str, texts: Iterable[str]) -> list[Port]:
    """Raises ExecutorError that says what is wrong."""
    return [port for text in texts for port in _parse_port(where, text)]


def _parse_port(where: str, text: str) -> Iterator[Port]:
    mapping, _, protocol = text.strip().partition("/")
    address, inner, outer = "", "", ""
    match = re.fullmatch(r"(?:(?:(\[[0-9a-fA-F:]+\]|[0-9]+(?:\.[0-9]+){3}):)?([0-9-]*):)?([0-9-]+)", mapping)
    if match is None or protocol not in ("", "tcp", "udp", "sctp"):
        raise ExecutorError(
            f"{where}: {text!r} is not a port",
            hint="expected CONTAINER or HOST:CONTAINER, such as 5432:5432 or 53:53/udp",
        )
    address, outer, inner = (match[1] or "").strip("[]"), match[2] or "", match[3]
    inside, outside = _range(where, text, inner), _range(where, text, outer) if outer else None
    if outside is not None and len(outside) != len(inside):
        raise ExecutorError(f"{where}: {text!r}: both ranges must have the same length")
    for index, number in enumerate(inside):
        yield Port(number, outside[index] if outside is not None else 0, protocol or "tcp", address)


def _range(where: str, text: str, part: str) -> range:
    first, dash, last = part.partition("-")
    if not first.isdigit() or (dash and not last.isdigit()):
        raise ExecutorError(f"{where}: {text!r} is not a port")
    found = range(int(first), int(last or first) + 1)
    if not found or found[0] < 1 or found[-1] > PORT_MAX or len(found) > RANGE_MAX:
        raise ExecutorError(f"{where}: {text!r} is out of the range 1 to {PORT_MAX}")
    return found


def published(ports: Iterable[Port]) -> dict[str, Any]:
    """The fields of the API that publish ports, on loopback unless another address was asked for: on GitHub
    the machine is the job's alone, here it is not."""
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in ports:
        outer = {"HostIp": port.address or LOOPBACK, "HostPort": str(port.outer) if port.outer else ""}
        bindings.setdefault(port.key, []).append(outer)
    return bindings


def parse_volume(where: str, text: str) -> dict[str, Any]:
    """A volume as a mount of the API: `name:/path`, `/folder:/path`, `/path`, each with `:ro`. Raises
    ExecutorError."""
    parts = text.split(":")
    read_only = False
    if len(parts) > 1 and parts[-1] and set(parts[-1].split(",")) <= _MODES:
        read_only = "ro" in parts.pop().split(",")
    if len(parts) == 1 and parts[0].startswith("/"):
        return {"Type": "volume", "Target": parts[0], "ReadOnly": read_only}
    if len(parts) == 2 and parts[1].startswith("/"):
        source, target = parts
        if source.startswith("/"):
            return {"Type": "bind", "Source": source, "Target": target, "ReadOnly": read_only}
        if _VOLUME_NAME.fullmatch(source):
            return {"Type": "volume", "Source": source, "Target": target, "ReadOnly": read_only}
    raise ExecutorError(
        f"{where}: {text!r} is not a volume",
        hint="expected NAME:/PATH, /FOLDER:/PATH or /PATH, each with :ro if it is only read",
    )


def free_port(port: Port, taken: set[int]) -> int:
    """The port of localhost for a service: the one it asks for, else its own, else any other."""
    wanted = port.outer or port.inner
    if port.outer and port.outer in taken:
        raise ExecutorError(f"two services ask for the port {port.outer}")
    while wanted in taken:
        wanted = wanted + 1 if wanted < 65535 else 1024
    taken.add(wanted)
    return wanted
