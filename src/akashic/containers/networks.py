"""Networks and volumes of an engine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence

import msgspec

from akashic.containers.errors import NotFound
from akashic.containers.transport import Transport

REMOVE_TIMEOUT_S = 20.0


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """A network or a volume in a list; a volume's id is its name."""

    id: str
    name: str
    labels: dict[str, str]


class Networks:
    """The engine's networks."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str, *, labels: Mapping[str, str], internal: bool = False) -> str:
        """A bridge with names of its own; its id."""
        body = {
            "Name": name,
            "Driver": "bridge",
            "Labels": dict(labels),
            "CheckDuplicate": True,
            "Internal": internal,
        }
        return str(self._transport.call("POST", "/networks/create", body=body)["Id"])

    def connect(self, network: str, container: str, *, aliases: Sequence[str] = ()) -> None:
        body = {"Container": container, "EndpointConfig": {"Aliases": list(aliases)}}
        self._transport.call("POST", f"/networks/{network}/connect", body=body)

    def remove(self, network: str) -> None:
        """Nothing happens when it is gone; raises EngineError while a container is in it."""
        with contextlib.suppress(NotFound):
            self._transport.call("DELETE", f"/networks/{network}", timeout_s=REMOVE_TIMEOUT_S)

    def list(self, *, labels: Sequence[str] = ()) -> Sequence[Named]:
        filters = json.dumps({"label": list(labels)} if labels else {})
        found = self._transport.call("GET", "/networks", query={"filters": filters})
        return [
            Named(id=item["Id"], name=item["Name"], labels=dict(item.get("Labels") or {}))
            for item in found or ()
        ]


class Volumes:
    """The engine's volumes."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str, *, labels: Mapping[str, str]) -> str:
        body = {"Name": name, "Labels": dict(labels)}
        return str(self._transport.call("POST", "/volumes/create", body=body)["Name"])

    def remove(self, name: str, *, force: bool = True) -> None:
        """Nothing happens when it is gone; raises Conflict while a container uses it."""
        with contextlib.suppress(NotFound):
            self._transport.call(
                "DELETE", f"/volumes/{name}", query={"force": force}, timeout_s=REMOVE_TIMEOUT_S
            )

    def list(self, *, labels: Sequence[str] = ()) -> Sequence[Named]:
        filters = json.dumps({"label": list(labels)} if labels else {})
        found = self._transport.call("GET", "/volumes", query={"filters": filters})
        return [
            Named(id=item["Name"], name=item["Name"], labels=dict(item.get("Labels") or {}))
            for item in (found or {}).get("Volumes") or ()
        ]
