"""The journal in one SQLite file, for any number of processes on one machine.

Durability: the database is in WAL mode with `synchronous=NORMAL`, so a commit survives the death of every
process at once; a `durable` append commits with `synchronous=FULL`, which syncs the log and everything
before it. The head file (see `anchor`) only ever names durable records.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from akashic.journal.anchor import EMPTY, Head, HeadFile
from akashic.journal.chain import GENESIS_HASH, ChainCheck, record_hash
from akashic.journal.protocol import (
    Conflict,
    Fault,
    JournalDamaged,
    JournalUnavailable,
    NewRecord,
    Record,
)
from akashic.journal.sqlite_errors import translated
from akashic.journal.sqlite_schema import connect

BUSY_TIMEOUT_S = 30.0
"""How long a writer waits for another process's append; appends take well under a millisecond."""
POLL_INTERVAL_S = 0.02
"""How often `wait` looks for records of other processes; one look costs about ten microseconds."""
LOG_BYTES_MAX = 256 * 1024
"""A longer write-ahead log is worth being emptied: who opens the journal next reads it through (measured: 1
ms for a megabyte)."""
RECORD_BYTES_MAX = 64 * 1024 * 1024
JOURNAL_STREAM = "journal"
"""The stream of what happened to the journal itself."""

_COLUMNS = "position, stream, version, at, type, data, previous_hash, hash"
_PAGE_RECORDS = 500


class SqliteJournal:
    """A Journal in the file `path`; made when missing, unless `read_only`.

    Raises JournalDamaged when the file is not a journal, JournalUnavailable when it cannot be opened. Close
    it in the end. Thread-safe: one connection, one lock. A process that forks must open its own.
    """

    def __init__(
        self, path: Path | str, *, read_only: bool = False, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> None:
        self.path = Path(path)
        self.read_only = read_only
        self._busy_timeout_s = busy_timeout_s
        self._head_file = HeadFile(self.path.with_name(self.path.name + ".head"))
        self._lock = threading.RLock()
        self._appended = threading.Condition()
        self._anchor = EMPTY
        self._unsynced: Head | None = None
        self._own_head = 0
        self._synchronous_full = False
        self._closed = False
        with translated(self.path):
            if not read_only:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._head_file.create()
            elif not self.path.exists():
                raise JournalUnavailable(f"{self.path}: there is no journal here")
            self._connection = connect(self.path, read_only=read_only, timeout_s=busy_timeout_s)

    # -- writing

    def append(
        self,
        stream: str,
        records: Sequence[NewRecord],
        *,
        at: float,
        expected_version: int | None,
        durable: bool = True,
    ) -> list[Record]:
        """As `Journal.append`."""
        assert at == at and abs(at) != float("inf"), at
        if not records:
            return []
        for new in records:
            if len(new.data) > RECORD_BYTES_MAX:
                raise JournalUnavailable(
                    f"a {new.type} of {len(new.data)} bytes does not go into the journal (at most "
                    f"{RECORD_BYTES_MAX})"
                )
        with self._lock, translated(self.path):
            self._set_durability(durable)
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                appended = self._insert(stream, records, at, expected_version)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
            head = Head(appended[-1].position, appended[-1].hash)
            if durable:
                self._advance(head)
            else:
                self._unsynced = head
        with self._appended:
            self._own_head = max(self._own_head, head.position)
            self._appended.notify_all()
        return appended

    def accept_loss(self, *, at: float, by: str) -> Record | None:
        """Acknowledge that the records which the head file names are gone: a record in the journal says so
        for ever, and the head file follows it. None when nothing was lost."""
        with self._lock:
            lost = self.lost_tail()
            if lost is None:
                return None
            known = self._head_file.read() or EMPTY
            text = f'{{"by":{_quoted(by)},"position":{known.position},"hash":"{known.hash}"}}'
            record = NewRecord("TailLost", text.encode())
            [appended] = self.append(JOURNAL_STREAM, [record], at=at, expected_version=None)
            self._head_file.replace(Head(appended.position, appended.hash))
            return appended

    def tidy(self) -> None:
        """Empty the write-ahead log when it has grown long, unless somebody else is at work: opening the
        journal is faster then. `close` would do it too, but its last user also removes the log's files,
        which the next one has to make again."""
        with self._lock, translated(self.path):
            log = self.path.with_name(self.path.name + "-wal")
            if self._closed or self.read_only or not log.exists() or log.stat().st_size <= LOG_BYTES_MAX:
                return
            self._connection.execute("PRAGMA busy_timeout = 0")
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            finally:
                self._connection.execute(f"PRAGMA busy_timeout = {int(self._busy_timeout_s * 1000)}")

    def close(self) -> None:
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                if self._unsynced is not None:
                    with translated(self.path):
                        self._sync_unsynced(self._unsynced)
            finally:
                self._head_file.close()
                self._connection.close()
        with self._appended:
            self._appended.notify_all()

    # -- reading

    def read(self, stream: str, *, after_version: int = 0) -> list[Record]:
        query = f"SELECT {_COLUMNS} FROM records WHERE stream = ? AND version > ? ORDER BY version"
        return [_record(row) for row in self._rows(query, (stream, after_version))]

    def read_all(self, *, after_position: int = 0, records_max: int = 1000) -> Iterator[Record]:
        query = f"SELECT {_COLUMNS} FROM records WHERE position > ? ORDER BY position LIMIT ?"
        remaining = records_max
        while remaining > 0:
            rows = self._rows(query, (after_position, min(remaining, _PAGE_RECORDS)))
            if not rows:
                return
            remaining -= len(rows)
            for row in rows:
                yield _record(row)
            after_position = rows[-1][0]

    def version(self, stream: str) -> int:
        [[version]] = self._rows("SELECT max(version) FROM records WHERE stream = ?", (stream,))
        return version or 0

    def streams(self, prefix: str = "", *, newest_first: bool = True, streams_max: int = 1000) -> list[str]:
        order = "DESC" if newest_first else "ASC"
        query = (
            "SELECT stream FROM records WHERE version = 1 AND substr(stream, 1, ?) = ? "
            f"ORDER BY position {order} LIMIT ?"
        )
        return [row[0] for row in self._rows(query, (len(prefix), prefix, streams_max))]

    def head(self) -> int:
        [[position]] = self._rows("SELECT max(position) FROM records", ())
        return position or 0

    def wait(self, *, after_position: int, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not self._closed:
            # Outside of the condition: who appends takes the two locks the other way round.
            if self.head() > after_position:
                return True
            with self._appended:
                if self._own_head > after_position:
                    return True
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    return False
                self._appended.wait(min(remaining, POLL_INTERVAL_S))
        return False

    # -- soundness

    def verify(self) -> list[Fault]:
        """As `Journal.verify`; also compares with the head file beside the database."""
        check = ChainCheck()
        try:
            self._verify_records(check)
            anchor = self._anchor_fault()
        except JournalDamaged as error:
            return [*check.faults, Fault(position=check.last_position + 1, message=error.message)]
        return check.faults if anchor is None else [*check.faults, anchor]

    def lost_tail(self) -> Fault | None:
        """Whether records that were durable are gone (a torn disk, or a hand): cheap, so ask it at start."""
        known = self._head_file.read()
        return None if known is None or self._is_ours(known) else self._lost(known)

    def _verify_records(self, check: ChainCheck) -> None:
        after = 0
        while True:
            page = list(self.read_all(after_position=after, records_max=_PAGE_RECORDS))
            if not page or not check.feed(page):
                return
            after = page[-1].position

    def _anchor_fault(self) -> Fault | None:
        known = self._head_file.read()
        if known is None:
            head = self.head()
            return Fault(
                position=head,
                message=f"{self._head_file.path.name} is missing or unreadable: whether records after "
                f"{head} were removed cannot be told",
            )
        return None if self._is_ours(known) else self._lost(known)

    def _lost(self, known: Head) -> Fault:
        head = self.head()
        if head < known.position:
            first = head + 1
            gone = (
                f"record {first} is"
                if first == known.position
                else f"records {first} to {known.position} are"
            )
            return Fault(
                position=first, message=f"{gone} missing at the end: the journal reached {known.position}"
            )
        return Fault(
            position=known.position,
            message=f"record {known.position} is not the one that was there: the end was removed or replaced",
        )

    # -- inside

    def _insert(
        self, stream: str, records: Sequence[NewRecord], at: float, expected_version: int | None
    ) -> list[Record]:
        execute = self._connection.execute
        version = execute("SELECT max(version) FROM records WHERE stream = ?", (stream,)).fetchone()[0] or 0
        if expected_version is not None and version != expected_version:
            raise Conflict(f"{stream} is at version {version}, expected {expected_version}")
        last = execute("SELECT position, hash FROM records ORDER BY position DESC LIMIT 1").fetchone()
        position, previous_hash = last or (0, GENESIS_HASH)
        appended = []
        for new in records:
            position, version = position + 1, version + 1
            digest = record_hash(
                previous_hash=previous_hash,
                position=position,
                stream=stream,
                version=version,
                at=at,
                type=new.type,
                data=new.data,
            )
            row = (position, stream, version, at, new.type, new.data, previous_hash, digest)
            execute(f"INSERT INTO records ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
            appended.append(_record(row))
            previous_hash = digest
        return appended

    def _set_durability(self, durable: bool) -> None:
        if durable != self._synchronous_full:
            self._connection.execute("PRAGMA synchronous = " + ("FULL" if durable else "NORMAL"))
            self._synchronous_full = durable

    def _advance(self, head: Head) -> None:
        self._unsynced = None
        try:
            if self._head_file.advance(head, self._is_ours):
                self._anchor = head
        except OSError:
            # The record is safe; the head file is evidence only, and `verify` says when it is missing.
            return

    def _sync_unsynced(self, head: Head) -> None:
        log = self.path.with_name(self.path.name + "-wal")
        try:
            descriptor = os.open(log, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            # Without a write-ahead log the records were checkpointed, which syncs them.
            self._advance(head)
            return
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._advance(head)

    def _is_ours(self, head: Head) -> bool:
        if head in (EMPTY, self._anchor):
            return True
        rows = self._rows("SELECT hash FROM records WHERE position = ?", (head.position,))
        return bool(rows) and rows[0][0] == head.hash

    def _rows(self, query: str, arguments: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with self._lock, translated(self.path):
            return self._connection.execute(query, arguments).fetchall()


def _record(row: tuple[Any, ...]) -> Record:
    position, stream, version, at, type, data, previous_hash, digest = row
    return Record(
        position=position,
        stream=_text(stream),
        version=version if isinstance(version, int) else -1,
        at=at if isinstance(at, float) else float("nan"),
        type=_text(type),
        data=data if isinstance(data, bytes) else str(data).encode(),
        previous_hash=_text(previous_hash),
        hash=_text(digest),
    )


def _text(value: object) -> str:
    """A column's text, whatever a hand has put there: verification must be able to read it."""
    return value if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    plain = (character if character.isalnum() or character in " .@_-" else "?" for character in text)
    return f'"{"".join(plain)}"'
