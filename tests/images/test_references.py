from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.errors import UsageError
from akashic.images.references import Reference, check_tag, parse_reference, tag_of, tags_for

COMMIT = "1234567890abcdef1234567890abcdef12345678"


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("refs/heads/main", ("main", "main-1234567", "latest")),
        ("refs/heads/develop", ("develop", "develop-1234567")),
        ("refs/heads/feature/Neu+1", ("feature-Neu-1", "feature-Neu-1-1234567")),
        ("refs/pull/12/merge", ("pr-12",)),
        ("refs/tags/v1.2.3", ("v1.2.3",)),
        ("", ("sha-1234567",)),
    ],
)
def test_branches_pull_requests_and_tags_name_an_image(ref: str, expected: tuple[str, ...]) -> None:
    assert tags_for(ref, COMMIT) == expected


@given(st.text(min_size=1).map(lambda text: "x" + text))
def test_every_branch_gives_tags_that_are_tags(branch: str) -> None:
    for tag in tags_for(f"refs/heads/{branch}", COMMIT):
        assert check_tag(tag) == tag


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("app", Reference(name="app")),
        ("team/app:1.0", Reference(name="team/app", tag="1.0")),
        ("localhost:5000/app", Reference(registry="localhost:5000", name="app")),
        (
            f"ghcr.io/a/b:x@sha256:{'0' * 64}",
            Reference(registry="ghcr.io", name="a/b", tag="x", digest=f"sha256:{'0' * 64}"),
        ),
    ],
)
def test_references_are_read_and_written(text: str, expected: Reference) -> None:
    assert parse_reference(text) == expected
    assert str(expected) == text


@pytest.mark.parametrize("text", ["", "App", "a/../b", "a:-x", "a@sha256:12", "--privileged", "a b", "a//b"])
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reference(text)


def test_a_name_without_any_letter_gives_no_tag() -> None:
    with pytest.raises(UsageError):
        tag_of("///")
