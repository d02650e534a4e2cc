"""People who may sign in. Two roles: an editor changes campaigns, a viewer reads them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import psycopg
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool

from campaign_console.passwords import hash_password, verify_password

ROLES = ("editor", "viewer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An account as pages see it; the password hash stays in the database."""

    id: int
    email: str
    name: str
    role: str

    @property
    def can_edit(self) -> bool:
        return self.role == "editor"

    @property
    def initials(self) -> str:
        return "".join(word[0] for word in self.name.split()[:2]).upper() or "?"


class Accounts:
    """The accounts table."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool
        # Verified against when the address is unknown, so that the time to answer tells nobody who exists.
        self._decoy_hash: str | None = None

    async def find(self, account_id: int) -> Account | None:
        """The account with this id, or None."""
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=class_row(Account))
            await cursor.execute("SELECT id, email, name, role FROM accounts WHERE id = %s", (account_id,))
            return await cursor.fetchone()

    async def authenticate(self, email: str, password: str) -> Account | None:
        """The account that this address and password belong to, or None for any mismatch."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT id, email, name, role, password_hash FROM accounts WHERE lower(email) = lower(%s)",
                (email,),
            )
            row = await cursor.fetchone()
        if row is None:
            if self._decoy_hash is None:
                self._decoy_hash = await asyncio.to_thread(hash_password, "nobody's password")
            await asyncio.to_thread(verify_password, password, self._decoy_hash)
            return None
        if not await asyncio.to_thread(verify_password, password, row[4]):
            return None
        return Account(id=row[0], email=row[1], name=row[2], role=row[3])


def create(database_url: str, *, email: str, name: str, role: str, password: str) -> int:
    """Add an account or give an existing one a new name, role and password; returns its id."""
    with psycopg.connect(database_url, connect_timeout=10) as connection:
        row = connection.execute(
            "INSERT INTO accounts (email, name, role, password_hash) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (lower(email)) DO UPDATE SET name = EXCLUDED.name, role = EXCLUDED.role,"
            " password_hash = EXCLUDED.password_hash RETURNING id",
            (email, name, role, hash_password(password)),
        ).fetchone()
        assert row is not None
        return int(row[0])
