"""A registry as the OCI distribution specification 1.1 describes it, and Docker's token authentication.

Sources: opencontainers/distribution-spec (spec.md), distribution/distribution (docs/spec/auth/token.md,
oauth.md). One object is one repository of one registry; it is used from one thread.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urljoin, urlsplit

import msgspec

from akashic.containers.auth import Credentials
from akashic.errors import AkashicError
from akashic.images.connections import TIMEOUT_S, Connections, Reply
from akashic.images.store import (
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    DOCUMENT_BYTES_MAX,
    INDEX,
    MANIFEST,
    ImageError,
    digest_of,
)

TAGS_MAX = 100_000
PAGES_MAX = 1_000
CHUNK_BYTES = 1 << 20
RETRIES = 3
RETRY_PAUSE_S = 0.5
RETRY_PAUSE_S_MAX = 15.0
_BUSY = (429, 502, 503, 504)
"""Answers that may be another a moment later."""
_ACCEPTED = ", ".join((INDEX, MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST))


class RegistryError(AkashicError):
    """A registry refused something, or does not answer. `status` is HTTP's, 0 when there was no answer."""

    def __init__(self, message: str, *, hint: str = "", status: int = 0) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest or index as the registry gave it; `digest` is computed from its bytes."""

    media_type: str
    digest: str
    data: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The parsed JSON. Raises ImageError."""
        try:
            return msgspec.json.decode(self.data, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise ImageError(f"the manifest {self.digest} is not valid JSON: {error}") from None

    @property
    def descriptor(self) -> dict[str, Any]:
        """How others refer to it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.data)}


class Repository:
    """`name` in the registry at `host`. Raises RegistryError from every method."""

    def __init__(
        self,
        host: str,
        name: str,
        *,
        credential: Credentials | None = None,
        insecure: bool = False,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        self.host = host
        self.name = name
        self._credential = credential
        self._connections = Connections(host, insecure=insecure, timeout_s=timeout_s)
        self._authorization = ""

    def close(self) -> None:
        """End its connections."""
        self._connections.close()

    def __enter__(self) -> Repository:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        return f"{self.host}/{self.name}"

    # Blobs

    def has_blob(self, digest: str) -> bool:
        """Whether the repository holds a blob."""
        return self._ask("HEAD", f"blobs/{digest}", allowed=(200, 404)).status == 200

    def put_blob(self, digest: str, source: bytes | Path) -> bool:
        """Upload a blob unless it is there; whether it was sent. The registry checks the digest."""
        if self.has_blob(digest):
            return False
        place = self._ask("POST", "blobs/uploads/", allowed=(202,)).headers.get("location", "")
        if not place:
            raise RegistryError(f"{self}: the registry named no place to upload to")
        url = urljoin(self._url("blobs/uploads/"), place)
        url += ("&" if urlsplit(url).query else "?") + urlencode({"digest": digest})
        headers = {"Content-Type": "application/octet-stream"}
        self._ask_url("PUT", url, headers=headers, body=source, allowed=(201,))
        return True

    @contextmanager
    def open_blob(self, digest: str) -> Iterator[Iterator[bytes]]:
        """A blob's bytes in chunks; the digest is checked at the end (ImageError)."""
        reply = self._ask("GET", f"blobs/{digest}", allowed=(200,), stream=True)
        try:
            yield self._verified(reply, digest)
        finally:
            reply.close()

    def _verified(self, reply: Reply, digest: str) -> Iterator[bytes]:
        actual = hashlib.sha256()
        try:
            while chunk := reply.read(CHUNK_BYTES):
                actual.update(chunk)
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            raise RegistryError(f"{self}: {digest} broke off: {error}") from None
        if f"sha256:{actual.hexdigest()}" != digest:
            raise ImageError(f"{self}: the registry sent other bytes than those of {digest}")

    def read_blob(self, digest: str) -> bytes:
        """A small blob, verified."""
        content = bytearray()
        with self.open_blob(digest) as chunks:
            for chunk in chunks:
                content += chunk
                if len(content) > DOCUMENT_BYTES_MAX:
                    raise ImageError(f"{self}: {digest} is larger than {DOCUMENT_BYTES_MAX} bytes")
        return bytes(content)

    # Manifests

    def manifest(self, reference: str) -> Manifest | None:
        """The manifest of a tag or digest, None when there is none. Bytes that are not those of the digest
        that was asked for are ImageError."""
        reply = self._ask("GET", f"manifests/{reference}", headers={"Accept": _ACCEPTED}, allowed=(200, 404))
        if reply.status == 404:
            return None
        digest = digest_of(reply.body)
        if reference.startswith("sha256:") and digest != reference:
            raise ImageError(f"{self}: the registry sent another manifest than {reference}")
        media_type = reply.headers.get("content-type", "").partition(";")[0].strip()
        found = Manifest(media_type=media_type, digest=digest, data=reply.body)
        # The document's own word counts more than a header that a proxy may have changed.
        written = found.document.get("mediaType")
        return msgspec.structs.replace(found, media_type=written) if isinstance(written, str) else found

    def put_manifest(self, reference: str, media_type: str, data: bytes) -> bool:
        """Write a manifest under a tag or its digest. Whether the registry keeps track of what the manifest
        refers to (header `OCI-Subject`); if not, `refer` must be called for an artifact."""
        reply = self._ask(
            "PUT",
            f"manifests/{reference}",
            headers={"Content-Type": media_type},
            body=data,
            allowed=(201,),
        )
        return "oci-subject" in reply.headers

    def delete_manifest(self, reference: str) -> bool:
        """Remove a manifest by its digest, with all its tags; whether it was there."""
        reply = self._ask("DELETE", f"manifests/{reference}", allowed=(200, 202, 404, 400, 405))
        if reply.status in (400, 405):
            raise RegistryError(
                f"{self}: the registry does not let anybody remove an image",
                hint="its operator must allow it (for Docker's registry: storage.delete.enabled: true)",
                status=reply.status,
            )
        return reply.status != 404

    def tags(self) -> list[str]:
        """All tags, sorted; empty for a repository that does not exist."""
        found: list[str] = []
        url = f"{self._url('tags/list')}?n=1000"
        for _ in range(PAGES_MAX):
            reply = self._ask_url("GET", url, allowed=(200, 404))
            if reply.status == 404:
                break
            found.extend(str(tag) for tag in self._json(reply).get("tags") or [])
            following = re.search(r'<([^>]+)>\s*;\s*rel="?next"?', reply.headers.get("link", ""))
            if following is None or len(found) > TAGS_MAX:
                break
            url = urljoin(url, following[1])
        return sorted(found)

    # What refers to an image

    def referrers(self, digest: str) -> list[dict[str, Any]]:
        """The descriptors of the artifacts that refer to an image."""
        reply = self._ask("GET", f"referrers/{digest}", allowed=(200, 404))
        if reply.status == 200:
            listed = self._json(reply).get("manifests")
        else:
            found = self.manifest(referrers_tag(digest))
            listed = found.document.get("manifests") if found else []
        return [entry for entry in listed or [] if isinstance(entry, dict)]

    def refer(self, subject_digest: str, descriptor: Mapping[str, Any]) -> None:
        """Enter an artifact under the tag of its subject, for a registry without the referrers API (the
        specification's "referrers tag schema"). Two writers at once may lose one entry, as it says."""
        tag = referrers_tag(subject_digest)
        found = self.manifest(tag)
        known = found.document.get("manifests", []) if found else []
        rest = [entry for entry in known if entry.get("digest") != descriptor["digest"]]
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*rest, dict(descriptor)]}
        self.put_manifest(tag, INDEX, msgspec.json.encode(index, order="sorted"))

    # Requests

    def _url(self, path: str) -> str:
        return f"{self._connections.base()}/v2/{quote(self.name)}/{path}"

    def _ask(
        self,
        method: str,
        path: str,
        *,
        allowed: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        body: bytes | Path | None = None,
        stream: bool = False,
    ) -> Reply:
        url = self._url(path)
        return self._ask_url(method, url, allowed=allowed, headers=headers, body=body, stream=stream)

    def _ask_url(
        self,
        method: str,
        url: str,
        *,
        allowed: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        body: bytes | Path | None = None,
        stream: bool = False,
    ) -> Reply:
        retries = RETRIES
        signed_in = False
        # What the registry names outside of itself (an upload to a storage server) does not learn who we are.
        ours = urlsplit(url).netloc == urlsplit(self._connections.base()).netloc
        while True:
            sent = dict(headers or {})
            if self._authorization and ours:
                sent["Authorization"] = self._authorization
            reply = self._connections.request(method, url, headers=sent, body=body, stream=stream)
            if reply.status == 401 and ours and not signed_in:
                signed_in = True
                if self._sign_in(reply.headers.get("www-authenticate", "")):
                    reply.close()
                    continue
            if reply.status in _BUSY and retries:
                retries -= 1
                reply.close()
                time.sleep(_pause_s(reply.headers.get("retry-after", ""), RETRIES - retries))
                continue
            break
        if reply.status not in allowed:
            raise self._refused(method, url, reply)
        return reply

    def _json(self, reply: Reply) -> dict[str, Any]:
        try:
            return msgspec.json.decode(reply.body, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise RegistryError(f"{self}: the registry's answer is not valid JSON: {error}") from None

    def _refused(self, method: str, url: str, reply: Reply) -> RegistryError:
        said = _said(reply.text())
        what = f"{self.host}: {method} {urlsplit(url).path[:200]}: {reply.status}"
        if reply.status in (401, 403):
            known = "the login was refused" if self._credential else "it wants a login"
            return RegistryError(
                f"{self}: {known}{f' ({said})' if said else ''}",
                hint=f"docker login {self.host}, or give user and password in the Docker configuration",
                status=reply.status,
            )
        return RegistryError(f"{what}{f' ({said})' if said else ''}", status=reply.status)

    def _sign_in(self, challenge: str) -> bool:
        """Answer a challenge; whether there is a new answer to try."""
        scheme, _, rest = challenge.partition(" ")
        before = self._authorization
        if scheme.lower() == "basic" and self._credential is not None:
            self._authorization = _basic(self._credential)
        elif scheme.lower() == "bearer":
            fields = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', rest))
            self._authorization = f"Bearer {self._token(fields)}"
            return True
        return self._authorization != before

    def _token(self, fields: Mapping[str, str]) -> str:
        realm, service = fields.get("realm", ""), fields.get("service", "")
        scope = fields.get("scope") or f"repository:{self.name}:pull"
        self._connections.check_realm(realm)
        credential = self._credential
        if credential is not None and credential.identity_token:
            form = {
                "grant_type": "refresh_token",
                "service": service,
                "scope": scope,
                "client_id": "akashic",
                "refresh_token": credential.identity_token,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            reply = self._connections.request(
                "POST", realm, headers=headers, body=urlencode(form).encode(), stream=False
            )
        else:
            query = urlencode({"service": service, "scope": scope})
            headers = {"Authorization": _basic(credential)} if credential is not None else {}
            url = realm + ("&" if urlsplit(realm).query else "?") + query
            reply = self._connections.request("GET", url, headers=headers, body=None, stream=False)
        if reply.status != 200:
            raise self._refused("GET", realm, reply)
        answer = self._json(reply)
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise RegistryError(f"{self}: {realm} gave no token")
        return token


def referrers_tag(digest: str) -> str:
    """The tag that stands for the artifacts of an image where a registry has no referrers API."""
    return digest.replace(":", "-", 1)


def _pause_s(said: str, attempt: int) -> float:
    """How long to wait before asking again: as the registry says, but not for ever."""
    return min(float(said), RETRY_PAUSE_S_MAX) if said.isdecimal() else RETRY_PAUSE_S * attempt


def _basic(credential: Credentials) -> str:
    pair = f"{credential.username}:{credential.password}".encode()
    return f"Basic {b64encode(pair).decode()}"


def _said(text: str) -> str:
    """What a registry said about an error, in one printable line."""
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        errors = json.loads(text)["errors"]
        text = "; ".join(f"{item.get('code')}: {item.get('message')}" for item in errors)
    return re.sub(r"[^\x20-\x7e]+", " ", text).strip()[:300]
