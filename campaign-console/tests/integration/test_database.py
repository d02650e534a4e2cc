"""Migrations, seed and campaigns against a real PostgreSQL."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from campaign_console import accounts, migrations, resources, seeding
from campaign_console.campaigns import Campaigns, Conflict, Draft, NotFound

DRAFT = Draft(name="Autumn", channel="email", audience="Everyone", message="Hello", budget_cents=100)
START = datetime(2030, 1, 1, tzinfo=UTC)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[AsyncConnectionPool]:
    async with AsyncConnectionPool(url, min_size=1, max_size=4, open=False) as pool:
        yield pool


def test_several_replicas_may_migrate_at_once(database_url: str) -> None:
    folder = resources.folder("migrations")
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: migrations.apply(database_url, folder), range(4)))
    assert sorted(len(applied) for applied in done) == [0, 0, 0, 3]


def test_an_edited_migration_is_refused(migrated_url: str, tmp_path: Path) -> None:
    shutil.copytree(resources.folder("migrations"), tmp_path / "migrations")
    path = tmp_path / "migrations" / "0002_campaigns.sql"
    path.write_text(path.read_text() + "-- harmless\n")
    with pytest.raises(migrations.MigrationError, match="0002_campaigns"):
        migrations.apply(migrated_url, tmp_path / "migrations")


def test_a_failing_migration_leaves_nothing_behind(migrated_url: str, tmp_path: Path) -> None:
    shutil.copytree(resources.folder("migrations"), tmp_path / "migrations")
    (tmp_path / "migrations" / "0004_broken.sql").write_text("CREATE TABLE half (id int); SELECT 1/0;")
    with pytest.raises(psycopg.Error):
        migrations.apply(migrated_url, tmp_path / "migrations")
    with psycopg.connect(migrated_url) as connection:
        assert connection.execute("SELECT to_regclass('half')").fetchone() == (None,)
        assert connection.execute("SELECT max(number) FROM schema_migrations").fetchone() == (3,)


def test_seeding_twice_adds_nothing(migrated_url: str) -> None:
    folder = resources.folder("seed")
    assert seeding.seed(migrated_url, folder, password="x" * 12) == (2, 5)
    assert seeding.seed(migrated_url, folder, password="x" * 12) == (0, 0)


@pytest.mark.anyio
async def test_an_account_signs_in_whatever_the_case_of_its_address(migrated_url: str) -> None:
    accounts.create(
        migrated_url, email="Kim@Example.com", name="Kim", role="viewer", password="first password"
    )
    accounts.create(
        migrated_url, email="kim@example.com", name="Kim B", role="editor", password="other password"
    )
    async with opened(migrated_url) as pool:
        table = accounts.Accounts(pool)
        found = await table.authenticate("KIM@example.com", "other password")
        assert found is not None and found.can_edit and found.initials == "KB"
        assert await table.authenticate("kim@example.com", "first password") is None
        assert await table.authenticate("nobody@example.com", "other password") is None
        assert await table.find(999) is None


@pytest.mark.anyio
async def test_every_change_leaves_its_activity(seeded_url: str) -> None:
    async with opened(seeded_url) as pool:
        table = Campaigns(pool)
        campaign = await table.create(DRAFT, account_id=1)
        changed = Draft(name="Winter", channel="email", audience="Everyone", message="Hello", budget_cents=5)
        await table.edit(campaign.id, changed, revision=1, account_id=1)
        await table.schedule(campaign.id, START, None, account_id=2)
        await table.schedule(campaign.id, START, START + timedelta(days=1), account_id=2)
        await table.archive(campaign.id, account_id=1)
        await table.archive(campaign.id, account_id=1)
        feed = await table.activity(campaign.id)
        assert [entry.action for entry in feed] == [
            "archived",
            "rescheduled",
            "scheduled",
            "edited",
            "created",
        ]
        assert feed[3].detail == "name, budget"
        assert feed[1].who == "Sam Okafor"


@pytest.mark.anyio
async def test_two_people_never_overwrite_each_other(seeded_url: str) -> None:
    async with opened(seeded_url) as pool:
        table = Campaigns(pool)
        campaign = await table.create(DRAFT, account_id=1)
        drafts = [
            Draft(name=f"Name {n}", channel="email", audience="", message="", budget_cents=n)
            for n in range(4)
        ]
        results = await asyncio.gather(
            *(table.edit(campaign.id, draft, revision=1, account_id=1) for draft in drafts),
            return_exceptions=True,
        )
        assert sum(isinstance(result, Conflict) for result in results) == 3
        assert (await table.get(campaign.id)).revision == 2


@pytest.mark.anyio
async def test_an_archived_campaign_stays_as_it_is(seeded_url: str) -> None:
    async with opened(seeded_url) as pool:
        table = Campaigns(pool)
        campaign = await table.archive((await table.create(DRAFT, account_id=1)).id, account_id=1)
        with pytest.raises(Conflict):
            await table.edit(campaign.id, DRAFT, revision=campaign.revision, account_id=1)
        with pytest.raises(Conflict):
            await table.schedule(campaign.id, START, None, account_id=1)
        with pytest.raises(NotFound):
            await table.get(999_999)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("search", "found"), [("spring", 1), ("%", 0), ("_", 0), ("' OR 1=1 --", 0), ("\0\\", 0)]
)
async def test_a_search_is_text_and_nothing_else(seeded_url: str, search: str, found: int) -> None:
    async with opened(seeded_url) as pool:
        campaigns, total = await Campaigns(pool).page(search=search)
        assert (len(campaigns), total) == (found, found)


@pytest.mark.anyio
async def test_pages_hold_twenty_each(seeded_url: str) -> None:
    async with opened(seeded_url) as pool:
        table = Campaigns(pool)
        for _ in range(21):
            await table.create(DRAFT, account_id=1)
        first, total = await table.page(status="draft")
        second, _ = await table.page(status="draft", page=2)
        assert (len(first), len(second), total) == (20, 3, 23)
        assert not {c.id for c in first} & {c.id for c in second}
        assert await table.counts() == {"draft": 23, "scheduled": 2, "archived": 1}
