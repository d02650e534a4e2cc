"""Who may ask for what: a token for each job, and signed addresses for its uploads and downloads.

The key lives in this process only, and a token is good only while its job is open: both die with the job.
Source: GitHub's toolkit (`getBackendIdsFromToken`: the `scp` claim), RFC 7515 and 7519, and Azure's shared
access signatures, whose names (`se`, `sp`, `sig`) the addresses use.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from akashic.journal.caches import CacheScopes
from akashic.toolkit.http import HttpError

Use = Literal["results", "id-token"]
_SCOPES: dict[Use, str] = {"results": "Actions.Results", "id-token": "Actions.IdToken"}
SIGNED_S = 3600.0
"""How long a signed address is good for, as long as its job lives."""
SKEW_S = 60.0
CACHE_READ, CACHE_WRITE = 1, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class JobGrant:
    """What one attempt of one job may do. `id` and `run_backend_id` are what the toolkit calls backend ids:
    plain text with no meaning. `workflow_run_id` is GITHUB_RUN_ID. `claims` are those of its ID tokens; None
    when it gets none."""

    id: str
    run_backend_id: str
    run_id: str
    workflow_run_id: str
    run_attempt: int
    job_key: str
    scopes: CacheScopes
    expires_at: float
    claims: Mapping[str, Any] | None = None
    refusal: str = ""
    """Why it gets none although it may; said when it asks for one."""


class Tokens:
    """Makes and checks tokens. Thread-safe."""

    def __init__(self, *, now: Callable[[], float]) -> None:
        self._key = os.urandom(32)
        self._now = now
        self._grants: dict[str, JobGrant] = {}
        self._lock = threading.Lock()

    def open(self, grant: JobGrant) -> None:
        """From now on the grant's tokens are good."""
        with self._lock:
            self._grants[grant.id] = grant

    def close(self, grant: JobGrant) -> None:
        """From now on they are not."""
        with self._lock:
            self._grants.pop(grant.id, None)

    def issue(self, grant: JobGrant, use: Use) -> str:
        """A JWT that the toolkit can read its ids from."""
        now = int(self._now())
        claims: dict[str, Any] = {
            "scp": f"{_SCOPES[use]}:{grant.run_backend_id}:{grant.id}",
            "iss": "akashic",
            "jti": os.urandom(8).hex(),
            "nbf": now - int(SKEW_S),
            "iat": now,
            "exp": int(grant.expires_at),
        }
        if use == "results":
            # BuildKit's cache looks here for the scopes that it may use.
            claims["ac"] = msgspec.json.encode(
                [
                    {
                        "Scope": ref,
                        "Permission": CACHE_READ | (CACHE_WRITE if ref == grant.scopes.write else 0),
                    }
                    for ref in grant.scopes.read
                ]
            ).decode()
        text = f"{encode_json({'alg': 'HS256', 'typ': 'JWT'})}.{encode_json(claims)}"
        return f"{text}.{encode(self._mac(text))}"

    def grant_of(self, headers: Mapping[str, str], use: Use) -> JobGrant:
        """The job that a request comes from. Raises HttpError (401)."""
        scheme, _, token = headers.get("authorization", "").partition(" ")
        text, _, signature = token.strip().rpartition(".")
        if scheme.lower() != "bearer" or not hmac.compare_digest(encode(self._mac(text)), signature):
            raise HttpError(401, "a token of a running job is needed", "unauthenticated")
        claims = msgspec.json.decode(decode(text.partition(".")[2]))
        scope, _, ids = claims["scp"].partition(":")
        with self._lock:
            grant = self._grants.get(ids.partition(":")[2])
        if grant is None or scope != _SCOPES[use] or claims["exp"] <= self._now():
            raise HttpError(401, "the token is not good for this, or its job has ended", "unauthenticated")
        return grant

    def sign(self, origin: str, grant: JobGrant, name: str, permission: Literal["r", "w"]) -> str:
        """An address of a blob. It has three segments: the Azure client takes an account, a container and a
        name from it where the host is a number, as here."""
        expires = str(int(self._now() + SIGNED_S))
        path = f"/blob/{grant.id}/{name}"
        return f"{origin}{path}?se={expires}&sp={permission}&sig={self._signature(path, expires, permission)}"

    def signed_grant(self, path: str, grant_id: str, query: Mapping[str, str], permission: str) -> JobGrant:
        """The job that a signed address belongs to. Raises HttpError (403)."""
        expires = query.get("se", "")
        signature = self._signature(path, expires, permission)
        with self._lock:
            grant = self._grants.get(grant_id)
        # The signature is checked first and in constant time: an address tells nothing before it is.
        good = hmac.compare_digest(signature.encode(), query.get("sig", "").encode())
        good = good and query.get("sp") == permission
        if not good or grant is None or int(expires) <= self._now():
            raise HttpError(403, "the address is not signed for this, or has expired", "AuthenticationFailed")
        return grant

    def _signature(self, path: str, expires: str, permission: str) -> str:
        return encode(self._mac(f"{permission}\n{expires}\n{path}"))

    def _mac(self, text: str) -> bytes:
        return hmac.digest(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)


def encode(data: bytes) -> str:
    """base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """The opposite."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode_json(value: Any) -> str:
    """A part of a JWT."""
    return encode(msgspec.json.encode(value))
