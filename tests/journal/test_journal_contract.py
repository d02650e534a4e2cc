"""Both stores obey the contract."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from akashic.journal.protocol import Journal
from akashic.journal.sqlite import SqliteJournal
from akashic.testing.journal import MemoryJournal
from tests.journal.contract import JournalContract


class TestMemoryJournal(JournalContract):
    @pytest.fixture
    def journal(self) -> Journal:
        return MemoryJournal()


class TestSqliteJournal(JournalContract):
    @pytest.fixture
    def journal(self, tmp_path: Path) -> Iterator[Journal]:
        journal = SqliteJournal(tmp_path / "journal.db")
        yield journal
        journal.close()
