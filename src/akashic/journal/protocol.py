"""What every journal store obeys.

A journal is one append-only sequence of records, each chained to the one before by its hash; a stream is the
records that share a name ("run/01J…", "environment/production"). Appending is optimistic: a writer says which
version it has seen, and of two writers that saw the same one wins. Any number of processes may append.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from akashic.errors import AkashicError


class Conflict(AkashicError):
    """Somebody else appended to the stream first: read again, decide again."""


class JournalDamaged(AkashicError):
    """The journal cannot be read as it was written; says where."""


class JournalUnavailable(AkashicError):
    """The journal cannot be opened or written now: no permission, disk full, locked, not a folder."""


class NewRecord(msgspec.Struct, frozen=True):
    """An event that is to be appended: its type's name and its JSON."""

    type: str
    data: bytes


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """An appended event. `position` counts all records from 1, `version` those of the stream from 1; `at` is
    seconds since the epoch; `hash` is SHA-256 over the previous record's hash and this record's fields."""

    position: int
    stream: str
    version: int
    at: float
    type: str
    data: bytes
    previous_hash: str
    hash: str


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Where verification found the chain broken, and what is wrong there."""

    position: int
    message: str


class Journal(Protocol):
    """The store. Thread-safe."""

    def append(
        self,
        stream: str,
        records: Sequence[NewRecord],
        *,
        at: float,
        expected_version: int | None,
        durable: bool = True,
    ) -> list[Record]:
        """Append all or nothing. `expected_version` is the stream's last version that the writer has seen (0:
        the stream is new); None appends whatever is there. Every append survives the death of the process;
        a `durable` one (and all before it) survives a loss of power too. Raises Conflict."""
        ...

    def read(self, stream: str, *, after_version: int = 0) -> list[Record]: ...

    def read_all(self, *, after_position: int = 0, records_max: int = 1000) -> Iterator[Record]: ...

    def version(self, stream: str) -> int:
        """The stream's last version; 0 when it does not exist."""
        ...

    def streams(self, prefix: str = "", *, newest_first: bool = True, streams_max: int = 1000) -> list[str]:
        """Names of streams that begin with `prefix`, by their first record."""
        ...

    def wait(self, *, after_position: int, timeout_s: float) -> bool:
        """Block until a record after `after_position` exists, appended by any process, or time is over."""
        ...

    def head(self) -> int:
        """The last position; 0 when empty."""
        ...

    def verify(self) -> list[Fault]:
        """Check the whole chain: edited, removed, reordered, truncated. Empty when it is sound."""
        ...

    def close(self) -> None: ...
