"""`akashic journal`, word for word."""

from __future__ import annotations

import argparse
import io
import json
import sqlite3
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from akashic.cli.commands import journal as command
from akashic.errors import UsageError
from akashic.journal.protocol import NewRecord
from akashic.journal.sqlite import SqliteJournal
from akashic.testing.clock import ManualClock


class Context:
    """What a command gets, with the application's two parts that this one uses."""

    def __init__(self, state_dir: Path, *, json_output: bool = False) -> None:
        self.state_dir, self.json, self.environ = state_dir, json_output, {"USER": "ann"}
        self.stdout, self.stderr = io.StringIO(), io.StringIO()

    def application(self) -> Any:
        return SimpleNamespace(state_dir=self.state_dir, clock=ManualClock())


def akashic_journal(state_dir: Path, *words: str, json_output: bool = False) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    command.configure(parser)
    context = Context(state_dir, json_output=json_output)
    code = command.run(parser.parse_args(words), context)  # type: ignore[arg-type]
    return code, context.stdout.getvalue()


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    journal = SqliteJournal(tmp_path / "journal.db")
    journal.append("run/a", [NewRecord("RunCreated", b'{"ref":"main"}')], at=0.0, expected_version=0)
    journal.append("run/a", [NewRecord("RunFinished", b"\x1b[31mred")], at=60.0, expected_version=1)
    journal.close()
    return tmp_path


def head_of(state_dir: Path) -> str:
    journal = SqliteJournal(state_dir / "journal.db", read_only=True)
    found = list(journal.read_all())[-1].hash
    journal.close()
    return found


def test_a_sound_journal(state_dir: Path) -> None:
    head = head_of(state_dir)
    text = f"the journal is sound: 2 records\nhead 2:{head}\n"
    assert akashic_journal(state_dir, "verify") == (0, text)
    assert akashic_journal(state_dir, "verify", "--expect", f"2:{head}") == (0, text)


def test_a_journal_with_faults_ends_with_one(state_dir: Path) -> None:
    connection = sqlite3.connect(state_dir / "journal.db")
    connection.execute("UPDATE records SET data = x'00' WHERE position = 1")
    connection.commit()
    connection.close()
    code, text = akashic_journal(state_dir, "verify")
    assert code == 1
    assert text == (
        "       1  record 1 (RunCreated of run/a) was changed\nthe journal is NOT sound: 1 fault\n"
    )
    code, text = akashic_journal(state_dir, "verify", json_output=True)
    assert code == 1
    assert [json.loads(line) for line in text.splitlines()] == [
        {"position": 1, "message": "record 1 (RunCreated of run/a) was changed"},
        {"sound": False, "faults": 1},
    ]


def test_a_journal_that_is_not_the_expected_one(state_dir: Path) -> None:
    code, text = akashic_journal(state_dir, "verify", "--expect", "2:" + "0" * 64)
    assert code == 1 and "record 2 is not the expected one" in text


def test_a_lost_end_can_be_accepted(state_dir: Path) -> None:
    connection = sqlite3.connect(state_dir / "journal.db")
    connection.execute("DELETE FROM records WHERE position = 2")
    connection.commit()
    connection.close()
    assert akashic_journal(state_dir, "verify")[0] == 1
    assert akashic_journal(state_dir, "verify", "--accept-loss")[0] == 0
    assert "TailLost" in akashic_journal(state_dir, "show")[1]


def test_records_are_shown_without_terminal_escapes(state_dir: Path) -> None:
    assert akashic_journal(state_dir, "show", "--stream", "run/a") == (
        0,
        '       1  1970-01-01T00:00:00Z  run/a:1  RunCreated  {"ref":"main"}\n'
        "       2  1970-01-01T00:01:00Z  run/a:2  RunFinished  �[31mred\n",
    )
    assert akashic_journal(state_dir, "show", "--last", "1")[1].startswith("       2 ")


def test_an_export_holds_every_field(state_dir: Path) -> None:
    code, text = akashic_journal(state_dir, "export")
    first, second = (json.loads(line) for line in text.splitlines())
    assert code == 0 and first["data"] == {"ref": "main"} and second["previous_hash"] == first["hash"]


def test_a_stream_that_is_not_there_and_no_journal_are_told(state_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no stream run/zzz"):
        akashic_journal(state_dir, "show", "--stream", "run/zzz")
    with pytest.raises(UsageError, match="no journal yet"):
        akashic_journal(tmp_path / "other", "verify")
