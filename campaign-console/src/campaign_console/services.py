"""Everything a request may need, built once from the settings and closed in order."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from campaign_console import migrations, resources
from campaign_console.accounts import Accounts
from campaign_console.campaigns import Campaigns
from campaign_console.metrics import Metrics
from campaign_console.ports.billing import Billing, open_billing
from campaign_console.ports.mail import Mail, open_mail
from campaign_console.ports.storage import Storage, open_storage
from campaign_console.ports.suggestions import Suggestions, open_suggestions
from campaign_console.rate_limits import RateLimits
from campaign_console.sessions import Sessions
from campaign_console.settings import Settings

_log = logging.getLogger(__name__)
_CHECK_TIMEOUT_S = 2.0
_CACHE_TIMEOUT_S = 5.0
# How long a page waits for a free database connection before it says that the service is busy.
_POOL_WAIT_S = 5.0


@dataclass(slots=True, kw_only=True)
class Services:
    """The parts of the running service."""

    settings: Settings
    pool: AsyncConnectionPool
    cache: Redis
    accounts: Accounts
    campaigns: Campaigns
    sessions: Sessions
    limits: RateLimits
    storage: Storage
    mail: Mail
    suggestions: Suggestions
    billing: Billing
    metrics: Metrics
    schema_wanted: int
    draining: bool = False
    _background: set[asyncio.Task[None]] = field(default_factory=set)

    @classmethod
    def build(cls, settings: Settings) -> Services:
        """Nothing is connected yet; `open` does that."""
        pool = AsyncConnectionPool(
            settings.database_url,
            min_size=1,
            max_size=settings.database_pool_max,
            timeout=_POOL_WAIT_S,
            kwargs={"connect_timeout": 5, "application_name": "campaign-console"},
            # A restarted server leaves dead connections behind; they are found before a page sees them.
            check=AsyncConnectionPool.check_connection,
            open=False,
        )
        cache = Redis.from_url(
            settings.redis_url,
            socket_timeout=_CACHE_TIMEOUT_S,
            socket_connect_timeout=_CACHE_TIMEOUT_S,
            retry=Retry(NoBackoff(), 1),
            # RESP2 and no CLIENT SETINFO: the same words for Redis 6.2 and 7.
            protocol=2,
            driver_info=None,
        )
        return cls(
            settings=settings,
            pool=pool,
            cache=cache,
            accounts=Accounts(pool),
            campaigns=Campaigns(pool),
            sessions=Sessions(
                cache, secret=settings.session_secret, previous_secret=settings.session_secret_previous
            ),
            limits=RateLimits(cache),
            storage=open_storage(settings.storage_url),
            mail=open_mail(settings.mail_url, sender=settings.mail_from),
            suggestions=open_suggestions(settings.openai_api_key, model=settings.openai_model),
            billing=open_billing(settings.stripe_secret_key),
            metrics=Metrics(version=settings.version, commit=settings.commit),
            schema_wanted=len(migrations.read(resources.folder("migrations"))),
        )

    async def open(self) -> None:
        """Start connecting; a database that is still away is no reason to die, only to be unhealthy."""
        await self.pool.open(wait=False)

    async def close(self) -> None:
        """Finish what was begun in the background, then let go of database and cache."""
        if self._background:
            await asyncio.wait(self._background, timeout=self.settings.shutdown_timeout_s)
        await self.pool.close()
        await self.cache.aclose()

    def in_background(self, work: Coroutine[Any, Any, None], *, what: str) -> None:
        """Do it after the answer; a failure is logged and harms nobody's request. Shutdown waits for it."""

        async def guarded() -> None:
            try:
                await work
            except Exception:  # the boundary: whatever a provider's library raises ends here
                _log.exception("%s failed", what)

        task = asyncio.create_task(guarded())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def check_database(self) -> str:
        """`up`, `behind` (migrations are missing) or `down`."""
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_S), self.pool.connection() as connection:
                cursor = await connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL")
                row = await cursor.fetchone()
                if not (row and row[0]):
                    return "behind"
                cursor = await connection.execute("SELECT coalesce(max(number), 0) FROM schema_migrations")
                row = await cursor.fetchone()
                return "up" if row and row[0] >= self.schema_wanted else "behind"
        except (psycopg.Error, OSError, TimeoutError):
            return "down"

    async def check_cache(self) -> str:
        """`up` or `down`."""
        try:
            async with asyncio.timeout(_CHECK_TIMEOUT_S):
                await self.cache.get("health")
            return "up"
        except (RedisError, OSError, TimeoutError):
            return "down"
