"""Containers of an engine: from create to remove, with commands and files inside."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPResponse
from typing import Any

import msgspec

from akashic.cancellation import Cancellation
from akashic.containers.errors import Conflict, NotFound
from akashic.containers.streams import PIECE_BYTES, Demultiplexer
from akashic.containers.transport import ANSWER_BYTES_MAX, ANSWER_TIMEOUT_S, Hijacked, Query, Transport

STOP_TIMEOUT_S = 30.0
"""For the engine to kill what did not end by itself."""
COMMIT_TIMEOUT_S = 600.0
"""All that a job changed is copied."""


class ContainerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A container as the engine sees it. `health` is empty without a check, else starting, healthy,
    unhealthy; `ports` maps `5432/tcp` to ports of this machine, `gateways` a network's name to the address
    of the engine's machine in it."""

    id: str
    name: str
    image: str
    running: bool
    status: str
    exit_code: int
    error: str
    pid: int
    out_of_memory: bool
    health: str
    labels: dict[str, str]
    ports: dict[str, tuple[int, ...]]
    gateways: dict[str, str]


class ContainerSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A container in a list."""

    id: str
    names: tuple[str, ...]
    image: str
    state: str
    labels: dict[str, str]


class Containers:
    """The engine's containers."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, config: Mapping[str, Any], *, name: str = "", platform: str = "") -> str:
        """Make a container from the API's own description (Image, Cmd, HostConfig, …); its id. Raises
        NotFound for a missing image, Conflict for a name that is taken."""
        query = {"name": name or None, "platform": platform or None}
        return str(self._transport.call("POST", "/containers/create", query=query, body=dict(config))["Id"])

    def start(self, container: str) -> None:
        """Raises EngineError with the runtime's reason, Conflict when a port is taken."""
        self._transport.call("POST", f"/containers/{container}/start")

    def inspect(self, container: str, *, timeout_s: float = ANSWER_TIMEOUT_S) -> ContainerInfo:
        found = self._transport.call("GET", f"/containers/{container}/json", timeout_s=timeout_s)
        state, config = found.get("State") or {}, found.get("Config") or {}
        networks = (found.get("NetworkSettings") or {}).get("Networks") or {}
        return ContainerInfo(
            id=found["Id"],
            name=str(found.get("Name") or "").lstrip("/"),
            image=str(found.get("Image") or ""),
            running=bool(state.get("Running")),
            status=str(state.get("Status") or ""),
            exit_code=int(state.get("ExitCode") or 0),
            error=str(state.get("Error") or ""),
            pid=int(state.get("Pid") or 0),
            out_of_memory=bool(state.get("OOMKilled")),
            health=str((state.get("Health") or {}).get("Status") or "").replace("none", ""),
            labels=dict(config.get("Labels") or {}),
            ports=_ports((found.get("NetworkSettings") or {}).get("Ports") or {}),
            gateways={name: str(net.get("Gateway") or "") for name, net in networks.items()},
        )

    def list(
        self, *, labels: Sequence[str] = (), every: bool = True, timeout_s: float = ANSWER_TIMEOUT_S
    ) -> Sequence[ContainerSummary]:
        """Containers with all of these labels (`name` or `name=value`); stopped ones too unless told."""
        filters = json.dumps({"label": list(labels)} if labels else {})
        query: Query = {"all": every, "filters": filters}
        found = self._transport.call("GET", "/containers/json", query=query, timeout_s=timeout_s)
        return [
            ContainerSummary(
                id=item["Id"],
                names=tuple(name.lstrip("/") for name in item.get("Names") or ()),
                image=item.get("Image") or "",
                state=item.get("State") or "",
                labels=dict(item.get("Labels") or {}),
            )
            for item in found or ()
        ]

    def wait(
        self, container: str, *, timeout_s: float | None = None, cancellation: Cancellation | None = None
    ) -> int:
        """Until it has ended; its exit code. Raises EngineError when it has not within `timeout_s`."""
        with self._transport.stream(
            "POST", f"/containers/{container}/wait", timeout_s=timeout_s, cancellation=cancellation
        ) as response:
            return Exit(response).code()

    @contextlib.contextmanager
    def exit_code(self, container: str, *, cancellation: Cancellation | None = None) -> Iterator[Exit]:
        """Ask before the start for what is known at the end: the code of the next exit, also of a container
        that the engine removes by itself then. Raises Interrupted when it is cancelled before the engine has
        taken the question."""
        query = {"condition": "next-exit"}
        path = f"/containers/{container}/wait"
        with self._transport.stream(
            "POST",
            path,
            query=query,
            timeout_s=ANSWER_TIMEOUT_S,
            cancellation=cancellation,
            to_the_end=False,
        ) as response:
            yield Exit(response)

    def kill(self, container: str, signal: str = "SIGKILL", *, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        """Send a signal to its first process; nothing happens when it does not run."""
        with contextlib.suppress(NotFound, Conflict):
            path = f"/containers/{container}/kill"
            self._transport.call("POST", path, query={"signal": signal}, timeout_s=timeout_s)

    def stop(self, container: str, *, timeout_s: int = 10) -> None:
        """Ask it to end, and end it when it has not after the time."""
        with contextlib.suppress(NotFound):
            self._transport.call(
                "POST",
                f"/containers/{container}/stop",
                query={"t": timeout_s},
                timeout_s=timeout_s + STOP_TIMEOUT_S,
            )

    def remove(
        self,
        container: str,
        *,
        force: bool = True,
        volumes: bool = True,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> None:
        """Remove it with its anonymous volumes; nothing happens when it is gone or going."""
        with contextlib.suppress(NotFound, Conflict):
            query = {"force": force, "v": volumes}
            self._transport.call("DELETE", f"/containers/{container}", query=query, timeout_s=timeout_s)

    def remove_later(self, container: str) -> None:
        """Ask for its end and removal without waiting for either."""
        self._transport.post_and_forget(
            "DELETE", f"/containers/{container}", query={"force": True, "v": True}
        )

    def changes(self, container: str) -> Sequence[str]:
        """The paths that differ from the container's image, folders above them included."""
        found = self._transport.call("GET", f"/containers/{container}/changes")
        return [str(item["Path"]) for item in found or ()]

    def size_bytes(self, container: str) -> int:
        """What its own files take on disk, those of its image not counted."""
        found = self._transport.call("GET", f"/containers/{container}/json", query={"size": True})
        return int(found.get("SizeRw") or 0)

    def commit(
        self, container: str, name: str, *, env: Sequence[str] = (), labels: Mapping[str, str] | None = None
    ) -> None:
        """Make an image of its files as they are, without what is mounted, called `REPOSITORY:TAG`. `env`
        (`NAME=value`) and `labels` come on top of its own."""
        repository, _, tag = name.rpartition(":")
        self._transport.call(
            "POST",
            "/commit",
            query={"container": container, "repo": repository, "tag": tag},
            body={"Env": list(env), "Labels": dict(labels or {})},
            timeout_s=COMMIT_TIMEOUT_S,
        )

    def rename(self, container: str, name: str) -> None:
        self._transport.call("POST", f"/containers/{container}/rename", query={"name": name})

    def logs(self, container: str, *, tail: int | None = None, bytes_max: int = 1 << 20) -> bytes:
        """What it has written so far, both kinds; the last `tail` lines, and the last `bytes_max` bytes."""
        parts: list[bytes] = []
        kept = 0

        def keep(piece: bytes) -> None:
            nonlocal kept
            parts.append(piece)
            kept += len(piece)
            while len(parts) > 1 and kept - len(parts[0]) >= bytes_max:
                kept -= len(parts.pop(0))

        split = Demultiplexer(keep)
        query = {"stdout": True, "stderr": True, "tail": "all" if tail is None else tail}
        with self._transport.stream(
            "GET", f"/containers/{container}/logs", query=query, timeout_s=60.0
        ) as answer:
            while piece := answer.read1(PIECE_BYTES):
                split.feed(piece)
        return b"".join(parts)[-bytes_max:]

    def attach(
        self, container: str, *, stdin: bool = False, cancellation: Cancellation | None = None
    ) -> Hijacked:
        """Its output from now on (and its input); attach before `start` to miss nothing. Multiplexed unless
        the container has a terminal."""
        query = {"stream": True, "stdout": True, "stderr": True, "stdin": stdin}
        return self._transport.hijack(
            f"/containers/{container}/attach", query=query, cancellation=cancellation
        )

    def exec(
        self,
        container: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        cwd: str = "",
        user: str = "",
        on_output: Callable[[bytes], None] | None = None,
        cancellation: Cancellation | None = None,
        timeout_s: float | None = None,
    ) -> int:
        """Run a command inside and wait for it; its exit code (126 and 127 as shells have them). Cancelling
        and the end of `timeout_s` stop the waiting, not the command: it ends with its container, and its code
        is -1. Raises Interrupted when it is cancelled before the engine has answered."""
        made = self._transport.call(
            "POST",
            f"/containers/{container}/exec",
            body={
                "Cmd": list(argv),
                "Env": [f"{name}={value}" for name, value in (env or {}).items()],
                "WorkingDir": cwd,
                "User": user,
                "AttachStdout": True,
                "AttachStderr": True,
            },
        )
        identity = made["Id"]
        stream = self._transport.hijack(
            f"/exec/{identity}/start", body={"Detach": False, "Tty": False}, cancellation=cancellation
        )
        forget = cancellation.on_cancel(stream.abort) if cancellation is not None else None
        try:
            split = Demultiplexer(on_output or _ignore)
            deadline = None if timeout_s is None else time.monotonic() + timeout_s
            while piece := stream.receive(deadline=deadline):
                split.feed(piece)
        finally:
            if forget is not None:
                forget()
            stream.close()
        code = self._transport.call("GET", f"/exec/{identity}/json").get("ExitCode")
        return -1 if code is None else int(code)


class Exit:
    """The end of a container that is awaited: its descriptor can be read from when it has come."""

    def __init__(self, response: HTTPResponse) -> None:
        self._response = response

    def fileno(self) -> int:
        return self._response.fileno()

    def code(self) -> int:
        """Wait for the end; the exit code. Raises OSError when the engine was lost."""
        content = self._response.read(ANSWER_BYTES_MAX)
        try:
            found = json.loads(content)
            return int(found.get("StatusCode", 0))
        except (ValueError, AttributeError):
            raise ConnectionResetError("it hung up while a container ran") from None


def _ports(found: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    return {
        inner: tuple(
            dict.fromkeys(int(binding["HostPort"]) for binding in bindings if binding.get("HostPort"))
        )
        for inner, bindings in found.items()
        if bindings
    }


def _ignore(_: bytes) -> None:
    return
