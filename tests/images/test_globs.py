from __future__ import annotations

import pytest

from akashic.images.globs import GlobSet


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("**", "a/b/c", True),
        ("src", "src/a/b.py", True),
        ("src", "srcs/a.py", False),
        ("*.py", "a.py", True),
        ("*.py", "a/b.py", False),
        ("**/*.py", "a.py", True),
        ("**/*.py", "a/b/c.py", True),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("**/.env", "deep/.env", True),
        ("**/.env", "deep/x.env", False),
        ("file?.txt", "file1.txt", True),
        ("a+b", "a+b", True),
    ],
)
def test_globs(pattern: str, path: str, expected: bool) -> None:
    assert GlobSet((pattern,)).matches(path) is expected


def test_no_pattern_matches_nothing() -> None:
    assert not GlobSet(()).matches("a")
