"""What every journal must do; subclassed for each store."""

from __future__ import annotations

import threading

import pytest

from akashic.journal.chain import GENESIS_HASH
from akashic.journal.protocol import Conflict, Journal, JournalUnavailable, NewRecord


def new(number: int = 0, type: str = "Happened") -> NewRecord:
    return NewRecord(type, b'{"number":%d}' % number)


class JournalContract:
    @pytest.fixture
    def journal(self) -> Journal:
        raise NotImplementedError

    def test_records_come_back_as_they_were_appended(self, journal: Journal) -> None:
        appended = journal.append("run/a", [new(1), new(2, "Other")], at=12.5, expected_version=0)
        assert journal.read("run/a") == appended
        assert [(record.position, record.version) for record in appended] == [(1, 1), (2, 2)]
        assert [record.type for record in appended] == ["Happened", "Other"]
        assert appended[1].data == b'{"number":2}' and appended[1].at == 12.5

    def test_each_record_holds_the_hash_of_the_one_before_across_streams(self, journal: Journal) -> None:
        first = journal.append("run/a", [new()], at=1.0, expected_version=0)[0]
        second = journal.append("run/b", [new()], at=2.0, expected_version=0)[0]
        assert first.previous_hash == GENESIS_HASH
        assert second.previous_hash == first.hash != second.hash
        assert journal.verify() == []

    def test_of_two_writers_that_saw_the_same_version_one_wins(self, journal: Journal) -> None:
        journal.append("run/a", [new()], at=1.0, expected_version=0)
        with pytest.raises(Conflict, match="run/a is at version 1, expected 0"):
            journal.append("run/a", [new()], at=1.0, expected_version=0)
        assert journal.version("run/a") == 1

    def test_without_an_expected_version_it_appends_whatever_is_there(self, journal: Journal) -> None:
        for _ in range(3):
            journal.append("run/a", [new()], at=1.0, expected_version=None, durable=False)
        assert journal.version("run/a") == 3

    def test_appending_nothing_changes_nothing(self, journal: Journal) -> None:
        assert journal.append("run/a", [], at=1.0, expected_version=0) == []
        assert journal.head() == 0 and journal.version("run/a") == 0

    def test_reading_on_after_a_version_or_a_position(self, journal: Journal) -> None:
        for number in range(5):
            journal.append(f"run/{number % 2}", [new(number)], at=1.0, expected_version=None)
        assert [record.version for record in journal.read("run/0", after_version=1)] == [2, 3]
        assert [record.position for record in journal.read_all(after_position=2, records_max=2)] == [3, 4]
        assert journal.head() == 5

    def test_streams_by_prefix_in_order_of_their_first_record(self, journal: Journal) -> None:
        for name in ("run/a", "group/x", "run/b", "run/a", "run_/c"):
            journal.append(name, [new()], at=1.0, expected_version=None)
        assert journal.streams("run/") == ["run/b", "run/a"]
        assert journal.streams("run/", newest_first=False) == ["run/a", "run/b"]
        assert journal.streams(streams_max=1) == ["run_/c"]

    def test_names_with_wild_cards_are_only_names(self, journal: Journal) -> None:
        journal.append("run/%", [new()], at=1.0, expected_version=0)
        journal.append("run/a", [new()], at=1.0, expected_version=0)
        assert journal.streams("run/%") == ["run/%"]

    def test_wait_is_over_when_there_is_something_already(self, journal: Journal) -> None:
        journal.append("run/a", [new()], at=1.0, expected_version=0)
        assert journal.wait(after_position=0, timeout_s=0.0)

    def test_wait_gives_up_in_time(self, journal: Journal) -> None:
        assert not journal.wait(after_position=0, timeout_s=0.01)

    def test_wait_sees_an_append_of_another_thread(self, journal: Journal) -> None:
        def append() -> None:
            journal.append("run/a", [new()], at=1.0, expected_version=0)

        thread = threading.Timer(0.05, append)
        thread.start()
        assert journal.wait(after_position=0, timeout_s=30.0)
        thread.join()

    def test_threads_append_to_one_stream_without_loss(self, journal: Journal) -> None:
        def append() -> None:
            for number in range(25):
                journal.append("run/a", [new(number)], at=1.0, expected_version=None, durable=False)

        threads = [threading.Thread(target=append) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [record.version for record in journal.read("run/a")] == list(range(1, 101))
        assert journal.verify() == []

    def test_a_closed_journal_says_so(self, journal: Journal) -> None:
        journal.close()
        journal.close()
        with pytest.raises(JournalUnavailable, match="closed"):
            journal.append("run/a", [new()], at=1.0, expected_version=0)
