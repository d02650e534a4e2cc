"""Numbered SQL files, applied once each, in order, each in a transaction of its own.

Several replicas may start at once: an advisory lock lets one of them work while the others wait. A file
that has been applied must not change afterwards; its checksum is kept and compared.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import psycopg

# Any number will do as long as every release uses the same one.
LOCK_KEY = 5_073_917_226
_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


class MigrationError(Exception):
    """The migrations and the database disagree; the message says how."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file: its number, its name and its text."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


def read(folder: Path) -> tuple[Migration, ...]:
    """The migrations in order. Raises MigrationError for a gap, a duplicate or a misnamed file."""
    found = []
    for path in sorted(folder.glob("*.sql")):
        match = _NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name}: expected a name like 0004_add_labels.sql")
        found.append(Migration(number=int(match[1]), name=path.name, sql=path.read_text(encoding="utf-8")))
    for expected, migration in enumerate(found, start=1):
        if migration.number != expected:
            raise MigrationError(f"{migration.name}: expected number {expected:04d} here, without gaps")
    return tuple(found)


def apply(database_url: str, folder: Path) -> tuple[Migration, ...]:
    """Apply what is missing and return it.

    Raises MigrationError when an applied file was edited, psycopg.Error when the database refuses.
    """
    migrations = read(folder)
    done = []
    with psycopg.connect(database_url, autocommit=True, connect_timeout=10) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (LOCK_KEY,))
        connection.execute(
            "CREATE TABLE IF NOT EXISTS schema_migrations (number integer PRIMARY KEY, name text NOT NULL,"
            " checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now())"
        )
        applied: dict[int, str] = dict(
            connection.execute("SELECT number, checksum FROM schema_migrations").fetchall()
        )
        for migration in migrations:
            if migration.number in applied:
                if applied[migration.number] != migration.checksum:
                    raise MigrationError(
                        f"{migration.name} was edited after it had been applied; add a new file instead"
                    )
                continue
            with connection.transaction():
                connection.execute(migration.sql.encode())
                connection.execute(
                    "INSERT INTO schema_migrations (number, name, checksum) VALUES (%s, %s, %s)",
                    (migration.number, migration.name, migration.checksum),
                )
            done.append(migration)
    return tuple(done)
