"""BuildKit inside of a container engine, asked through the engine's API: no command line, no plugin.

Source: the Docker Engine API reference (`POST /build` with `version=2`) and BuildKit's `control.proto`
(message StatusResponse), which the engine sends as `moby.buildkit.trace`. The context goes with the request.
What needs a session of BuildKit's client (secrets, SSH agents, caches in places of its own) is not to be had
this way.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from base64 import b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec

from akashic.cancellation import Cancellation
from akashic.containers.errors import BuildFailed, NotFound
from akashic.containers.streams import json_objects
from akashic.containers.transport import Transport
from akashic.images.tar import Entry

LAST_LINES = 30
"""How much of the output an error repeats."""

_TRACE = "moby.buildkit.trace"


class DockerfileBuild(msgspec.Struct, frozen=True, kw_only=True):
    """One build. `dockerfile` is a path in the context; `cache_from` are images with an inline cache."""

    tag: str
    platform: str
    dockerfile: str = "Dockerfile"
    target: str = ""
    args: dict[str, str] = {}
    labels: dict[str, str] = {}
    cache_from: tuple[str, ...] = ()
    no_cache: bool = False
    pull: bool = False
    network: str = ""
    add_hosts: tuple[str, ...] = ()
    shm_size_bytes: int = 0


def build(
    transport: Transport,
    context: Iterable[bytes],
    wanted: DockerfileBuild,
    *,
    say: Callable[[str], None],
    cancellation: Cancellation | None = None,
) -> str:
    """Build and return the image's id. `say` gets what BuildKit does, a line at a time. Raises BuildFailed
    with the last lines, EngineError, Interrupted."""
    progress = Progress()
    image = ""
    last: list[str] = []

    def tell(line: str) -> None:
        last[:] = [*last[-LAST_LINES + 1 :], line]
        say(line)

    with transport.stream(
        "POST",
        "/build",
        query=_query(wanted),
        body=context,
        headers={"Content-Type": "application/x-tar"},
        cancellation=cancellation,
    ) as answer:
        for found in json_objects(answer):
            if "error" in found:
                said = "\n".join(f"  {line}" for line in last)
                raise BuildFailed(f"{wanted.platform}: {str(found['error']).strip()}\n{said}".rstrip())
            if found.get("id") == _TRACE:
                for line in progress.lines(b64decode(str(found.get("aux", "")))):
                    tell(line)
            elif isinstance(found.get("aux"), dict) and found["aux"].get("ID"):
                image = str(found["aux"]["ID"])
            elif "stream" in found:
                for line in str(found["stream"]).splitlines():
                    tell(line)
    # Podman tells the id only in words; the name is ours.
    return image or _id_of(transport, wanted.tag)


def _id_of(transport: Transport, tag: str) -> str:
    try:
        return str(transport.call("GET", f"/images/{tag}/json")["Id"])
    except NotFound:
        raise BuildFailed(f"the engine ended the build of {tag} without an image") from None


def _query(wanted: DockerfileBuild) -> dict[str, str | int | bool | None]:
    return {
        "version": "2",
        "t": wanted.tag,
        "dockerfile": wanted.dockerfile,
        "platform": wanted.platform,
        "target": wanted.target or None,
        "buildargs": json.dumps(wanted.args),
        "labels": json.dumps(wanted.labels),
        "cachefrom": json.dumps(wanted.cache_from) if wanted.cache_from else None,
        "nocache": wanted.no_cache or None,
        "pull": wanted.pull or None,
        "networkmode": wanted.network or None,
        "extrahosts": json.dumps(wanted.add_hosts) if wanted.add_hosts else None,
        "shmsize": wanted.shm_size_bytes or None,
        "rm": True,
        "forcerm": True,
    }


def context_tar(entries: Iterable[Entry], mtime_s: int) -> Iterator[bytes]:
    """The build's context as a stream; every time is `mtime_s`, every owner root."""
    pieces = _Pieces()
    with tarfile.open(fileobj=pieces, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            info = tarfile.TarInfo(entry.path)
            info.mtime = mtime_s
            info.mode = 0o644 if entry.kind == "file" else 0o755
            if entry.kind == "link":
                assert isinstance(entry.content, bytes)
                info.type, info.linkname = tarfile.SYMTYPE, entry.content.decode("utf-8", "surrogateescape")
                archive.addfile(info)
            elif isinstance(entry.content, bytes):
                info.size = len(entry.content)
                archive.addfile(info, io.BytesIO(entry.content))
            else:
                with entry.content.open("rb") as file:
                    info.size = os.fstat(file.fileno()).st_size
                    archive.addfile(info, file)
            yield from pieces.taken()
    yield from pieces.taken()


class _Pieces(io.RawIOBase):
    """A file that is written to and taken from again, so that no context is held whole."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def taken(self) -> Iterator[bytes]:
        pieces, self._pieces = self._pieces, []
        yield from pieces


class Progress:
    """Turns BuildKit's status messages into lines: each step when it begins, its output, how it ended."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._told: set[tuple[str, str]] = set()
        self._rest: dict[str, bytes] = {}

    def lines(self, message: bytes) -> Iterator[str]:
        """The lines of one StatusResponse; nothing for what is none."""
        try:
            fields = list(_fields(message))
        except (IndexError, ValueError):
            return
        for number, value in fields:
            if not isinstance(value, bytes):
                continue
            try:
                part = _message(value)
            except (IndexError, ValueError):
                continue
            if number == 1:
                yield from self._vertex(part)
            elif number == 3:
                yield from self._log(part)

    def _vertex(self, part: Mapping[int, Any]) -> Iterator[str]:
        digest, name = _text(part.get(1)), _text(part.get(3))
        number = self._numbers.setdefault(digest, len(self._numbers) + 1)
        internal = name.startswith("[internal]")
        states = (
            ("started", 5 in part and not internal, f"#{number} {name}"),
            ("cached", bool(part.get(4)) and not internal, f"#{number} CACHED"),
            ("error", 7 in part, f"#{number} ERROR: {_text(part.get(7))}"),
        )
        for state, holds, line in states:
            if holds and (digest, state) not in self._told:
                self._told.add((digest, state))
                yield line

    def _log(self, part: Mapping[int, Any]) -> Iterator[str]:
        digest = _text(part.get(1))
        number = self._numbers.setdefault(digest, len(self._numbers) + 1)
        text = part.get(4)
        content = self._rest.pop(digest, b"") + (text if isinstance(text, bytes) else b"")
        *lines, rest = content.split(b"\n")
        if rest:
            self._rest[digest] = rest
        for line in lines:
            # A line that is written over and over (a bar) is told as it was at last.
            shown = line.rstrip().rpartition(b"\r")[2].decode("utf-8", "replace")
            yield f"#{number} {shown}"


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The fields of a protocol buffer message, in order."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, value
        elif kind == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise ValueError("a field is cut off")
            yield number, data[at : at + size]
            at += size
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError(f"unknown kind of field {kind}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at += 1
        if not byte & 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def _message(data: bytes) -> dict[int, int | bytes]:
    return dict(_fields(data))


def _text(value: int | bytes | None) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else ""
