"""The hash chain: what a record's hash covers, and how a broken chain is told from a sound one."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable

from akashic.journal.protocol import Fault, Record

GENESIS_HASH = "0" * 64
"""The "previous hash" of the first record."""

FAULTS_MAX = 100
"""Verification stops here: a journal with more faults is not one that a person reads line by line."""

_FIXED = struct.Struct(">qqdIII")


def record_hash(
    *, previous_hash: str, position: int, stream: str, version: int, at: float, type: str, data: bytes
) -> str:
    """SHA-256 (hex) over the previous hash and every field; lengths are part of it, so that no two
    different records have the same bytes."""
    name, kind = stream.encode(), type.encode()
    fixed = _FIXED.pack(position, version, at, len(name), len(kind), len(data))
    return hashlib.sha256(b"".join((bytes.fromhex(previous_hash), fixed, name, kind, data))).hexdigest()


class ChainCheck:
    """Follows a journal record by record and collects what is wrong with it.

    After a fault the check goes on from what is stored, so that one edit is one fault and not ten thousand.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.last_position = 0
        self.last_hash = GENESIS_HASH
        self._versions: dict[str, int] = {}

    def feed(self, records: Iterable[Record]) -> bool:
        """Check the records that follow the ones before; false when there are too many faults to go on."""
        for record in records:
            self._check(record)
            if len(self.faults) >= FAULTS_MAX:
                return False
        return True

    def fault(self, position: int, message: str) -> None:
        self.faults.append(Fault(position=position, message=message))

    def _check(self, record: Record) -> None:
        position = record.position
        expected = self.last_position + 1
        if position != expected:
            last = position - 1
            missing = f"record {expected} is" if last == expected else f"records {expected} to {last} are"
            self.fault(position, f"{missing} missing before record {position}")
        elif record.previous_hash != self.last_hash:
            self.fault(position, f"record {position} does not follow record {self.last_position}")
        if record.hash != self._hash_of(record):
            self.fault(position, f"record {position} ({record.type} of {record.stream}) was changed")
        version = self._versions.get(record.stream, 0) + 1
        if record.version != version and position == expected:
            self.fault(
                position,
                f"record {position} is version {record.version} of {record.stream}, expected {version}",
            )
        self._versions[record.stream] = record.version
        self.last_position, self.last_hash = position, record.hash

    @staticmethod
    def _hash_of(record: Record) -> str:
        try:
            return record_hash(
                previous_hash=record.previous_hash,
                position=record.position,
                stream=record.stream,
                version=record.version,
                at=record.at,
                type=record.type,
                data=record.data,
            )
        except (ValueError, struct.error):
            return ""
