"""What has expired goes, once a day, and a journal that lost its end is told of."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from akashic.app.application import Application
from akashic.app.retention import INTERVAL_S, MARK, remove_expired
from akashic.engine.codec import encode
from akashic.engine.events import RunResumed
from tests.app.checkout import Checkout


class FixedClock:
    def __init__(self, now: float) -> None:
        self._now = now

    def now(self) -> float:
        return self._now


def keep(application: Application, name: str, folder: Path) -> None:
    from akashic.journal.archive import Member

    (folder / name).write_text(name)
    members = [Member(name=name, path=str(folder / name))]
    application.artifacts.create(name, run_id="1", run_attempt=1, members=members, retention_days=1)


def test_expired_artifacts_go_and_only_once_a_day(application: Application, tmp_path: Path) -> None:
    start = 1_700_000_000.0
    application.clock = FixedClock(start)
    keep(application, "old", tmp_path)
    assert remove_expired(application) == []
    application.clock = FixedClock(start + 3600)
    assert remove_expired(application) == []
    assert (application.state_dir / MARK).stat().st_mtime == start, "it looked again too soon"
    later = Application.open(application.root, application.environ)
    later.clock = FixedClock(start + 2 * 24 * 3600)
    assert remove_expired(later) == ["artifact old of run 1 has expired and was removed"]
    assert remove_expired(later) == []
    mark = later.state_dir / MARK
    os.utime(mark, (0, start + 2 * 24 * 3600 - INTERVAL_S))
    remove_expired(later)
    assert mark.stat().st_mtime == start + 2 * 24 * 3600


def test_what_was_never_used_is_not_made(application: Application) -> None:
    remove_expired(application)
    assert not (application.state_dir / "caches").exists()


def test_a_journal_that_lost_its_end_is_told_of(
    application: Application, capsys: pytest.CaptureFixture[str], checkout: Checkout
) -> None:
    for _ in range(3):
        application.journal.append(
            "run/1", [encode(RunResumed(by="x"))], at=1.0, expected_version=None, durable=True
        )
    application.journal.close()
    database = application.state_dir / "journal.db"
    import sqlite3

    connection = sqlite3.connect(database)
    connection.execute("DROP TRIGGER IF EXISTS records_are_kept")
    triggers = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
    for name in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("DELETE FROM records WHERE position = 3")
    connection.commit()
    connection.close()
    assert Application.open(checkout.path, application.environ).journal.head() == 2
    said = capsys.readouterr().err
    assert "record 3 is missing at the end" in said and "akashic journal verify" in said
