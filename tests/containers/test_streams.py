"""Output of two kinds in one stream, and lines of JSON."""

from __future__ import annotations

import io

from hypothesis import given
from hypothesis import strategies as st

from akashic.containers.streams import Demultiplexer, json_objects


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40))), st.integers(1, 9))
def test_pieces_come_out_in_order_wherever_the_stream_is_cut(
    pieces: list[tuple[int, bytes]], size: int
) -> None:
    stream = b"".join(bytes([kind, 0, 0, 0]) + len(text).to_bytes(4, "big") + text for kind, text in pieces)
    out: list[bytes] = []
    split = Demultiplexer(out.append)
    for at in range(0, len(stream), size):
        split.feed(stream[at : at + size])
    assert b"".join(out) == b"".join(text for _, text in pieces)


def test_what_is_no_object_is_left_out() -> None:
    stream = io.BytesIO(b'{"a": 1}\r\n\nnot json\n[1]\n{"b": 2}')
    assert list(json_objects(stream)) == [{"a": 1}, {"b": 2}]
