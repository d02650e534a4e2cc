"""The journal's tables: connecting to the file that holds them, and bringing them to this version's form."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from akashic.journal.protocol import JournalDamaged, JournalUnavailable

MIGRATIONS = Path(__file__).parent / "migrations"
SCHEMA_VERSION = 1


def connect(path: Path, *, read_only: bool, timeout_s: float) -> sqlite3.Connection:
    """A connection to a journal of this version, in WAL mode with `synchronous=NORMAL`; the tables are made
    where they are missing, unless `read_only`.

    Raises JournalDamaged when the file is not a journal, JournalUnavailable when it is of a later version,
    and what SQLite raises.
    """
    connection = _open(path, read_only=read_only, timeout_s=timeout_s)
    try:
        _migrate(connection, path, read_only=read_only, timeout_s=timeout_s)
    except BaseException:
        connection.close()
        raise
    return connection


def _open(path: Path, *, read_only: bool, timeout_s: float) -> sqlite3.Connection:
    if not read_only:
        return sqlite3.connect(path, timeout=timeout_s, isolation_level=None, check_same_thread=False)
    escaped = str(path.absolute()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    return sqlite3.connect(
        f"file:{escaped}?mode=ro", uri=True, timeout=timeout_s, isolation_level=None, check_same_thread=False
    )


def _migrate(connection: sqlite3.Connection, path: Path, *, read_only: bool, timeout_s: float) -> None:
    if _version(connection, path) == SCHEMA_VERSION:
        if not read_only:
            connection.execute("PRAGMA synchronous = NORMAL")
        return
    if read_only:
        raise JournalDamaged(f"{path}: not a journal of this version")
    _enter_wal(connection, timeout_s)
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("BEGIN IMMEDIATE")
    version = _version(connection, path)
    for number, script in _migrations():
        if number > version:
            for statement in script.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
    connection.execute("COMMIT")


def _version(connection: sqlite3.Connection, path: Path) -> int:
    # One statement, one moment: between two, another process may make the tables.
    version, tables = connection.execute(
        "SELECT user_version, (SELECT count(*) FROM sqlite_master) FROM pragma_user_version"
    ).fetchone()
    if version > SCHEMA_VERSION:
        raise JournalUnavailable(
            f"{path}: written by a newer Akashic (format {version}, known is {SCHEMA_VERSION})",
            hint="update Akashic, or point AKASHIC_STATE at another folder",
        )
    if version == 0 and tables:
        raise JournalDamaged(f"{path}: a SQLite database, but not a journal")
    return int(version)


def _enter_wal(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Two processes that make one journal at once: SQLite does not wait for this lock by itself."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.005)


def _migrations() -> list[tuple[int, str]]:
    files = sorted(MIGRATIONS.glob("[0-9]*.sql"))
    return [(int(file.name.split("_")[0]), file.read_text()) for file in files]
