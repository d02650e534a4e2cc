"""Logs: frames that nothing in a log can forge, followers, and crashes in the middle of a line."""

from __future__ import annotations

import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.journal.logs import FRAME_BYTES_MAX, LogLine, LogStore, LogUnavailable


@pytest.fixture
def logs(tmp_path: Path) -> LogStore:
    return LogStore(tmp_path / "logs")


def test_lines_come_back_with_their_step_and_time(logs: LogStore) -> None:
    with logs.writer("R", "build", 1) as writer:
        writer.append(1, 10.5, b"one\ntwo\n")
        writer.append(2, 11.0, b"three")
    assert list(logs.read("R", "build", 1)) == [
        LogLine(1, 10.5, "one"),
        LogLine(1, 10.5, "two"),
        LogLine(2, 11.0, "three"),
    ]


def test_the_offsets_of_a_writer_cut_out_one_step(logs: LogStore) -> None:
    with logs.writer("R", "build", 1) as writer:
        writer.append(1, 1.0, b"one\n")
        begin = writer.offset
        writer.append(2, 1.0, b"two\n")
        end = writer.offset
        writer.append(3, 1.0, b"three\n")
    assert [line.text for line in logs.read("R", "build", 1, from_offset=begin, to_offset=end)] == ["two"]


def test_no_log_has_no_lines(logs: LogStore) -> None:
    assert list(logs.read("R", "build", 1)) == [] and not logs.exists("R", "build", 1)


def test_a_log_that_looks_like_a_frame_is_only_text(logs: LogStore) -> None:
    with logs.writer("R", "build", 1) as writer:
        writer.append(1, 1.0, b"9 1.0 5\nabcd\n\x00\xff\x1b[31m\n")
    assert [line.step for line in logs.read("R", "build", 1)] == [1, 1, 1]
    assert next(logs.read("R", "build", 1)).text == "9 1.0 5"


@given(parts=st.lists(st.binary(min_size=1, max_size=200), max_size=10), cut=st.integers(0, 3000))
def test_whatever_a_crash_leaves_is_read_as_a_prefix_and_written_on(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], cut: int
) -> None:
    logs = LogStore(tmp_path_factory.mktemp("logs"))
    with logs.writer("R", "k", 1) as writer:
        for number, part in enumerate(parts):
            writer.append(number, 1.0, part)
    whole = list(logs.read("R", "k", 1))
    path = logs.path("R", "k", 1)
    path.write_bytes(path.read_bytes()[:cut])
    torn = list(logs.read("R", "k", 1))
    assert torn == whole[: len(torn)]
    with logs.writer("R", "k", 1) as writer:
        writer.append(77, 2.0, b"after\n")
    assert list(logs.read("R", "k", 1)) == [*torn, LogLine(77, 2.0, "after")]


def test_following_a_log_that_another_process_writes(logs: LogStore) -> None:
    code = (
        "import sys, time\nfrom akashic.journal.logs import LogStore\n"
        "with LogStore(sys.argv[1]).writer('R', 'k', 1) as writer:\n"
        "    for number in range(5):\n"
        "        writer.append(1, float(number), b'line %d\\n' % number)\n"
        "        time.sleep(0.02)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(logs.folder)])
    lines = logs.follow("R", "k", 1, until=lambda: child.poll() is not None)
    assert [line.text for line in lines] == [f"line {number}" for number in range(5)]


def test_following_ends_with_all_that_was_written_before_the_end(logs: LogStore) -> None:
    over = threading.Event()
    with logs.writer("R", "k", 1) as writer:
        writer.append(1, 1.0, b"first\n")
        lines = logs.follow("R", "k", 1, until=over.is_set)
        assert next(lines).text == "first"
        writer.append(1, 1.0, b"last\n")
        over.set()
        assert [line.text for line in lines] == ["last"]


def test_a_large_append_becomes_frames_of_bounded_size(logs: LogStore) -> None:
    text = b"".join(b"line %d\n" % number for number in range(200_000))
    with logs.writer("R", "k", 1) as writer:
        writer.append(1, 1.0, text)
    frames = list(logs.frames("R", "k", 1))
    assert all(len(frame.data) <= FRAME_BYTES_MAX for frame in frames)
    assert b"".join(frame.data for frame in frames) == text


def test_one_line_longer_than_a_frame_stays_one_line(logs: LogStore) -> None:
    with logs.writer("R", "k", 1) as writer:
        writer.append(1, 1.0, b"x" * 1_000_000 + b"\nshort\n")
    assert [len(line.text) for line in logs.read("R", "k", 1)] == [1_000_000, 5]


def test_reading_a_large_log_needs_little_memory(logs: LogStore) -> None:
    chunk = b"0123456789abcdef\n" * 4096
    with logs.writer("R", "k", 1) as writer:
        for _ in range(600):
            writer.append(1, 1.0, chunk)
    assert writer.offset > 40_000_000
    tracemalloc.start()
    try:
        assert sum(1 for _ in logs.frames("R", "k", 1)) == 600
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("")
    with pytest.raises(LogUnavailable, match="log cannot be written"):
        LogStore(tmp_path / "logs").writer("R", "k", 1)
