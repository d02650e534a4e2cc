"""Sessions and rate limits against a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from campaign_console.rate_limits import Limit, RateLimits
from campaign_console.sessions import LIFETIME_S, Sessions

pytestmark = pytest.mark.anyio
OLD, NEW = "o" * 32, "n" * 32


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Redis]:
    cache = Redis.from_url(url, protocol=2)
    try:
        yield cache
    finally:
        await cache.aclose()


async def test_a_session_lives_until_it_is_ended(cache_url: str) -> None:
    async with opened(cache_url) as cache:
        sessions = Sessions(cache, secret=NEW)
        session = await sessions.create(7)
        found = await sessions.find(session.token)
        assert found is not None and found.account_id == 7
        await sessions.end(session.token)
        await sessions.end(session.token)
        assert await sessions.find(session.token) is None


async def test_the_cache_never_sees_a_token(cache_url: str) -> None:
    async with opened(cache_url) as cache:
        session = await Sessions(cache, secret=NEW).create(7)
        keys = await cache.keys("*")
        assert len(keys) == 1 and session.token.encode() not in keys[0]
        assert session.token.encode() not in await cache.get(keys[0])
        assert 0 < await cache.ttl(keys[0]) <= LIFETIME_S


@pytest.mark.parametrize("token", [None, "", "x", "x" * 10_000, "session:*"])
async def test_a_made_up_token_is_nobody(cache_url: str, token: str | None) -> None:
    async with opened(cache_url) as cache:
        assert await Sessions(cache, secret=NEW).find(token) is None


async def test_sessions_survive_the_rotation_of_the_secret_and_not_its_removal(cache_url: str) -> None:
    async with opened(cache_url) as cache:
        before = Sessions(cache, secret=OLD)
        session = await before.create(7)
        csrf_token = before.csrf_token(session.token)
        during = Sessions(cache, secret=NEW, previous_secret=OLD)
        assert await during.find(session.token) is not None
        assert during.csrf_valid(session.token, csrf_token)
        after = Sessions(cache, secret=NEW)
        assert await after.find(session.token) is None
        assert not after.csrf_valid(session.token, csrf_token)


async def test_a_form_token_belongs_to_one_session(cache_url: str) -> None:
    async with opened(cache_url) as cache:
        sessions = Sessions(cache, secret=NEW)
        one, two = await sessions.create(1), await sessions.create(1)
        assert not sessions.csrf_valid(two.token, sessions.csrf_token(one.token))
        assert not sessions.csrf_valid(one.token, "ü")


async def test_a_limit_holds_for_many_at_once_and_can_be_forgiven(cache_url: str) -> None:
    async with opened(cache_url) as cache:
        limits, limit = RateLimits(cache), Limit(name="t", count=5, window_s=60)
        waits = await asyncio.gather(*(limits.take(limit, "me") for _ in range(20)))
        assert sum(wait == 0 for wait in waits) == 5
        assert all(0 <= wait <= 60 for wait in waits)
        assert await limits.take(limit, "you") == 0
        await limits.forgive(limit, "you")
        assert all([await limits.take(limit, "you") == 0 for _ in range(5)])


async def test_the_window_does_not_move_with_each_try(cache_url: str) -> None:
    async with opened(cache_url) as cache:
        limits, limit = RateLimits(cache), Limit(name="t", count=1, window_s=1)
        assert await limits.take(limit, "me") == 0
        for _ in range(5):
            assert await limits.take(limit, "me") == 1
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.7)
        assert await limits.take(limit, "me") == 0
