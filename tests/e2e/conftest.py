"""Shared by the tests of whole ways."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.fresh_clone import Clone, reason_to_skip


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    reason = reason_to_skip()
    if reason:
        pytest.skip(reason)
    made = Clone(tmp_path)
    yield made
    made.down()
