"""SQLite's and the system's errors in words of ours."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from akashic.journal.protocol import JournalDamaged, JournalUnavailable

_HELD = ("another process has held it for too long", "see who has it open: fuser -v FILE")
_ADVICE = {
    sqlite3.SQLITE_FULL: ("no space left on the disk", "free some space; nothing written before is lost"),
    sqlite3.SQLITE_READONLY: ("it is read-only", "make the file and its folder writable for you"),
    sqlite3.SQLITE_BUSY: _HELD,
    sqlite3.SQLITE_LOCKED: _HELD,
    sqlite3.SQLITE_CANTOPEN: ("it cannot be opened", "check that the folder exists and is writable for you"),
    sqlite3.SQLITE_PERM: ("it cannot be opened", "check that you may read and write it"),
    sqlite3.SQLITE_IOERR: ("the disk reports an error", "check the disk and its free space"),
}


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Raise JournalDamaged or JournalUnavailable for what SQLite or the system raises about the file."""
    try:
        yield
    except sqlite3.ProgrammingError as error:
        raise JournalUnavailable(f"{path}: the journal is closed") from error
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _ADVICE:
            what, advice = _ADVICE[code]
            raise JournalUnavailable(f"{path}: {what}", hint=advice.replace("FILE", str(path))) from error
        raise JournalDamaged(
            f"{path}: not readable as a journal ({error})",
            hint="keep the file for analysis, restore a backup, or move it away to begin a new journal",
        ) from error
    except UnicodeDecodeError as error:
        # Damage can reach the names of columns, or SQLite's own message about it.
        raise JournalDamaged(f"{path}: not readable as a journal (it holds broken text)") from error
    except OSError as error:
        raise JournalUnavailable(f"{path}: {error.strerror or error}") from error
