"""Which caches a job may read and write. Source: GitHub's "Restrictions for accessing a cache"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from akashic.journal.caches import CacheScopes


def cache_scopes(
    github: Mapping[str, Any], trust: Literal["trusted", "fork"], base_ref_scope: str = ""
) -> CacheScopes:
    """Scopes are full refs. A job reads its own ref's caches, then its base branch's, then the default
    branch's; it writes only its own ref's. A fork's job writes nothing, and neither does
    `pull_request_target`: it runs in the base branch's scope for a change from outside, which is how caches
    were poisoned (both are stricter than GitHub)."""
    event = github.get("event") or {}
    own = str(github.get("ref") or "")
    base = base_ref_scope or str(github.get("base_ref") or "")
    default = str((event.get("repository") or {}).get("default_branch") or "")
    read: list[str] = []
    for ref in (own, _branch(base), _branch(default)):
        if ref and ref not in read:
            read.append(ref)
    writes = bool(own) and trust == "trusted" and github.get("event_name") != "pull_request_target"
    return CacheScopes(read=tuple(read), write=own if writes else None)


def _branch(name: str) -> str:
    return name if not name or name.startswith("refs/") else f"refs/heads/{name}"
