"""Blobs behind signed addresses, in the words of Azure's Blob service, which GitHub's toolkit speaks.

Only what an address was made for is there: a random name that stands for one upload or one stored content.
Source: the REST reference of Azure Storage (Put Blob, Put Block, Put Block List, Get Blob, Get Blob
Properties, status and error codes).
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from akashic.errors import AkashicError
from akashic.toolkit.http import HttpError, Request, Response
from akashic.toolkit.tokens import JobGrant, Tokens
from akashic.toolkit.uploads import BLOCKS_MAX, Upload

LIST_BYTES_MAX = 10 << 20
API_VERSION = "2024-11-04"
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_LISTED = re.compile(r"<(Latest|Uncommitted|Committed)>([A-Za-z0-9+/=]{1,128})</\1>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """Stored content that a job may read. `open` raises AkashicError when it is gone."""

    grant_id: str
    open: Callable[[], BinaryIO]
    content_type: str = "application/octet-stream"
    filename: str = ""


class Blobs:
    """Uploads and downloads of the jobs that are open. Thread-safe."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._uploads: dict[str, tuple[str, Upload]] = {}
        self._downloads: dict[str, Download] = {}
        self._names: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def new_upload(self, grant: JobGrant, scratch: Path, origin: str) -> tuple[Upload, str]:
        """An upload into a folder that is its own from now on, and the address that it is sent to."""
        upload = Upload(scratch)
        name = f"upload-{os.urandom(12).hex()}"
        with self._lock:
            self._uploads[name] = (grant.id, upload)
        return upload, self._tokens.sign(origin, grant, name, "w")

    def forget_upload(self, upload: Upload) -> None:
        """It was adopted, or is not wanted any more."""
        with self._lock:
            self._uploads = {name: kept for name, kept in self._uploads.items() if kept[1] is not upload}
        shutil.rmtree(upload.folder, ignore_errors=True)

    def offer(self, grant: JobGrant, key: str, download: Download, origin: str) -> str:
        """The address of stored content; `key` names it, so that asking again makes no second name."""
        with self._lock:
            name = self._names.setdefault((grant.id, key), f"content-{os.urandom(12).hex()}")
            self._downloads[name] = download
        return self._tokens.sign(origin, grant, name, "r")

    def close(self, grant: JobGrant) -> None:
        """The job has ended: what it did not finish is removed."""
        with self._lock:
            gone = [name for name, (owner, _) in self._uploads.items() if owner == grant.id]
            uploads = [self._uploads.pop(name)[1] for name in gone]
            for known in [known for known in self._names if known[0] == grant.id]:
                self._downloads.pop(self._names.pop(known), None)
        for upload in uploads:
            shutil.rmtree(upload.folder, ignore_errors=True)

    def handle(self, request: Request) -> Response:
        """`/blob/<job>/<name>`. Raises HttpError."""
        _, grant_id, name = request.parts
        reading = request.method in ("GET", "HEAD")
        if not reading and request.method != "PUT":
            raise HttpError(405, "only GET, HEAD and PUT", "UnsupportedHttpVerb")
        self._tokens.signed_grant(request.path, grant_id, request.query, "r" if reading else "w")
        with self._lock:
            owner, upload = self._uploads.get(name, ("", None))
            download = self._downloads.get(name)
        if reading:
            if download is None or download.grant_id != grant_id:
                raise HttpError(404, "there is no such blob", "BlobNotFound")
            return _read(request, download)
        if upload is None or owner != grant_id:
            raise HttpError(404, "there is no such upload", "BlobNotFound")
        try:
            return _write(request, upload)
        except FileNotFoundError:
            raise HttpError(404, "the upload has ended", "BlobNotFound") from None
        except OSError as error:
            raise HttpError(
                507, f"the content cannot be kept: {error.strerror}", "InsufficientStorage"
            ) from error


def _write(request: Request, upload: Upload) -> Response:
    what = request.query.get("comp", "")
    md5 = request.headers.get("content-md5", "")
    if what == "block":
        upload.put_block(request.query.get("blockid", ""), request.body, md5=md5)
    elif what == "blocklist":
        upload.commit(_block_list(request.body.read(LIST_BYTES_MAX)))
    elif what == "":
        kind = request.headers.get("x-ms-blob-type", "BlockBlob")
        if kind != "BlockBlob":
            raise HttpError(400, f"only block blobs, not {kind[:40]}", "UnsupportedHeader")
        upload.put(request.body, md5=md5)
    else:
        raise HttpError(400, f"comp={what[:40]} is not supported", "InvalidQueryParameterValue")
    headers = {**_common(request), "x-ms-request-server-encrypted": "false"}
    if what != "block":
        headers |= {"ETag": f'"{os.urandom(8).hex()}"', "Last-Modified": http_date(time.time())}
    return Response(status=201, headers=headers)


def _block_list(body: bytes) -> list[str]:
    """The names in a block list. Entities and doctypes have no place in one."""
    text = body.decode("utf-8", "replace")
    start, end = text.find("<BlockList>"), text.rfind("</BlockList>")
    if "<BlockList/>" in text or "<BlockList />" in text:
        return []
    if start < 0 or end < 0 or "<!" in text:
        raise HttpError(400, "the block list is malformed", "InvalidXmlDocument")
    inner = text[start + len("<BlockList>") : end]
    names = [match[2] for match in _LISTED.finditer(inner)]
    if _LISTED.sub("", inner).strip():
        raise HttpError(400, "the block list is malformed", "InvalidXmlDocument")
    if len(names) > BLOCKS_MAX:
        raise HttpError(409, f"more than {BLOCKS_MAX:,} blocks", "BlockListTooLong")
    return names


def _read(request: Request, download: Download) -> Response:
    try:
        file = download.open()
    except AkashicError as error:
        raise HttpError(404, error.message, "BlobNotFound") from error
    try:
        facts = os.fstat(file.fileno())
        tag = f'"{facts.st_ino:x}-{facts.st_size:x}-{facts.st_mtime_ns:x}"'
        if request.headers.get("if-match", tag) not in (tag, "*"):
            raise HttpError(412, "the blob is another one now", "ConditionNotMet")
        headers = {
            **_common(request),
            "Content-Type": download.content_type,
            "ETag": tag,
            "Last-Modified": http_date(facts.st_mtime),
            "Accept-Ranges": "bytes",
            "x-ms-blob-type": "BlockBlob",
        }
        if download.filename:
            headers["Content-Disposition"] = disposition(download.filename)
        wanted = request.headers.get("x-ms-range") or request.headers.get("range") or ""
        start, length = _range(wanted, facts.st_size)
        status = 200
        if wanted:
            status = 206
            headers["Content-Range"] = f"bytes {start}-{start + length - 1}/{facts.st_size}"
        return Response(status=status, headers=headers, file=file, start=start, length=length)
    except BaseException:
        file.close()
        raise


def http_date(seconds: float) -> str:
    """A point in time as HTTP writes it (RFC 9110, 5.6.7), whatever the language of this process is."""
    day = time.gmtime(seconds)
    return (
        f"{_DAYS[day.tm_wday]}, {day.tm_mday:02} {_MONTHS[day.tm_mon - 1]} {day.tm_year} "
        f"{day.tm_hour:02}:{day.tm_min:02}:{day.tm_sec:02} GMT"
    )


def disposition(filename: str) -> str:
    """The header that names a file (RFC 6266): for old clients in ASCII, for others as it is."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._- ") else "_" for c in filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def _range(text: str, size: int) -> tuple[int, int]:
    """The first byte and the number of bytes. Raises HttpError (416)."""
    if not text:
        return 0, size
    match = _RANGE.fullmatch(text.replace(" ", ""))
    if match is None or not (match[1] or match[2]):
        raise HttpError(416, "only one range of bytes is supported", "InvalidRange")
    if not match[1]:
        length = min(int(match[2]), size)
        start = size - length
    else:
        start = int(match[1])
        length = min(int(match[2]) if match[2] else size - 1, size - 1) - start + 1
    if start >= size or length <= 0:
        raise HttpError(416, "the range is outside of the blob", "InvalidRange")
    return start, length


def _common(request: Request) -> dict[str, str]:
    headers = {
        "Date": http_date(time.time()),
        "x-ms-request-id": os.urandom(16).hex(),
        "x-ms-version": API_VERSION,
    }
    with suppress(KeyError):
        headers["x-ms-client-request-id"] = request.headers["x-ms-client-request-id"][:1024]
    return headers


def error_response(request: Request, error: HttpError) -> Response:
    """An error as Azure's clients read it."""
    code = error.code or "InternalError"
    text = error.message.replace("&", "&amp;").replace("<", "&lt;")
    body = (
        f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{text}</Message></Error>'
    )
    headers = {**_common(request), "x-ms-error-code": code, "Content-Type": "application/xml"}
    return Response(status=error.status, headers=headers, body=body.encode())
