"""What an artifact may be called, and how names are looked for."""

import pytest

from akashic.journal.artifact import ArtifactError, check_name, matches


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", 'a"', "a:b", "a*", "a?", "a\nb", "a\0b", "x" * 300]
)
def test_names_that_github_refuses(name: str) -> None:
    with pytest.raises(ArtifactError):
        check_name(name)


@pytest.mark.parametrize(
    ("pattern", "expected"), [("*", True), ("rep*", True), ("{a,report}-?", True), ("[a-c]*", False)]
)
def test_patterns(pattern: str, expected: bool) -> None:
    assert matches("report-1", pattern) is expected
