"""One engine: its images, containers, networks and volumes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from akashic.cancellation import Cancellation
from akashic.containers.containers import Containers
from akashic.containers.endpoint import find_endpoint
from akashic.containers.images import Images
from akashic.containers.networks import Networks, Volumes
from akashic.containers.transport import Transport


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """`name` is Docker or Podman; `architecture` is the machine's, as images name it (amd64, arm64)."""

    name: str
    architecture: str


class Engine:
    """Thread-safe. Nothing is asked before it is needed: `connect` only finds out where the engine
    listens."""

    def __init__(self, transport: Transport, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.transport = transport
        self.images = Images(self.transport, environ)
        self.containers = Containers(self.transport)
        self.networks = Networks(self.transport)
        self.volumes = Volumes(self.transport)

    @classmethod
    def connect(cls, environ: Mapping[str, str]) -> Engine:
        """The engine that the user's `docker` would use. Raises EngineMissing, UsageError."""
        return cls(Transport(find_endpoint(environ)), environ)

    def under(self, cancellation: Cancellation) -> Engine:
        """The same engine for work that can be cancelled: no call outlives a request to stop by more than
        `transport.CANCEL_GRACE_S`."""
        return Engine(self.transport.under(cancellation), self._environ)

    def ping(self) -> str:
        """The API version both speak. Raises EngineMissing when nobody answers."""
        return self.transport.version

    def info(self) -> EngineInfo:
        """What kind of engine it is."""
        version = self.transport.call("GET", "/version")
        parts = [str(part.get("Name", "")) for part in version.get("Components") or ()]
        return EngineInfo(
            name="Podman" if any("podman" in part.lower() for part in parts) else "Docker",
            architecture=str(version.get("Arch") or ""),
        )
