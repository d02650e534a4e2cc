"""Caches: `github.actions.results.api.v1.CacheService` in Twirp's JSON, and the REST protocol before it.

Which caches a job reads and writes is in its grant, never in a request. What clients pack is theirs: it is
kept apart from what our own `actions/cache` packs, which never finds it.
Source: GitHub's toolkit, `packages/cache`, and "Dependency caching reference" (scopes, matching, eviction).
"""

from __future__ import annotations

import itertools
import re
import threading
from dataclasses import dataclass
from typing import Any

from akashic.journal.caches import CacheEntry, CacheError, CacheStore
from akashic.toolkit.blobs import Blobs, Download
from akashic.toolkit.fields import Fields, TwirpError, json_response, timestamp
from akashic.toolkit.http import HttpError, Request, Response
from akashic.toolkit.tokens import JobGrant
from akashic.toolkit.uploads import Upload

SERVICE = "github.actions.results.api.v1.CacheService"
WRITE_DENIED = "cache write denied: this run may read caches, not write them"
"""The toolkit knows an answer that begins so, and warns instead of failing."""
VERSION_CHARACTERS_MAX = 512
_CONTENT_RANGE = re.compile(r"bytes (\d{1,15})-(\d{1,15})/(?:\*|\d{1,15})")


@dataclass(frozen=True, slots=True)
class _Pending:
    number: int
    grant_id: str
    key: str
    version: str
    upload: Upload


class CacheService:
    """Both protocols. Thread-safe."""

    def __init__(self, store: CacheStore, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs
        self._numbers = itertools.count(1)
        self._pending: dict[tuple[str, str, str], _Pending] = {}
        self._lock = threading.Lock()

    def close(self, grant: JobGrant) -> None:
        """The job has ended: what it reserved is free again."""
        with self._lock:
            self._pending = {key: kept for key, kept in self._pending.items() if kept.grant_id != grant.id}

    # Version 2.

    def call(self, method: str, fields: Fields, grant: JobGrant, origin: str) -> dict[str, Any]:
        """Answer a call. Raises TwirpError."""
        try:
            match method:
                case "CreateCacheEntry":
                    return self._create(fields, grant, origin)
                case "FinalizeCacheEntryUpload":
                    return self._finalize(fields, grant)
                case "GetCacheEntryDownloadURL":
                    return self._address(fields, grant, origin)
        except CacheError as error:
            raise TwirpError("invalid_argument", error.message) from error
        raise TwirpError("bad_route", f"no such method: {method}")

    def _create(self, fields: Fields, grant: JobGrant, origin: str) -> dict[str, Any]:
        if grant.scopes.write is None:
            return {"ok": False, "message": WRITE_DENIED}
        _, address = self._reserve(fields.text("key"), fields.text("version"), grant, origin)
        return {"ok": True, "signed_upload_url": address}

    def _finalize(self, fields: Fields, grant: JobGrant) -> dict[str, Any]:
        key, version, size = fields.text("key"), fields.text("version"), fields.number("size_bytes")
        pending = self._mine(key, version, grant)
        if pending is None:
            raise TwirpError("not_found", f"no upload of a cache {key!r} has begun in this job")
        if pending.upload.size is None or size not in (None, pending.upload.size):
            raise TwirpError(
                "invalid_argument", f"{size} bytes were announced, and {pending.upload.size} came"
            )
        entry = self._keep(pending, grant)
        if entry is None:
            return {"ok": False, "message": f"the cache {key!r} was saved by another job meanwhile"}
        return {"ok": True, "entry_id": str(_number(entry))}

    def _address(self, fields: Fields, grant: JobGrant, origin: str) -> dict[str, Any]:
        entry = self._find([fields.text("key"), *fields.texts("restore_keys")], fields.text("version"), grant)
        if entry is None:
            return {"ok": False, "signed_download_url": "", "matched_key": ""}
        address = self._offer(entry, grant, origin)
        return {"ok": True, "signed_download_url": address, "matched_key": entry.key}

    # Version 1: `_apis/artifactcache/…`.

    def handle(self, request: Request, grant: JobGrant) -> Response:
        """Answer a request of the older protocol. Raises HttpError."""
        try:
            match request.method, request.parts[2:]:
                case "GET", ("cache",):
                    return self._lookup(request, grant)
                case "GET", ("caches",):
                    return self._listing(request, grant)
                case "POST", ("caches",):
                    return self._reserve_v1(request, grant)
                case "PATCH", ("caches", number):
                    return self._piece(request, self._numbered(number, grant))
                case "POST", ("caches", number):
                    return self._commit(request, self._numbered(number, grant), grant)
        except CacheError as error:
            raise HttpError(400, error.message, "invalid_argument") from error
        raise HttpError(404, "there is nothing at this path", "bad_route")

    def _lookup(self, request: Request, grant: JobGrant) -> Response:
        keys = request.query.get("keys", "").split(",")
        entry = self._find(keys, request.query.get("version", ""), grant)
        if entry is None:
            return Response(status=204)
        return json_response(
            {**_shown(entry), "archiveLocation": self._offer(entry, grant, request.origin), "result": "hit"}
        )

    def _listing(self, request: Request, grant: JobGrant) -> Response:
        found = [
            entry
            for entry in self._store.find_all(key_prefix=request.query.get("key", ""))
            if entry.scope in grant.scopes.read
        ]
        return json_response(
            {"totalCount": len(found), "artifactCaches": [_shown(entry) for entry in found[:100]]}
        )

    def _reserve_v1(self, request: Request, grant: JobGrant) -> Response:
        fields = Fields.of(request)
        if grant.scopes.write is None:
            raise HttpError(403, WRITE_DENIED, "permission_denied")
        pending, _ = self._reserve(fields.text("key"), fields.text("version"), grant, request.origin)
        return json_response({"cacheId": pending.number}, 201)

    def _piece(self, request: Request, pending: _Pending) -> Response:
        match = _CONTENT_RANGE.fullmatch(request.headers.get("content-range", ""))
        if match is None or int(match[2]) < int(match[1]):
            raise HttpError(400, "Content-Range: expected 'bytes first-last/*'", "invalid_argument")
        start, end = int(match[1]), int(match[2])
        pending.upload.put_range(start, request.body, end - start + 1)
        return Response(status=204)

    def _commit(self, request: Request, pending: _Pending, grant: JobGrant) -> Response:
        pending.upload.commit_range(Fields.of(request).number("size") or 0)
        if self._keep(pending, grant) is None:
            raise HttpError(409, "the cache already exists: another job saved it", "already_exists")
        return Response(status=204)

    # What both do.

    def _reserve(self, key: str, version: str, grant: JobGrant, origin: str) -> tuple[_Pending, str]:
        if not key or not 0 < len(version) <= VERSION_CHARACTERS_MAX:
            raise TwirpError("invalid_argument", "a cache needs a key and a version")
        scope = grant.scopes.write
        assert scope is not None
        place = (scope, key, version)
        self._store.find(key, [], _version(version), grant.scopes)  # refuses what is no key
        with self._lock:
            before = self._pending.get(place)
            other = before is not None and before.grant_id != grant.id
            if other or self._store.taken(key, _version(version), grant.scopes):
                raise TwirpError(
                    "already_exists", f"the cache {key!r} already exists, or another job is making it"
                )
            upload, address = self._blobs.new_upload(grant, self._store.scratch(), origin)
            pending = _Pending(next(self._numbers), grant.id, key, version, upload)
            self._pending[place] = pending
        if before is not None:
            self._blobs.forget_upload(before.upload)
        return pending, address

    def _mine(self, key: str, version: str, grant: JobGrant) -> _Pending | None:
        with self._lock:
            pending = self._pending.get((grant.scopes.write or "", key, version))
        return pending if pending is not None and pending.grant_id == grant.id else None

    def _numbered(self, number: str, grant: JobGrant) -> _Pending:
        with self._lock:
            for pending in self._pending.values():
                if str(pending.number) == number and pending.grant_id == grant.id:
                    return pending
        raise HttpError(404, "there is no such reservation in this job", "not_found")

    def _keep(self, pending: _Pending, grant: JobGrant) -> CacheEntry | None:
        version = _version(pending.version)
        entry = self._store.adopt(pending.key, version, grant.scopes, pending.upload.content)
        with self._lock:
            self._pending.pop((grant.scopes.write or "", pending.key, pending.version), None)
        self._blobs.forget_upload(pending.upload)
        return entry

    def _find(self, keys: list[str], version: str, grant: JobGrant) -> CacheEntry | None:
        if not keys or not keys[0]:
            raise TwirpError("invalid_argument", "a cache is found by a key")
        return self._store.find(keys[0], keys[1:], _version(version), grant.scopes)

    def _offer(self, entry: CacheEntry, grant: JobGrant, origin: str) -> str:
        download = Download(grant_id=grant.id, open=lambda: self._store.open(entry))
        return self._blobs.offer(grant, f"cache {entry.scope} {entry.id}", download, origin)


def _version(version: str) -> str:
    return f"toolkit:{version}"


def _number(entry: CacheEntry) -> int:
    """A number for an entry that JavaScript can hold."""
    return int(entry.id, 16) & ((1 << 52) - 1)


def _shown(entry: CacheEntry) -> dict[str, Any]:
    return {
        "cacheKey": entry.key,
        "cacheVersion": entry.version.removeprefix("toolkit:"),
        "scope": entry.scope,
        "creationTime": timestamp(entry.created_at),
    }
