"""The generated pages of the reference say what the program does."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts import reference


@pytest.mark.parametrize("path", list(reference.pages()), ids=lambda path: path.name)
def test_a_generated_page_is_fresh(path: Path) -> None:
    assert path.is_file(), f"{path.name} is missing: {reference.CURE}"
    fresh = path.read_text("utf-8") == reference.pages()[path]
    assert fresh, f"docs/reference/{path.name} is stale: {reference.CURE}"
