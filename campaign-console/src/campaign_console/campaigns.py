"""Campaigns: what one is, what makes a change valid, and the table they live in.

Every change writes its activity in the same transaction, and names the revision it was based on: two
people who edit the same campaign never overwrite each other unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool

CHANNELS = ("email", "social", "search", "display", "print")
STATUSES = ("draft", "scheduled", "archived")
NAME_LENGTH_MAX = 120
AUDIENCE_LENGTH_MAX = 500
MESSAGE_LENGTH_MAX = 5_000
BUDGET_CENTS_MAX = 100_000_000_00
PAGE_SIZE = 20
ACTIVITY_SHOWN_MAX = 50


class InvalidCampaign(Exception):
    """What a person entered cannot be kept. `problems` maps a field's name to one sentence."""

    def __init__(self, problems: dict[str, str]) -> None:
        super().__init__("; ".join(problems.values()))
        self.problems = problems


class NotFound(Exception):
    """There is no such campaign or asset."""


class Conflict(Exception):
    """The campaign changed meanwhile, or its status does not allow this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """The fields that a person writes, checked."""

    name: str
    channel: str
    audience: str
    message: str
    budget_cents: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Campaign:
    """One campaign. Times are UTC; money is in cents."""

    id: int
    name: str
    channel: str
    audience: str
    message: str
    budget_cents: int
    status: str
    starts_at: datetime | None
    ends_at: datetime | None
    revision: int
    owner: str
    owner_email: str
    created_at: datetime
    updated_at: datetime

    def phase(self, now: datetime) -> str:
        """The status as people think of it: a scheduled campaign is scheduled, running, then finished."""
        if self.status != "scheduled" or self.starts_at is None or now < self.starts_at:
            return self.status
        if self.ends_at is not None and now >= self.ends_at:
            return "finished"
        return "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """One thing that happened to a campaign."""

    action: str
    detail: str
    who: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A file that belongs to a campaign; its bytes lie in the storage under `storage_key`."""

    id: int
    campaign_id: int
    name: str
    media_type: str
    size_bytes: int
    sha256: str
    storage_key: str
    created_at: datetime


def check_draft(fields: Mapping[str, Any]) -> Draft:
    """The checked fields of a form or JSON body. Raises InvalidCampaign naming each wrong field."""
    problems: dict[str, str] = {}
    name = _line(fields.get("name"))
    channel = _line(fields.get("channel"))
    audience = _line(fields.get("audience"))
    message = _text(fields.get("message")).strip()
    if not name:
        problems["name"] = "Give the campaign a name."
    elif len(name) > NAME_LENGTH_MAX:
        problems["name"] = f"A name has at most {NAME_LENGTH_MAX} characters."
    if channel not in CHANNELS:
        problems["channel"] = f"Choose one of {', '.join(CHANNELS)}."
    if len(audience) > AUDIENCE_LENGTH_MAX:
        problems["audience"] = f"The audience has at most {AUDIENCE_LENGTH_MAX} characters."
    if len(message) > MESSAGE_LENGTH_MAX:
        problems["message"] = f"The message has at most {MESSAGE_LENGTH_MAX:,} characters."
    budget_cents = _cents(_text(fields.get("budget")))
    if budget_cents is None:
        problems["budget"] = "Enter an amount such as 1250 or 1250.50, at most 100,000,000."
    if problems or budget_cents is None:
        raise InvalidCampaign(problems)
    return Draft(name=name, channel=channel, audience=audience, message=message, budget_cents=budget_cents)


def check_schedule(fields: Mapping[str, Any], *, now: datetime) -> tuple[datetime, datetime | None]:
    """The start and end (UTC) of a form or JSON body. Raises InvalidCampaign naming each wrong field."""
    problems: dict[str, str] = {}
    starts_at = _moment(_text(fields.get("starts_at")))
    ends_text = _text(fields.get("ends_at")).strip()
    ends_at = _moment(ends_text) if ends_text else None
    if starts_at is None:
        problems["starts_at"] = "Enter a date and time for the start."
    elif starts_at <= now:
        problems["starts_at"] = "The start must lie in the future."
    if ends_text and ends_at is None:
        problems["ends_at"] = "Enter a date and time for the end, or leave it empty."
    elif ends_at is not None and starts_at is not None and ends_at <= starts_at:
        problems["ends_at"] = "The end must come after the start."
    if problems or starts_at is None:
        raise InvalidCampaign(problems)
    return starts_at, ends_at


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    # PostgreSQL's text cannot hold NUL.
    return str(value).replace("\0", "")


def _line(value: Any) -> str:
    return " ".join(_text(value).split())


def _cents(text: str) -> int | None:
    cleaned = text.strip().replace(",", "")
    if not cleaned:
        return 0
    whole, _, fraction = cleaned.partition(".")
    if not (whole.isascii() and whole.isdigit() and len(whole) <= 10 and len(fraction) <= 2):
        return None
    if fraction and not (fraction.isascii() and fraction.isdigit()):
        return None
    cents = int(whole) * 100 + int(fraction.ljust(2, "0") or 0)
    return cents if cents <= BUDGET_CENTS_MAX else None


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.strip())
        # A browser's datetime-local field has no zone; the console works in UTC and says so.
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_COLUMNS = (
    "c.id, c.name, c.channel, c.audience, c.message, c.budget_cents, c.status, c.starts_at, c.ends_at,"
    " c.revision, a.name AS owner, a.email AS owner_email, c.created_at, c.updated_at"
)
_FROM = "FROM campaigns c JOIN accounts a ON a.id = c.created_by"


class Campaigns:
    """The campaigns, activity and assets tables."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def page(
        self, *, status: str | None = None, search: str = "", page: int = 1
    ) -> tuple[list[Campaign], int]:
        """One page (newest change first; without a status: all that is not archived) and the total."""
        condition = "c.status = %(status)s" if status else "c.status <> 'archived'"
        if search:
            condition += " AND (c.name ILIKE %(like)s OR c.audience ILIKE %(like)s)"
        escaped = search.replace("\0", "").replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        values = {
            "status": status,
            "like": f"%{escaped}%",
            "limit": PAGE_SIZE,
            "offset": (page - 1) * PAGE_SIZE,
        }
        # Only constants of this module become part of the statement; values travel beside it.
        listing = (
            f"SELECT {_COLUMNS} {_FROM} WHERE {condition}"  # nosec B608
            " ORDER BY c.updated_at DESC, c.id DESC LIMIT %(limit)s OFFSET %(offset)s"
        )
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=class_row(Campaign))
            await cursor.execute(listing.encode(), values)
            found = await cursor.fetchall()
            total = await connection.execute(f"SELECT count(*) {_FROM} WHERE {condition}".encode(), values)  # nosec B608
            row = await total.fetchone()
        return found, int(row[0]) if row else 0

    async def counts(self) -> dict[str, int]:
        """How many campaigns there are of each status."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute("SELECT status, count(*) FROM campaigns GROUP BY status")
            rows = await cursor.fetchall()
        return dict.fromkeys(STATUSES, 0) | {row[0]: int(row[1]) for row in rows}

    async def get(self, campaign_id: int) -> Campaign:
        """Raises NotFound."""
        async with self._pool.connection() as connection:
            return await _get(connection, campaign_id)

    async def create(self, draft: Draft, *, account_id: int) -> Campaign:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "INSERT INTO campaigns (name, channel, audience, message, budget_cents, created_by)"
                " VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
                (draft.name, draft.channel, draft.audience, draft.message, draft.budget_cents, account_id),
            )
            row = await cursor.fetchone()
            assert row is not None
            await _record(connection, row[0], account_id, "created")
            return await _get(connection, row[0])

    async def edit(self, campaign_id: int, draft: Draft, *, revision: int, account_id: int) -> Campaign:
        """Raises NotFound, or Conflict when it is archived or no longer at `revision`."""
        async with self._pool.connection() as connection:
            before = await _get(connection, campaign_id, lock=True)
            if before.status == "archived":
                raise Conflict("An archived campaign cannot be edited.")
            if before.revision != revision:
                raise Conflict(
                    "Somebody else changed this campaign meanwhile."
                    " Look at it again, then repeat your change."
                )
            changed = [
                name
                for name in ("name", "channel", "audience", "message", "budget_cents")
                if getattr(before, name) != getattr(draft, name)
            ]
            if not changed:
                return before
            await connection.execute(
                "UPDATE campaigns SET name = %s, channel = %s, audience = %s, message = %s,"
                " budget_cents = %s, revision = revision + 1, updated_at = now() WHERE id = %s",
                (draft.name, draft.channel, draft.audience, draft.message, draft.budget_cents, campaign_id),
            )
            detail = ", ".join(name.removesuffix("_cents") for name in changed)
            await _record(connection, campaign_id, account_id, "edited", detail)
            return await _get(connection, campaign_id)

    async def schedule(
        self, campaign_id: int, starts_at: datetime, ends_at: datetime | None, *, account_id: int
    ) -> Campaign:
        """Raises NotFound, or Conflict when it is archived."""
        async with self._pool.connection() as connection:
            before = await _get(connection, campaign_id, lock=True)
            if before.status == "archived":
                raise Conflict("An archived campaign cannot be scheduled.")
            await connection.execute(
                "UPDATE campaigns SET status = 'scheduled', starts_at = %s, ends_at = %s,"
                " revision = revision + 1, updated_at = now() WHERE id = %s",
                (starts_at, ends_at, campaign_id),
            )
            action = "rescheduled" if before.status == "scheduled" else "scheduled"
            await _record(connection, campaign_id, account_id, action, f"for {starts_at:%d %B %Y, %H:%M} UTC")
            return await _get(connection, campaign_id)

    async def archive(self, campaign_id: int, *, account_id: int) -> Campaign:
        """Archiving twice changes nothing. Raises NotFound."""
        async with self._pool.connection() as connection:
            before = await _get(connection, campaign_id, lock=True)
            if before.status == "archived":
                return before
            await connection.execute(
                "UPDATE campaigns SET status = 'archived', revision = revision + 1, updated_at = now()"
                " WHERE id = %s",
                (campaign_id,),
            )
            await _record(connection, campaign_id, account_id, "archived")
            return await _get(connection, campaign_id)

    async def activity(self, campaign_id: int) -> list[Activity]:
        """The newest first, at most ACTIVITY_SHOWN_MAX. Raises NotFound."""
        async with self._pool.connection() as connection:
            await _get(connection, campaign_id)
            cursor = connection.cursor(row_factory=class_row(Activity))
            await cursor.execute(
                "SELECT e.action, e.detail, coalesce(a.name, 'Campaign Console') AS who, e.at FROM activity e"
                " LEFT JOIN accounts a ON a.id = e.account_id WHERE e.campaign_id = %s"
                " ORDER BY e.id DESC LIMIT %s",
                (campaign_id, ACTIVITY_SHOWN_MAX),
            )
            return await cursor.fetchall()

    async def add_asset(
        self,
        campaign_id: int,
        *,
        name: str,
        media_type: str,
        size_bytes: int,
        sha256: str,
        storage_key: str,
        account_id: int,
    ) -> Asset:
        """Raises NotFound, or Conflict when the campaign is archived."""
        async with self._pool.connection() as connection:
            campaign = await _get(connection, campaign_id, lock=True)
            if campaign.status == "archived":
                raise Conflict("An archived campaign takes no more assets.")
            cursor = connection.cursor(row_factory=class_row(Asset))
            await cursor.execute(
                "INSERT INTO assets"
                " (campaign_id, name, media_type, size_bytes, sha256, storage_key, created_by)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s)"
                " RETURNING id, campaign_id, name, media_type, size_bytes, sha256, storage_key, created_at",
                (campaign_id, name, media_type, size_bytes, sha256, storage_key, account_id),
            )
            asset = await cursor.fetchone()
            assert asset is not None
            await _record(connection, campaign_id, account_id, "uploaded", name)
            return asset

    async def assets(self, campaign_id: int) -> list[Asset]:
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=class_row(Asset))
            await cursor.execute(
                "SELECT id, campaign_id, name, media_type, size_bytes, sha256, storage_key, created_at"
                " FROM assets WHERE campaign_id = %s ORDER BY id DESC",
                (campaign_id,),
            )
            return await cursor.fetchall()

    async def asset(self, campaign_id: int, asset_id: int) -> Asset:
        """Raises NotFound, also when the asset belongs to another campaign."""
        for asset in await self.assets(campaign_id):
            if asset.id == asset_id:
                return asset
        raise NotFound("There is no such asset.")


async def _get(connection: AsyncConnection[Any], campaign_id: int, *, lock: bool = False) -> Campaign:
    statement = f"SELECT {_COLUMNS} {_FROM} WHERE c.id = %s" + (" FOR UPDATE OF c" if lock else "")  # nosec B608
    cursor = connection.cursor(row_factory=class_row(Campaign))
    await cursor.execute(statement.encode(), (campaign_id,))
    campaign = await cursor.fetchone()
    if campaign is None:
        raise NotFound("There is no such campaign.")
    return campaign


async def _record(
    connection: AsyncConnection[Any], campaign_id: int, account_id: int, action: str, detail: str = ""
) -> None:
    await connection.execute(
        "INSERT INTO activity (campaign_id, account_id, action, detail) VALUES (%s, %s, %s, %s)",
        (campaign_id, account_id, action, detail),
    )
