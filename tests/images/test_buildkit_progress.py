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


NEXT = vertex(b"sha256:next", b"the next step", started=b"t")


@given(st.binary(max_size=200))
def test_no_message_breaks_the_build(message: bytes) -> None:
    progress = Progress()
    assert all(line.startswith("#") for line in progress.lines(message))
    (line,) = progress.lines(NEXT)
    assert line.endswith(" the next step")


FIELDS = st.tuples(st.integers(1, 8), st.integers(0, 127) | st.binary(max_size=20))
PARTS = st.lists(FIELDS, max_size=5).map(lambda fields: b"".join(field(*one) for one in fields))


@given(st.lists(st.tuples(st.sampled_from([1, 2, 3]), PARTS | st.binary(max_size=40)), max_size=4))
def test_no_part_of_a_message_breaks_the_build(parts: list[tuple[int, bytes]]) -> None:
    """Also not fields that have the numbers of ours and another type."""
    progress = Progress()
    message = b"".join(field(number, part) for number, part in parts)
    assert all(line.startswith("#") for line in progress.lines(message))
    (line,) = progress.lines(NEXT)
    assert line.endswith(" the next step")
