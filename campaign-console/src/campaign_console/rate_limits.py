"""Limits that hold for all replicas together: fixed windows, counted in Redis."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from redis.asyncio import Redis


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """At most `count` in `window_s` seconds."""

    name: str
    count: int
    window_s: int


# Five wrong passwords for one address from one place; fifty for all addresses from one place.
SIGN_IN_ADDRESS = Limit(name="sign-in-address", count=5, window_s=300)
SIGN_IN_CLIENT = Limit(name="sign-in-client", count=50, window_s=300)
CHANGES = Limit(name="changes", count=120, window_s=60)


class RateLimits:
    """Counts attempts. A subject (an address, an account) is stored as a hash only."""

    def __init__(self, cache: Redis) -> None:
        self._cache = cache

    async def take(self, limit: Limit, subject: str) -> int:
        """Count one attempt. Returns 0 when it is allowed, else the seconds until the window ends."""
        key = _key(limit, subject)
        async with self._cache.pipeline(transaction=True) as pipeline:
            # SET … NX before INCR: the window's end is set by the first attempt and never moves.
            pipeline.set(key, 0, ex=limit.window_s, nx=True)
            pipeline.incr(key)
            pipeline.ttl(key)
            _, count, ttl_s = await pipeline.execute()
        return 0 if count <= limit.count else max(1, int(ttl_s))

    async def forgive(self, limit: Limit, subject: str) -> None:
        """Take one attempt back, because it turned out to be a good one."""
        key = _key(limit, subject)
        if await self._cache.decr(key) <= 0:
            await self._cache.delete(key)


def _key(limit: Limit, subject: str) -> str:
    return f"limit:{limit.name}:{hashlib.sha256(subject.encode()).hexdigest()[:32]}"
