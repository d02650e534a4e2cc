"""Artifacts of version 4 and newer: `github.actions.results.api.v1.ArtifactService`, in Twirp's JSON.

What is uploaded here and what our own `actions/upload-artifact` keeps are the same artifacts.
Source: GitHub's toolkit, `packages/artifact` (generated client and what it does with the answers).
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from akashic.errors import AkashicError
from akashic.journal.artifact import Artifact, ArtifactError, check_name
from akashic.journal.artifacts import ArtifactStore
from akashic.toolkit.blobs import Blobs, Download
from akashic.toolkit.fields import Fields, TwirpError, timestamp
from akashic.toolkit.tokens import JobGrant
from akashic.toolkit.uploads import Upload

SERVICE = "github.actions.results.api.v1.ArtifactService"
VERSION_MIN = 4


@dataclass(frozen=True, slots=True)
class _Pending:
    grant_id: str
    upload: Upload
    expires_at: float


class ArtifactService:
    """The methods of the service. Thread-safe."""

    def __init__(self, store: ArtifactStore, blobs: Blobs) -> None:
        self._store = store
        self._blobs = blobs
        self._pending: dict[tuple[str, int, str], _Pending] = {}
        self._lock = threading.Lock()

    def call(self, method: str, fields: Fields, grant: JobGrant, origin: str) -> dict[str, Any]:
        """Answer a call. Raises TwirpError."""
        if fields.text("workflow_run_backend_id") != grant.run_backend_id:
            raise TwirpError("permission_denied", "the token is for another workflow run")
        try:
            match method:
                case "CreateArtifact":
                    return self._create(fields, grant, origin)
                case "FinalizeArtifact":
                    return self._finalize(fields, grant)
                case "ListArtifacts":
                    return self._list(fields, grant)
                case "GetSignedArtifactURL":
                    return self._signed(fields, grant, origin)
                case "DeleteArtifact":
                    return self._delete(fields, grant)
        except ArtifactError as error:
            raise TwirpError("invalid_argument", error.message) from error
        raise TwirpError("bad_route", f"no such method: {method}")

    def close(self, grant: JobGrant) -> None:
        """The job has ended; its unfinished uploads are removed by `Blobs`."""
        with self._lock:
            self._pending = {key: kept for key, kept in self._pending.items() if kept.grant_id != grant.id}

    def _create(self, fields: Fields, grant: JobGrant, origin: str) -> dict[str, Any]:
        name = fields.text("name")
        _own_job(fields, grant)
        check_name(name)
        version = fields.number("version")
        if version is None or version < VERSION_MIN:
            raise TwirpError("invalid_argument", f"version {version} of artifacts is not supported here")
        key = (grant.run_id, grant.run_attempt, name)
        with self._lock:
            before = self._pending.get(key)
            if before is not None and before.grant_id != grant.id:
                raise _taken(name)
            try:
                self._store.check_free(
                    name, run_id=grant.run_id, run_attempt=grant.run_attempt, job_key=grant.job_key
                )
            except ArtifactError as error:
                raise (_taken(name) if self._find(name, grant) else error) from error
            upload, address = self._blobs.new_upload(grant, self._store.scratch(), origin)
            self._pending[key] = _Pending(grant.id, upload, fields.time("expires_at"))
        if before is not None:
            # The job asks again: its first try broke off.
            self._blobs.forget_upload(before.upload)
        return {"ok": True, "signed_upload_url": address}

    def _finalize(self, fields: Fields, grant: JobGrant) -> dict[str, Any]:
        name, size, digest = fields.text("name"), fields.number("size"), fields.text("hash")
        _own_job(fields, grant)
        key = (grant.run_id, grant.run_attempt, name)
        with self._lock:
            pending = self._pending.get(key)
        if pending is None or pending.grant_id != grant.id:
            done = self._find(name, grant)
            if done is not None and done.size == (size or 0) and digest in ("", done.digest):
                # The answer to the first call was lost on the way.
                return {"ok": True, "artifact_id": str(done.id)}
            raise TwirpError("not_found", f"no upload of an artifact {name!r} has begun in this job")
        if pending.upload.size is None or (size is not None and size != pending.upload.size):
            raise TwirpError(
                "invalid_argument", f"{size} bytes were announced, and {pending.upload.size} came"
            )
        artifact = self._store.adopt(
            name,
            pending.upload.content,
            run_id=grant.run_id,
            run_attempt=grant.run_attempt,
            job_key=grant.job_key,
            expires_at=pending.expires_at,
            digest=digest,
        )
        with self._lock:
            self._pending.pop(key, None)
        self._blobs.forget_upload(pending.upload)
        return {"ok": True, "artifact_id": str(artifact.id)}

    def _list(self, fields: Fields, grant: JobGrant) -> dict[str, Any]:
        name, number = fields.text("name_filter"), fields.number("id_filter")
        found = [
            artifact
            for artifact in self._store.find_all(grant.run_id, run_attempt=grant.run_attempt)
            if name in ("", artifact.name) and number in (None, artifact.id)
        ]
        return {"artifacts": [self._shown(artifact, grant) for artifact in found]}

    def _signed(self, fields: Fields, grant: JobGrant, origin: str) -> dict[str, Any]:
        artifact = self._found(fields, grant)
        return {"name": artifact.name, "signed_url": self.address(artifact, grant, origin)}

    def address(self, artifact: Artifact, grant: JobGrant, origin: str) -> str:
        """Where the job may read an artifact's stored content."""
        download = Download(
            grant_id=grant.id,
            open=lambda: self._store.open(artifact),
            content_type="application/octet-stream" if artifact.filename else "application/zip",
            filename=artifact.filename or f"{artifact.name}.zip",
        )
        return self._blobs.offer(grant, f"artifact {artifact.id}", download, origin)

    def _delete(self, fields: Fields, grant: JobGrant) -> dict[str, Any]:
        artifact = self._found(fields, grant)
        self._store.delete(artifact)
        return {"ok": True, "artifact_id": str(artifact.id)}

    def _find(self, name: str, grant: JobGrant) -> Artifact | None:
        return self._store.find(name, run_id=grant.run_id, run_attempt=grant.run_attempt)

    def _found(self, fields: Fields, grant: JobGrant) -> Artifact:
        artifact = self._find(fields.text("name"), grant)
        if artifact is None:
            raise TwirpError("not_found", f"there is no artifact {fields.text('name')!r} in this run")
        return artifact

    def _shown(self, artifact: Artifact, grant: JobGrant) -> dict[str, Any]:
        return {
            "workflow_run_backend_id": grant.run_backend_id,
            "workflow_job_run_backend_id": grant.id,
            "database_id": str(artifact.id),
            "name": artifact.name,
            "size": str(artifact.size),
            "created_at": timestamp(artifact.created_at),
            "digest": artifact.digest,
        }


def _own_job(fields: Fields, grant: JobGrant) -> None:
    if fields.text("workflow_job_run_backend_id") != grant.id:
        raise TwirpError("permission_denied", "the token is for another job")


def _taken(name: str) -> AkashicError:
    return TwirpError(
        "already_exists", f"an artifact with the name {name!r} already exists on this workflow run"
    )
