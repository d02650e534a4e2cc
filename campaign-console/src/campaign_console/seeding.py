"""Example accounts and campaigns for development, previews and staging. Repeating it changes nothing."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from campaign_console.passwords import hash_password

# Known to everyone who can read this file, so `seed` refuses to use it in production.
DEMONSTRATION_PASSWORD = "spring-launch-2026"  # nosec B105


def seed(database_url: str, folder: Path, *, password: str, now: datetime | None = None) -> tuple[int, int]:
    """Add the accounts and campaigns of `seed.json` that are not there yet.

    Returns how many accounts and campaigns were added. Dates are relative to `now` (UTC).
    """
    data = json.loads((folder / "seed.json").read_text(encoding="utf-8"))
    moment = (now or datetime.now(UTC)).replace(minute=0, second=0, microsecond=0)
    accounts = campaigns = 0
    with psycopg.connect(database_url, connect_timeout=10) as connection:
        # Two seeds at once would both find the tables empty.
        connection.execute("LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE")
        existing = {row[0] for row in connection.execute("SELECT lower(email) FROM accounts")}
        for account in data["accounts"]:
            if account["email"].lower() not in existing:
                connection.execute(
                    "INSERT INTO accounts (email, name, role, password_hash) VALUES (%s, %s, %s, %s)",
                    (account["email"], account["name"], account["role"], hash_password(password)),
                )
                accounts += 1
        owner = connection.execute(
            "SELECT id FROM accounts WHERE lower(email) = %s", (data["accounts"][0]["email"].lower(),)
        ).fetchone()
        assert owner is not None
        names = {row[0] for row in connection.execute("SELECT name FROM campaigns")}
        for campaign in data["campaigns"]:
            if campaign["name"] not in names:
                _insert_campaign(connection, campaign, owner_id=owner[0], now=moment)
                campaigns += 1
    return accounts, campaigns


def _insert_campaign(
    connection: psycopg.Connection[tuple[Any, ...]], campaign: dict[str, Any], *, owner_id: int, now: datetime
) -> None:
    starts_at = ends_at = None
    if "starts_in_days" in campaign:
        starts_at = now + timedelta(days=campaign["starts_in_days"])
        ends_at = starts_at + timedelta(days=campaign["runs_for_days"])
    row = connection.execute(
        "INSERT INTO campaigns"
        " (name, channel, audience, message, budget_cents, status, starts_at, ends_at, created_by)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING id",
        (
            campaign["name"],
            campaign["channel"],
            campaign["audience"],
            campaign["message"],
            campaign["budget_cents"],
            campaign["status"],
            starts_at,
            ends_at,
            owner_id,
        ),
    ).fetchone()
    assert row is not None
    steps = ["created"] + ([campaign["status"]] if campaign["status"] != "draft" else [])
    for action in steps:
        connection.execute(
            "INSERT INTO activity (campaign_id, account_id, action) VALUES (%s, %s, %s)",
            (row[0], owner_id, action),
        )
