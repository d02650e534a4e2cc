"""Artifacts of versions 1 to 3: files that are sent one by one into a container, by REST.

Several jobs may send files into one artifact, as it was then: what is there already is kept, and what is sent
is added. Source: GitHub's toolkit, `packages/artifact` before version 2.
"""

from __future__ import annotations

import itertools
import os
import re
import shutil
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from akashic.errors import AkashicError
from akashic.journal.archive import Member, safe_parts
from akashic.journal.artifact import RETENTION_DAYS_MAX, Artifact, check_name
from akashic.journal.artifacts import ArtifactStore
from akashic.journal.folders import remove
from akashic.toolkit.blobs import disposition
from akashic.toolkit.fields import Fields, json_response, timestamp
from akashic.toolkit.http import HttpError, Request, Response
from akashic.toolkit.tokens import JobGrant
from akashic.toolkit.uploads import UPLOAD_BYTES_MAX, Upload

ITEMS_MAX = 100_000
CONTAINERS = ("_apis", "resources", "containers")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(\d{1,15})")


@dataclass(slots=True)
class _Item:
    upload: Upload
    total: int
    packed: bool


@dataclass(slots=True)
class _Container:
    number: int
    grant: JobGrant
    name: str
    retention_days: int
    folder: Path
    items: dict[tuple[str, ...], _Item] = field(default_factory=dict)


class ArtifactRest:
    """`_apis/pipelines/workflows/<run>/artifacts` and the containers behind it. Thread-safe."""

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._numbers = itertools.count(1)
        self._containers: dict[int, _Container] = {}
        self._lock = threading.Lock()
        self._finishing = threading.Lock()

    def close(self, grant: JobGrant) -> None:
        """The job has ended: what it did not finish is removed."""
        with self._lock:
            gone = [c for c in self._containers.values() if c.grant.id == grant.id]
            for container in gone:
                del self._containers[container.number]
        for container in gone:
            remove(container.folder)

    def artifacts(self, request: Request, grant: JobGrant) -> Response:
        """`_apis/pipelines/workflows/<run>/artifacts`. Raises HttpError."""
        if request.parts[3] != grant.workflow_run_id:
            raise HttpError(403, "the token is for another workflow run", "permission_denied")
        if request.method == "POST":
            return self._create(request, grant)
        if request.method == "PATCH":
            return self._finish(request, grant)
        if request.method != "GET":
            raise HttpError(405, "only GET, POST and PATCH")
        found = self._store.find_all(grant.run_id, run_attempt=grant.run_attempt)
        shown = [_shown(request, artifact.id, artifact.name, artifact.bytes) for artifact in found]
        return json_response({"count": len(shown), "value": shown})

    def containers(self, request: Request, grant: JobGrant) -> Response:
        """`_apis/resources/containers/<id>`: PUT a file of a new artifact, GET those of a stored one."""
        number = request.parts[3]
        if not number.isdigit() or len(number) > 15:
            raise HttpError(404, "there is no such container", "not_found")
        if request.method == "PUT":
            return self._put(request, self._container(int(number), grant))
        if request.method != "GET":
            raise HttpError(405, "only GET and PUT")
        artifact = self._store.get(int(number))
        if artifact is None or artifact.run_id != grant.run_id:
            raise HttpError(404, "there is no such container", "not_found")
        if "item" in request.query:
            return self._content(artifact, request.query["item"])
        return self._listing(request, artifact)

    def _create(self, request: Request, grant: JobGrant) -> Response:
        fields = Fields.of(request)
        name, days = fields.text("name"), fields.number("retention_days") or 0
        try:
            check_name(name)
        except AkashicError as error:
            raise HttpError(400, error.message, "invalid_argument") from error
        with self._lock:
            container = _Container(
                next(self._numbers), grant, name, min(days, RETENTION_DAYS_MAX), self._store.scratch()
            )
            self._containers[container.number] = container
        return json_response(_shown(request, container.number, name, -1), 201)

    def _put(self, request: Request, container: _Container) -> Response:
        try:
            parts = safe_parts(request.query.get("itemPath", "").replace("\\", "/"))
        except AkashicError as error:
            raise HttpError(400, error.message, "invalid_argument") from error
        match = _CONTENT_RANGE.fullmatch(request.headers.get("content-range", ""))
        length = request.body.length
        if match is not None:
            start, end, total = int(match[1]), int(match[2]) + 1, int(match[3])
        elif length is not None:
            start, end, total = 0, length, length
        else:
            raise HttpError(411, "Content-Range: expected 'bytes first-last/total'", "invalid_argument")
        if len(parts) < 2 or parts[0] != container.name or not start <= end <= total <= UPLOAD_BYTES_MAX:
            raise HttpError(400, "the item is not of this artifact, or has no such range", "invalid_argument")
        packed = request.headers.get("content-encoding", "").lower() == "gzip"
        with self._lock:
            item = container.items.get(parts[1:])
            if item is None:
                if len(container.items) >= ITEMS_MAX:
                    raise HttpError(400, f"more than {ITEMS_MAX:,} files", "invalid_argument")
                folder = container.folder / str(len(container.items))
                folder.mkdir()
                item = container.items[parts[1:]] = _Item(Upload(folder), total, packed)
        item.upload.put_range(start, request.body, end - start)
        return json_response({}, 201 if end == total else 200)

    def _finish(self, request: Request, grant: JobGrant) -> Response:
        name = request.query.get("artifactName", "")
        with self._lock:
            mine = [c for c in self._containers.values() if c.grant.id == grant.id and c.name == name]
            for container in mine:
                del self._containers[container.number]
        if not mine:
            raise HttpError(404, f"there is no artifact {name!r} of this job", "not_found")
        container = mine[-1]
        try:
            with self._finishing:
                artifact = self._keep(container)
        except AkashicError as error:
            raise HttpError(400, error.message, "invalid_argument") from error
        finally:
            for done in mine:
                remove(done.folder)
        return json_response(_shown(request, artifact.id, name, artifact.bytes))

    def _keep(self, container: _Container) -> Artifact:
        grant = container.grant
        tree = container.folder / "tree"
        tree.mkdir()
        before = self._store.find(container.name, run_id=grant.run_id, run_attempt=grant.run_attempt)
        if before is not None and before.run_attempt == grant.run_attempt:
            descriptor = os.open(tree, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                self._store.extract(before, descriptor, modes=True)
            finally:
                os.close(descriptor)
        members = {member.name: member for member in _files(tree)}
        for parts, item in container.items.items():
            item.upload.commit_range(item.total)
            path = _unpacked(item) if item.packed else item.upload.content
            members["/".join(parts)] = Member(name="/".join(parts), path=str(path))
        return self._store.create(
            container.name,
            members.values(),
            run_id=grant.run_id,
            run_attempt=grant.run_attempt,
            job_key=grant.job_key,
            overwrite=True,
            retention_days=container.retention_days,
        )

    def _container(self, number: int, grant: JobGrant) -> _Container:
        with self._lock:
            container = self._containers.get(number)
        if container is None or container.grant.id != grant.id:
            raise HttpError(404, "there is no such container", "not_found")
        return container

    def _listing(self, request: Request, artifact: Artifact) -> Response:
        address = f"{request.origin}{request.path}?item="
        shown = [
            {
                "containerId": artifact.id,
                "path": f"{artifact.name}/{name}",
                "itemType": "file",
                "status": "created",
                "fileLength": size,
                "contentLocation": f"{address}{index}",
            }
            for index, (name, size) in enumerate(self._names(artifact))
        ]
        return json_response({"count": len(shown), "value": shown})

    def _names(self, artifact: Artifact) -> list[tuple[str, int]]:
        import zipfile  # only who speaks the oldest protocol pays for it

        if artifact.filename:
            return [(artifact.filename, artifact.size)]
        with self._store.open(artifact) as content, zipfile.ZipFile(content) as archive:
            files = [info for info in archive.infolist() if not info.is_dir()]
        try:
            return [("/".join(safe_parts(info.orig_filename)), info.file_size) for info in files]
        except AkashicError as error:
            raise HttpError(409, error.message, "refused") from error

    def _content(self, artifact: Artifact, item: str) -> Response:
        names = self._names(artifact)
        if not item.isdigit() or len(item) > 9 or int(item) >= len(names):
            raise HttpError(404, "there is no such file", "not_found")
        name, size = names[int(item)]
        file: BinaryIO = self._store.open(artifact)
        if not artifact.filename:
            file = _member(file, int(item))
            size = os.fstat(file.fileno()).st_size
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Disposition": disposition(name.rsplit("/", 1)[-1]),
        }
        return Response(headers=headers, file=file, length=size)


def _shown(request: Request, number: int, name: str, size: int) -> dict[str, Any]:
    return {
        "containerId": number,
        "size": size,
        "signedContent": None,
        "fileContainerResourceUrl": f"{request.origin}/{'/'.join(CONTAINERS)}/{number}",
        "type": "actions_storage",
        "name": name,
        "url": f"{request.origin}{request.path}?artifactName={name}" if name.isalnum() else "",
        "expiresOn": timestamp(4102444800),
    }


def _files(tree: Path) -> Iterator[Member]:
    for folder, _, names in os.walk(tree):
        for name in names:
            path = Path(folder) / name
            yield Member(name=str(path.relative_to(tree)), path=str(path))


def _unpacked(item: _Item) -> Path:
    """What a client compressed on the way. The size is bounded while it is unpacked."""
    path = item.upload.folder / "unpacked"
    expander = zlib.decompressobj(wbits=31)
    written = 0
    try:
        with open(item.upload.content, "rb") as source, open(path, "wb") as sink:
            while chunk := source.read(1 << 20):
                while chunk:
                    plain = expander.decompress(chunk, 1 << 20)
                    chunk = expander.unconsumed_tail
                    written += len(plain)
                    if written > UPLOAD_BYTES_MAX:
                        raise HttpError(413, f"a file is larger than {UPLOAD_BYTES_MAX:,} bytes")
                    sink.write(plain)
    except zlib.error:
        raise HttpError(400, "a file is not compressed as it says", "invalid_argument") from None
    if not expander.eof:
        raise HttpError(400, "a compressed file breaks off", "invalid_argument")
    return path


def _member(content: BinaryIO, index: int) -> BinaryIO:
    """One file of a zip, unpacked where nobody else sees it."""
    import tempfile
    import zipfile

    try:
        with content, zipfile.ZipFile(content) as archive:
            info = [info for info in archive.infolist() if not info.is_dir()][index]
            plain = tempfile.TemporaryFile()  # noqa: SIM115 (closed once it is sent)
            with archive.open(info) as source:
                shutil.copyfileobj(source, plain, 1 << 20)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError) as error:
        raise HttpError(409, f"the archive is damaged: {error}", "refused") from error
    plain.flush()
    return cast(BinaryIO, plain)
