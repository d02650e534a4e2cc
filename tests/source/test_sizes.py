"""Sizes as people write them."""

from __future__ import annotations

import pytest

from akashic.source.sizes import size_bytes


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("512", 512),
        ("5b", 5),
        ("2k", 2048),
        ("512m", 512 << 20),
        ("4G", 4 << 30),
        ("1t", 1 << 40),
        ("11", 11),
    ],
)
def test_a_size(text: str, wanted: int) -> None:
    assert size_bytes(text) == wanted


@pytest.mark.parametrize("text", ["", "0", "0g", "g", "-1m", "1.5g", "4 g", "4gb", "9999999999", "١m"])
def test_no_size(text: str) -> None:
    assert size_bytes(text) is None
