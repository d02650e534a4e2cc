"""Where the engine listens: DOCKER_HOST, the current `docker context`, or a usual socket.

Source of the order: Docker's "docker context" page; DOCKER_HOST wins over the context.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from akashic.containers.errors import EngineMissing
from akashic.errors import UsageError

SYSTEM_SOCKET = "/var/run/docker.sock"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`path` of a unix socket, or else `host` and `port` of TCP without TLS."""

    path: str = ""
    host: str = ""
    port: int = 0

    def __str__(self) -> str:
        return f"unix://{self.path}" if self.path else f"tcp://{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        return bool(self.path)


def find_endpoint(environ: Mapping[str, str]) -> Endpoint:
    """The engine that the user's `docker` would speak to. Raises UsageError, EngineMissing."""
    given = environ.get("DOCKER_HOST", "")
    if given:
        return parse_endpoint(given, "DOCKER_HOST")
    context = _current_context(environ)
    if context:
        return parse_endpoint(_context_host(environ, context), f"docker context {context}")
    places = list(_usual_sockets(environ))
    for path in places:
        if Path(path).exists():
            return Endpoint(path=path)
    raise EngineMissing(
        f"there is no container engine: no socket at {', '.join(places)}",
        hint="install Docker or Podman and start it, or set DOCKER_HOST; `--executor host` needs none",
    )


def parse_endpoint(text: str, where: str) -> Endpoint:
    """Read `unix:///path` or `tcp://host:port`. Raises UsageError naming `where` it stands."""
    scheme, separator, rest = text.partition("://")
    if separator and scheme == "unix" and rest.startswith("/"):
        return Endpoint(path=rest)
    if separator and scheme in ("tcp", "http"):
        host, _, port = rest.rstrip("/").rpartition(":")
        if host and port.isascii() and port.isdigit() and 0 < int(port) < 65536:
            return Endpoint(host=host.strip("[]"), port=int(port))
    raise UsageError(
        f"{where}: {text!r} is not an engine's address that can be spoken to",
        hint="expected unix:///path/to/docker.sock or tcp://HOST:PORT (without TLS); for ssh:// forward the "
        "socket: "
        "ssh -L /tmp/docker.sock:/var/run/docker.sock HOST",
    )


def config_folder(environ: Mapping[str, str]) -> Path:
    """Where the user's Docker settings lie."""
    given = environ.get("DOCKER_CONFIG")
    return Path(given) if given else Path(environ.get("HOME", "/")) / ".docker"


def read_config(environ: Mapping[str, str]) -> dict[str, object]:
    """The user's config.json; empty when there is none that can be read."""
    try:
        found = json.loads((config_folder(environ) / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _current_context(environ: Mapping[str, str]) -> str:
    name = environ.get("DOCKER_CONTEXT") or str(read_config(environ).get("currentContext") or "")
    return "" if name == "default" else name


def _context_host(environ: Mapping[str, str], name: str) -> str:
    # The folder's name is the digest of the context's, so a name cannot lead elsewhere.
    folder = config_folder(environ) / "contexts" / "meta" / sha256(name.encode()).hexdigest()
    try:
        host = json.loads((folder / "meta.json").read_bytes())["Endpoints"]["docker"]["Host"]
    except (OSError, ValueError, KeyError, TypeError):
        raise UsageError(
            f"docker context {name!r}: there is no such context in {config_folder(environ)}",
            hint="docker context ls shows them; `docker context use default` goes back to the usual one",
        ) from None
    return str(host)


def _usual_sockets(environ: Mapping[str, str]) -> list[str]:
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    own = [f"{runtime}/docker.sock", f"{runtime}/podman/podman.sock"] if runtime else []
    return [SYSTEM_SOCKET, *own, "/run/podman/podman.sock"]
