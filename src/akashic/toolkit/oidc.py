"""ID tokens: which claims a job's token has, and the documents that a relying party reads.

Source: GitHub's "OpenID Connect reference" (claims, subjects), OpenID Connect Discovery 1.0, RFC 7517, 7519.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from akashic.engine.requests import JobRequest
from akashic.errors import AkashicError
from akashic.toolkit.keys import SigningKey
from akashic.toolkit.tokens import encode, encode_json

TOKEN_S = 300
AUDIENCE_CHARACTERS_MAX = 1024
_REPOSITORY = re.compile(r"[A-Za-z0-9._-]+/[A-Za-z0-9._-]+")
_COPIED = (
    "actor",
    "actor_id",
    "base_ref",
    "event_name",
    "head_ref",
    "ref",
    "ref_type",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
    "repository_visibility",
    "run_id",
    "run_number",
    "sha",
    "workflow",
    "workflow_ref",
    "workflow_sha",
)
CLAIMS = (
    *("sub", "aud", "exp", "iat", "iss", "jti", "nbf"),
    *_COPIED,
    *(
        "environment",
        "job_workflow_ref",
        "job_workflow_sha",
        "ref_protected",
        "run_attempt",
        "runner_environment",
    ),
)


def wants_tokens(request: JobRequest) -> bool:
    """Whether the job was given `id-token: write`. A fork's job never gets a token, whatever it says."""
    permissions = request.permissions
    if request.trust != "trusted":
        return False
    if isinstance(permissions, Mapping):
        return permissions.get("id-token") == "write"
    return permissions == "write-all"


def job_claims(request: JobRequest) -> dict[str, str]:
    """What is said of a job, the standard claims apart. Raises AkashicError when its subject would not be
    unambiguous."""
    github = request.github
    claims = {name: _text(github.get(name)) for name in _COPIED if github.get(name) is not None}
    claims |= {
        "ref_protected": _text(github.get("ref_protected") or False),
        "run_attempt": str(request.run_attempt),
        "runner_environment": "self-hosted",
        "job_workflow_ref": _workflow_ref(request),
        "job_workflow_sha": _text(github.get("workflow_sha") or github.get("sha") or ""),
    }
    if request.environment:
        claims["environment"] = request.environment
    claims["sub"] = subject(request)
    return claims


def subject(request: JobRequest) -> str:
    """`repo:OWNER/NAME:` and what the job is about: its environment, a pull request, or the ref.

    No two jobs that differ in these have one subject: a colon in an environment's name is written `%3A`, as
    on GitHub, and a percent sign `%25`. Refs hold no colon. Raises AkashicError for a repository's name that
    could be taken for more."""
    repository = str(request.github.get("repository") or "")
    if not _REPOSITORY.fullmatch(repository):
        raise AkashicError(f"an ID token needs a repository like owner/name, not {repository!r}")
    if request.environment:
        name = request.environment.replace("%", "%25").replace(":", "%3A")
        return f"repo:{repository}:environment:{name}"
    if str(request.github.get("event_name")) in ("pull_request", "pull_request_target"):
        return f"repo:{repository}:pull_request"
    ref = str(request.github.get("ref") or "")
    if not ref or ":" in ref:
        raise AkashicError(f"an ID token needs a ref, not {ref!r}")
    return f"repo:{repository}:ref:{ref}"


def id_token(key: SigningKey, claims: Mapping[str, Any], *, issuer: str, audience: str, now: float) -> str:
    """A signed token. `audience` empty is GitHub's default: the address of the repository's owner."""
    if len(audience) > AUDIENCE_CHARACTERS_MAX:
        raise AkashicError(f"the audience is longer than {AUDIENCE_CHARACTERS_MAX} characters")
    owner = str(claims.get("repository_owner") or str(claims.get("repository", "")).partition("/")[0])
    issued = int(now)
    payload = {
        **claims,
        "jti": encode(os.urandom(16)),
        "aud": audience or f"https://github.com/{owner}",
        "iss": issuer,
        "nbf": issued - 60,
        "iat": issued,
        "exp": issued + TOKEN_S,
    }
    text = f"{encode_json({'alg': 'RS256', 'typ': 'JWT', 'kid': key.id})}.{encode_json(payload)}"
    return f"{text}.{encode(key.sign(text.encode()))}"


def discovery(issuer: str) -> dict[str, Any]:
    """`/.well-known/openid-configuration`."""
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/.well-known/jwks",
        "subject_types_supported": ["public", "pairwise"],
        "response_types_supported": ["id_token"],
        "claims_supported": list(CLAIMS),
        "id_token_signing_alg_values_supported": ["RS256"],
        "scopes_supported": ["openid"],
    }


def _workflow_ref(request: JobRequest) -> str:
    """Where the job itself is written: of a called workflow that one, else the workflow's own."""
    own = str(request.github.get("workflow_ref") or "")
    path, _, ref = own.partition("@")
    if not request.workflow_path or path.endswith(f"/{request.workflow_path}"):
        return own
    if "@" in request.workflow_path:
        return request.workflow_path
    return f"{request.github.get('repository')}/{request.workflow_path}@{ref}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
