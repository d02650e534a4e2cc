"""The generated pages of the reference say what the program does."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
_spec = importlib.util.spec_from_file_location("reference_pages", ROOT / "scripts" / "reference.py")
assert _spec is not None and _spec.loader is not None
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)


@pytest.mark.parametrize("path", list(reference.pages()), ids=lambda path: path.name)
def test_a_generated_page_is_fresh(path: Path) -> None:
    assert path.is_file(), f"{path.name} is missing: {reference.CURE}"
    fresh = path.read_text("utf-8") == reference.pages()[path]
    assert fresh, f"docs/reference/{path.name} is stale: {reference.CURE}"
