"""BuildKit's messages as lines, whatever arrives."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from akashic.images.buildkit import Progress


def field(number: int, value: bytes | int) -> bytes:
    if isinstance(value, int):
        return bytes([number << 3, value])
    assert len(value) < 128
    return bytes([number << 3 | 2, len(value)]) + value


def vertex(digest: bytes, name: bytes, **parts: bytes | int) -> bytes:
    numbers = {"cached": 4, "started": 5, "completed": 6, "error": 7}
    rest = b"".join(field(numbers[key], value) for key, value in parts.items())
    return field(1, field(1, digest) + field(3, name) + rest)


def log(digest: bytes, text: bytes) -> bytes:
    return field(3, field(1, digest) + field(4, text))


def test_steps_their_output_and_their_end_are_told_once_and_in_order() -> None:
    progress = Progress()
    messages = [
        vertex(b"i", b"[internal] load remote build context", started=b"t"),
        vertex(b"a", b"[1/2] COPY src /app"),
        vertex(b"a", b"[1/2] COPY src /app", started=b"t"),
        vertex(b"a", b"[1/2] COPY src /app", started=b"t", cached=1),
        vertex(b"b", b"[2/2] RUN make", started=b"t") + log(b"b", b"one\ntw"),
        log(b"b", b"o\n10%\r20%\r100%\n"),
        vertex(b"b", b"[2/2] RUN make", started=b"t", error=b"exit code: 1"),
    ]
    assert [line for message in messages for line in progress.lines(message)] == [
        "#2 [1/2] COPY src /app",
        "#2 CACHED",
        "#3 [2/2] RUN make",
        "#3 one",
        "#3 two",
        "#3 100%",
        "#3 ERROR: exit code: 1",
    ]


@given(st.binary(max_size=200))
def test_no_message_breaks_the_build(message: bytes) -> None:
    for line in Progress().lines(message):
        assert isinstance(line, str)


@given(st.binary(max_size=60), st.sampled_from([1, 3]))
def test_no_part_of_a_message_breaks_the_build(part: bytes, number: int) -> None:
    list(Progress().lines(field(number, part)))
