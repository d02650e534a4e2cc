"""Sizes as people write them: `512m`, `4g`."""

from __future__ import annotations

import re

SIZE_PATTERN = r"^[0-9]{1,9}[bkmgtBKMGT]?$"
_UNITS = "bkmgt"


def size_bytes(text: str) -> int | None:
    """The bytes of a size; None for what is no size, or no bytes at all."""
    if re.fullmatch(SIZE_PATTERN, text) is None:
        return None
    unit = text[-1].lower()
    number = int(text.rstrip(text[-1]) if unit in _UNITS else text)
    return (number << (10 * _UNITS.index(unit) if unit in _UNITS else 0)) or None
