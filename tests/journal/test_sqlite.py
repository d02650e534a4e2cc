"""The SQLite journal: many processes, sudden deaths, damage, and what verification finds."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from akashic.journal.protocol import JournalDamaged, JournalUnavailable, NewRecord
from akashic.journal.sqlite import LOG_BYTES_MAX, SqliteJournal

APPENDER = """
import sys
from akashic.journal.protocol import Conflict, NewRecord
from akashic.journal.sqlite import SqliteJournal
journal = SqliteJournal(sys.argv[1])
mode, count = sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
for number in range(count):
    while True:
        version = journal.version("run/shared")
        try:
            journal.append("run/shared", [NewRecord("A", b"%d" % number)] * 2, at=1.0,
                           expected_version=version if mode == "expected" else None, durable=number % 3 == 0)
            break
        except Conflict:
            pass
    print(number, flush=True)
journal.close()
"""


def spawn(path: Path, mode: str, count: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", APPENDER, str(path), mode, str(count)], stdout=subprocess.PIPE
    )


def filled(path: Path, count: int = 6) -> None:
    journal = SqliteJournal(path)
    for number in range(count):
        journal.append(
            f"run/{number % 2}", [NewRecord("A", b"%d" % number)], at=float(number), expected_version=None
        )
    journal.close()


def tamper(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def faults(path: Path) -> list[str]:
    journal = SqliteJournal(path, read_only=True)
    try:
        return [fault.message for fault in journal.verify()]
    finally:
        journal.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "journal.db"


def test_many_processes_append_to_one_stream_and_none_is_lost(path: Path) -> None:
    children = [spawn(path, "expected" if number % 2 else "any", 30) for number in range(4)]
    for child in children:
        child.communicate(timeout=60)
        assert child.returncode == 0
    journal = SqliteJournal(path)
    assert journal.version("run/shared") == 4 * 30 * 2
    assert journal.verify() == []
    journal.close()


def test_a_process_killed_while_it_appends_loses_nothing_that_it_had_acknowledged(path: Path) -> None:
    for _ in range(4):
        child = spawn(path, "any", 100_000)
        assert child.stdout is not None
        before = SqliteJournal(path).version("run/shared")
        acknowledged = 0
        for line in child.stdout:
            if line.strip().isdigit():
                acknowledged = int(line) + 1
            if acknowledged >= 20:
                break
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read().split()
        child.wait()
        acknowledged += len(rest)
        journal = SqliteJournal(path)
        assert journal.version("run/shared") >= before + 2 * acknowledged
        assert journal.version("run/shared") % 2 == 0, "a batch is there as a whole or not at all"
        assert journal.verify() == [] and journal.lost_tail() is None
        journal.append("run/after", [NewRecord("A", b"")], at=1.0, expected_version=None)
        assert journal.verify() == []
        journal.close()


def test_wait_sees_an_append_of_another_process(path: Path) -> None:
    journal = SqliteJournal(path)
    child = spawn(path, "any", 1)
    assert journal.wait(after_position=0, timeout_s=30.0)
    child.communicate()
    journal.close()


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE records SET data = x'00' WHERE position = 3", "record 3 (A of run/0) was changed"),
        ("UPDATE records SET at = 99.0 WHERE position = 3", "record 3 (A of run/0) was changed"),
        ("UPDATE records SET type = 'B' WHERE position = 3", "record 3 (B of run/0) was changed"),
        ("UPDATE records SET hash = previous_hash WHERE position = 6", "record 6 (A of run/1) was changed"),
        ("UPDATE records SET stream = 'x' WHERE position = 2", "record 2 (A of x) was changed"),
        ("UPDATE records SET previous_hash = 'zz' WHERE position = 2", "record 2 does not follow record 1"),
        ("DELETE FROM records WHERE position = 3", "record 3 is missing before record 4"),
        ("DELETE FROM records WHERE position IN (2, 3)", "records 2 to 3 are missing before record 4"),
        ("DELETE FROM records WHERE position = 1", "record 1 is missing before record 2"),
        (
            "DELETE FROM records WHERE position > 4",
            "records 5 to 6 are missing at the end: the journal reached 6",
        ),
        ("DELETE FROM records WHERE position = 6", "record 6 is missing at the end: the journal reached 6"),
        ("DELETE FROM records", "records 1 to 6 are missing at the end: the journal reached 6"),
        ("UPDATE records SET at = 'text' WHERE position = 3", "record 3 (A of run/0) was changed"),
    ],
)
def test_tampering_is_found(path: Path, statement: str, found: str) -> None:
    filled(path)
    assert faults(path) == []
    tamper(path, statement)
    assert found in faults(path)


def test_reordered_records_are_found(path: Path) -> None:
    filled(path)
    tamper(
        path,
        "UPDATE records SET position = 100 WHERE position = 2",
        "UPDATE records SET position = 2 WHERE position = 4",
        "UPDATE records SET position = 4 WHERE position = 100",
    )
    found = faults(path)
    assert "record 2 does not follow record 1" in found
    assert any(message.startswith("record 4 ") for message in found)


def test_records_removed_and_replaced_by_a_valid_chain_are_found(path: Path) -> None:
    filled(path)
    tamper(path, "DELETE FROM records WHERE position > 4")
    journal = SqliteJournal(path)
    for _ in range(5):
        journal.append("run/forged", [NewRecord("A", b"")], at=1.0, expected_version=None)
    journal.close()
    assert faults(path) == ["record 6 is not the one that was there: the end was removed or replaced"]


def test_a_crash_between_commit_and_head_file_is_no_tampering(path: Path) -> None:
    filled(path)
    head = path.with_name("journal.db.head")
    behind = head.read_bytes()
    filled(path, 3)
    head.write_bytes(behind)
    assert faults(path) == []
    filled(path, 1)
    assert faults(path) == [] and head.read_bytes() != behind


def test_a_missing_head_file_is_told(path: Path) -> None:
    filled(path)
    path.with_name("journal.db.head").unlink()
    [message] = faults(path)
    assert message.startswith("journal.db.head is missing")


def test_a_torn_end_is_recovered_and_reported_until_somebody_accepts_it(path: Path) -> None:
    journal = SqliteJournal(path)
    for number in range(20):
        journal.append("run/a", [NewRecord("A", b"x" * 3000)], at=float(number), expected_version=None)
    copy = path.parent.parent / "torn"
    copy.mkdir()
    for name in ("journal.db", "journal.db-wal", "journal.db.head"):
        content = (path.parent / name).read_bytes()
        (copy / name).write_bytes(content[:-6000] if name.endswith("-wal") else content)
    journal.close()
    torn = SqliteJournal(copy / "journal.db")
    kept = torn.head()
    assert 0 < kept < 20
    lost = torn.lost_tail()
    assert lost is not None and lost.message.endswith("missing at the end: the journal reached 20")
    assert torn.verify() == [lost]
    record = torn.accept_loss(at=50.0, by='me "\n')
    assert record is not None and record.type == "TailLost" and b'"position":20' in record.data
    assert torn.verify() == [] and torn.accept_loss(at=51.0, by="me") is None
    torn.close()


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to look at " * 50, b"SQLite format 3\0xx"]
)
def test_a_file_that_is_no_database_is_refused_and_kept(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(JournalDamaged, match=r"journal\.db"):
        SqliteJournal(path)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused(path: Path) -> None:
    path.parent.mkdir()
    tamper(path, "CREATE TABLE recipes (name TEXT)")
    with pytest.raises(JournalDamaged, match="not a journal"):
        SqliteJournal(path)


def test_a_journal_of_a_newer_version_is_left_alone(path: Path) -> None:
    filled(path)
    tamper(path, "PRAGMA user_version = 99")
    with pytest.raises(JournalUnavailable, match="newer Akashic"):
        SqliteJournal(path)


def test_overwritten_pages_are_damage_and_not_a_traceback(path: Path) -> None:
    filled(path, 300)
    content = bytearray(path.read_bytes())
    content[4096 : len(content) - 4096] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    journal = SqliteJournal(path, read_only=True)
    assert journal.verify()
    journal.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bytes_are_found_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("flip") / "journal.db"
    filled(path, 20)
    content = bytearray(path.read_bytes())
    journal = SqliteJournal(path)
    before = list(journal.read_all())
    journal.close()
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        journal = SqliteJournal(path, read_only=True)
    except (JournalDamaged, JournalUnavailable):
        return
    try:
        assert journal.verify() or list(journal.read_all()) == before
    except (JournalDamaged, JournalUnavailable):
        pass
    finally:
        journal.close()


def test_no_journal_to_read_is_said(path: Path) -> None:
    with pytest.raises(JournalUnavailable, match="there is no journal here"):
        SqliteJournal(path, read_only=True)
    assert not path.exists()


def test_a_read_only_journal_refuses_to_append(path: Path) -> None:
    filled(path)
    journal = SqliteJournal(path, read_only=True)
    with pytest.raises(JournalUnavailable, match="read-only"):
        journal.append("run/a", [NewRecord("A", b"")], at=1.0, expected_version=None)
    journal.close()


def test_a_place_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    with pytest.raises(JournalUnavailable):
        SqliteJournal(tmp_path / "state" / "journal.db")


def test_a_locked_journal_is_told_after_the_timeout(path: Path) -> None:
    filled(path)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    journal = SqliteJournal(path, busy_timeout_s=0.05)
    with pytest.raises(JournalUnavailable, match="held it for too long"):
        journal.append("run/a", [NewRecord("A", b"")], at=1.0, expected_version=None)
    assert len(journal.read("run/0")) == 3
    holder.execute("ROLLBACK")
    holder.close()
    journal.append("run/a", [NewRecord("A", b"")], at=1.0, expected_version=None)
    journal.close()


def in_child(work: Callable[[], None]) -> int:
    """The exit code of `work` in a process of its own."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_full_disk_loses_nothing_that_was_there(path: Path) -> None:
    filled(path)

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        journal = SqliteJournal(path)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        with pytest.raises(JournalUnavailable):
            journal.append("run/big", [NewRecord("A", b"x" * 1_000_000)], at=1.0, expected_version=None)
        assert journal.head() == 6

    assert in_child(work) == 0
    assert faults(path) == []
    filled(path, 2)
    assert faults(path) == []


def test_durable_records_are_named_by_the_head_file_and_the_others_at_close(path: Path) -> None:
    journal = SqliteJournal(path)
    head = path.with_name("journal.db.head")
    journal.append("run/a", [NewRecord("A", b"")], at=1.0, expected_version=None, durable=True)
    assert head.read_bytes().startswith(b"00000000000000000001 ")
    journal.append("run/a", [NewRecord("A", b"")], at=1.0, expected_version=None, durable=False)
    assert head.read_bytes().startswith(b"00000000000000000001 ")
    journal.close()
    assert head.read_bytes().startswith(b"00000000000000000002 ")


# -- tidying


def with_long_log(path: Path) -> SqliteJournal:
    journal = SqliteJournal(path, busy_timeout_s=5.0)
    for number in range(4):
        journal.append(
            "run/long", [NewRecord("A", b"%d" % number + bytes(LOG_BYTES_MAX // 3))], at=1.0,
            expected_version=number, durable=number == 2,
        )  # fmt: skip
    assert log_bytes(path) > LOG_BYTES_MAX
    return journal


def log_bytes(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size


def busy_timeout_ms(journal: SqliteJournal) -> int:
    return int(journal._connection.execute("PRAGMA busy_timeout").fetchone()[0])


def test_a_long_log_is_emptied_and_nothing_else_changes(path: Path) -> None:
    journal = with_long_log(path)
    before = list(journal.read_all())
    journal.tidy()
    assert log_bytes(path) == 0
    assert list(journal.read_all()) == before
    assert journal.verify() == [] and journal.lost_tail() is None
    assert busy_timeout_ms(journal) == 5000
    journal.append("run/long", [NewRecord("A", b"")], at=1.0, expected_version=4)
    journal.close()
    assert faults(path) == []


def test_a_short_log_is_left_as_it_is(path: Path) -> None:
    journal = SqliteJournal(path)
    journal.append("run/a", [NewRecord("A", b"")], at=1.0, expected_version=0)
    before = log_bytes(path)
    journal.tidy()
    assert 0 < log_bytes(path) == before
    journal.close()
    journal.tidy()


def test_what_only_reads_empties_nothing(path: Path) -> None:
    journal = with_long_log(path)
    before = log_bytes(path)
    reader = SqliteJournal(path, read_only=True)
    reader.tidy()
    assert log_bytes(path) == before
    reader.close()
    journal.close()


@pytest.mark.parametrize("work", ["BEGIN IMMEDIATE", "BEGIN"])
def test_somebody_else_at_work_is_neither_waited_for_nor_disturbed(path: Path, work: str) -> None:
    journal = with_long_log(path)
    before = list(journal.read_all())
    other = sqlite3.connect(path, isolation_level=None, timeout=0)
    other.execute(work)
    seen = other.execute("SELECT count(*) FROM records").fetchone()
    # Who wrote last cannot have been seen by this reader; a log that it still reads must stay.
    if work == "BEGIN":
        journal.append("run/long", [NewRecord("A", b"")], at=1.0, expected_version=4)
        before = list(journal.read_all())
    journal.tidy()
    assert log_bytes(path) > 0
    assert other.execute("SELECT count(*) FROM records").fetchone() == seen
    other.execute("COMMIT")
    other.close()
    assert busy_timeout_ms(journal) == 5000, "an append waits for others as before"
    assert list(journal.read_all()) == before and journal.verify() == []
    journal.tidy()
    assert log_bytes(path) == 0
    journal.close()
    assert faults(path) == []


def test_writers_of_other_processes_lose_nothing_while_one_tidies(path: Path) -> None:
    SqliteJournal(path).close()
    journal = SqliteJournal(path)
    children = [spawn(path, "any", 60) for _ in range(2)]
    while any(child.poll() is None for child in children):
        journal.append("run/mine", [NewRecord("A", bytes(LOG_BYTES_MAX))], at=1.0, expected_version=None)
        journal.tidy()
    for child in children:
        child.communicate(timeout=60)
        assert child.returncode == 0
    assert journal.version("run/shared") == 2 * 60 * 2
    assert journal.verify() == [] and journal.lost_tail() is None
    journal.close()


def test_a_tidying_that_fails_leaves_the_journal_as_patient_as_it_was(path: Path) -> None:
    journal = with_long_log(path)
    real, patience = journal._connection, list[int]()

    class Failing:
        def execute(self, statement: str, *arguments: object) -> object:
            if "checkpoint" in statement:
                patience.extend(real.execute("PRAGMA busy_timeout").fetchone())
                raise sqlite3.OperationalError("disk I/O error")
            return real.execute(statement, *arguments)

    journal._connection = Failing()  # type: ignore[assignment]
    with pytest.raises((JournalUnavailable, JournalDamaged)):
        journal.tidy()
    journal._connection = real
    assert patience == [0], "nobody waits for a tidying"
    assert busy_timeout_ms(journal) == 5000
    journal.close()


SYNCS = """
import os, sys
from akashic.journal.protocol import NewRecord
from akashic.journal.sqlite import SqliteJournal
journal = SqliteJournal(sys.argv[1])
for durable in (False, False, True, False):
    os.write(1, b"durable\\n" if durable else b"lazy\\n")
    journal.append("run/a", [NewRecord("A", b"")], at=1.0, expected_version=None, durable=durable)
os.write(1, b"closed\\n")
journal.close()
"""


def test_what_was_not_durable_alone_is_synced_with_the_next_that_is(path: Path, tmp_path: Path) -> None:
    """The log is one file: a sync of it is one of all that was appended before."""
    if shutil.which("strace") is None:
        pytest.skip("there is no strace")
    told = tmp_path / "calls"
    calls = ("strace", "-f", "-y", "-o", str(told), "-e", "trace=fsync,fdatasync,write")
    done = subprocess.run([*calls, sys.executable, "-c", SYNCS, str(path)], capture_output=True, text=True)
    if "ptrace" in done.stderr and done.returncode:
        pytest.skip("this machine does not let strace look on")
    assert done.returncode == 0, done.stderr
    parts: list[list[str]] = [[]]
    for line in told.read_text().splitlines():
        if "write(1<" in line:
            parts.append([])
        elif "sync(" in line:
            parts[-1].append(line)
    lazy, also_lazy, durable, last, closed = parts[1:]
    assert lazy == also_lazy == last == []
    assert len(durable) == 1 and "journal.db-wal" in durable[0]
    assert any("journal.db-wal" in line for line in closed), "what was lazy at the end is synced by closing"
