"""The journal's locks, taken by several threads at once."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from akashic.journal.anchor import Head
from akashic.journal.protocol import JournalUnavailable, NewRecord
from akashic.journal.sqlite import SqliteJournal

RECORD = [NewRecord("A", b"{}")]


def test_who_waits_keeps_nobody_from_accepting_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Accepting appends while it holds the journal; who waits looks at the journal."""
    journal = SqliteJournal(tmp_path / "journal.db")
    journal.append("run/a", RECORD, at=1.0, expected_version=None)
    journal._head_file.replace(Head(9, "f" * 64))
    looking, accepting = threading.Event(), threading.Event()
    head = journal.head

    def slowly() -> int:
        if threading.current_thread() is waiting:
            looking.set()
            assert accepting.wait(20)
        return head()

    monkeypatch.setattr(journal, "head", slowly)
    append = journal.append

    def overtaken(*arguments: object, **options: object) -> object:
        assert looking.wait(20)
        accepting.set()
        return append(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(journal, "append", overtaken)
    waiting = threading.Thread(
        target=journal.wait, kwargs={"after_position": 1, "timeout_s": 20.0}, daemon=True
    )
    waiting.start()
    done = threading.Thread(target=journal.accept_loss, kwargs={"at": 2.0, "by": "ann"}, daemon=True)
    done.start()
    done.join(20)
    waiting.join(20)
    assert not done.is_alive() and not waiting.is_alive(), "they wait for each other"
    monkeypatch.undo()
    assert journal.head() == 2
    journal.close()


def test_a_disk_that_fails_in_the_end_is_told_and_the_journal_is_closed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = SqliteJournal(tmp_path / "journal.db")
    journal.append("run/a", RECORD, at=1.0, expected_version=None, durable=False)

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(JournalUnavailable, match="Input/output error"):
        journal.close()
    with pytest.raises(JournalUnavailable, match="closed"):
        journal.head()


def test_a_durable_append_is_one_that_the_disk_has(tmp_path: Path) -> None:
    """SQLite syncs the log at a commit in mode 2 (FULL), and leaves it to the next one in mode 1 (NORMAL)."""
    journal = SqliteJournal(tmp_path / "journal.db")
    for durable, mode in ((False, 1), (True, 2), (False, 1), (True, 2)):
        journal.append("run/a", RECORD, at=1.0, expected_version=None, durable=durable)
        assert journal._connection.execute("PRAGMA synchronous").fetchone() == (mode,)
    journal.close()
