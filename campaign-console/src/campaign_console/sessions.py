"""Sessions live in Redis; the browser holds a random token and nothing else.

Redis is asked for an HMAC of the token, never the token itself: who can read the cache cannot take over a
session. The HMAC's key is SESSION_SECRET; SESSION_SECRET_PREVIOUS keeps sessions alive while it is rotated.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass

from redis.asyncio import Redis

LIFETIME_S = 12 * 60 * 60
_TOKEN_LENGTH_MAX = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Who is signed in with which token."""

    token: str
    account_id: int


class Sessions:
    """Creates, finds and ends sessions."""

    def __init__(self, cache: Redis, *, secret: str, previous_secret: str | None = None) -> None:
        self._cache = cache
        self._keys = [secret.encode()] + ([previous_secret.encode()] if previous_secret else [])

    async def create(self, account_id: int) -> Session:
        """A new session with a token of its own, valid for LIFETIME_S after its last use."""
        token = secrets.token_urlsafe(32)
        await self._cache.set(
            self._name(token, self._keys[0]), json.dumps({"account": account_id}), ex=LIFETIME_S
        )
        return Session(token=token, account_id=account_id)

    async def find(self, token: str | None) -> Session | None:
        """The session of this token, or None when there is none (any more)."""
        if not token or len(token) > _TOKEN_LENGTH_MAX:
            return None
        for key in self._keys:
            value = await self._cache.getex(self._name(token, key), ex=LIFETIME_S)
            if value is not None:
                return Session(token=token, account_id=int(json.loads(value)["account"]))
        return None

    async def end(self, token: str) -> None:
        """End the session; ending it twice changes nothing."""
        await self._cache.delete(*(self._name(token, key) for key in self._keys))

    def csrf_token(self, token: str) -> str:
        """What a form of this session must carry. Not derivable without the secret."""
        return _mac(self._keys[0], f"csrf:{token}")

    def csrf_valid(self, token: str, presented: str) -> bool:
        """Compares in constant time, and accepts the previous secret's tokens too."""
        return any(
            hmac.compare_digest(_mac(key, f"csrf:{token}").encode(), presented.encode()) for key in self._keys
        )

    def _name(self, token: str, key: bytes) -> str:
        return f"session:{_mac(key, f'session:{token}')}"


def _mac(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
