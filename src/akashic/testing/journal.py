"""A journal in memory; passes the same contract tests as the SQLite one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence

from akashic.journal.chain import GENESIS_HASH, ChainCheck, record_hash
from akashic.journal.protocol import Conflict, Fault, JournalUnavailable, NewRecord, Record


class MemoryJournal:
    """A Journal for one process. `fail_after` makes appends fail once that many records are there, as a full
    disk would."""

    def __init__(self, *, fail_after: int | None = None) -> None:
        self.records: list[Record] = []
        self.fail_after = fail_after
        self._streams: dict[str, list[Record]] = {}
        self._changed = threading.Condition()
        self._head = 0
        self._closed = False

    def append(
        self,
        stream: str,
        records: Sequence[NewRecord],
        *,
        at: float,
        expected_version: int | None,
        durable: bool = True,
    ) -> list[Record]:
        with self._changed:
            if self._closed:
                raise JournalUnavailable("the journal is closed")
            known = self._streams.get(stream, [])
            if expected_version is not None and len(known) != expected_version:
                raise Conflict(f"{stream} is at version {len(known)}, expected {expected_version}")
            if not records:
                return []
            if self.fail_after is not None and len(self.records) + len(records) > self.fail_after:
                raise JournalUnavailable("no space left on the disk")
            appended = [
                self._chained(stream, len(known), new, number, at) for number, new in enumerate(records)
            ]
            previous = self.records[-1].hash if self.records else GENESIS_HASH
            for record in appended:
                record = _linked(record, previous)
                previous = record.hash
                self.records.append(record)
                self._streams.setdefault(stream, []).append(record)
            self._head = len(self.records)
            self._changed.notify_all()
            return self.records[-len(appended) :]

    def read(self, stream: str, *, after_version: int = 0) -> list[Record]:
        with self._changed:
            return self._streams.get(stream, [])[after_version:]

    def read_all(self, *, after_position: int = 0, records_max: int = 1000) -> Iterator[Record]:
        with self._changed:
            page = self.records[after_position : after_position + records_max]
        yield from page

    def version(self, stream: str) -> int:
        with self._changed:
            return len(self._streams.get(stream, ()))

    def streams(self, prefix: str = "", *, newest_first: bool = True, streams_max: int = 1000) -> list[str]:
        with self._changed:
            names = [name for name in self._streams if name.startswith(prefix)]
        return (names[::-1] if newest_first else names)[:streams_max]

    def wait(self, *, after_position: int, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while len(self.records) <= after_position:
                remaining = deadline - time.monotonic()
                if remaining <= 0 or self._closed:
                    return False
                self._changed.wait(remaining)
            return True

    def head(self) -> int:
        with self._changed:
            return len(self.records)

    def verify(self) -> list[Fault]:
        check = ChainCheck()
        with self._changed:
            check.feed(self.records)
            if len(self.records) < self._head:
                first = len(self.records) + 1
                check.fault(first, f"records {first} to {self._head} are missing at the end")
        return check.faults

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _chained(self, stream: str, version: int, new: NewRecord, number: int, at: float) -> Record:
        return Record(
            position=len(self.records) + number + 1,
            stream=stream,
            version=version + number + 1,
            at=at,
            type=new.type,
            data=new.data,
            previous_hash="",
            hash="",
        )


def _linked(record: Record, previous_hash: str) -> Record:
    digest = record_hash(
        previous_hash=previous_hash,
        position=record.position,
        stream=record.stream,
        version=record.version,
        at=record.at,
        type=record.type,
        data=record.data,
    )
    return Record(
        position=record.position,
        stream=record.stream,
        version=record.version,
        at=record.at,
        type=record.type,
        data=record.data,
        previous_hash=previous_hash,
        hash=digest,
    )
