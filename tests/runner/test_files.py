"""Environment files and their error rules."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.runner.commands import Effects
from akashic.runner.files import (
    FILE_BYTES_MAX,
    SUMMARY_BYTES_MAX,
    FileCommandError,
    apply_file,
    parse_pairs,
    parse_paths,
)


def apply(kind: str, content: bytes) -> tuple[Effects, list[str]]:
    effects, errors = Effects(), []
    apply_file(kind, content, effects, error=errors.append, mask=lambda text: text)
    return effects, errors


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("", []),
        ("\n\n", []),
        ("a=1", [("a", "1")]),
        ("a=1\nb=2\n", [("a", "1"), ("b", "2")]),
        ("a=", [("a", "")]),
        ("a=b=c<<d", [("a", "b=c<<d")]),
        ("a<<EOF\nx\ny\nEOF\n", [("a", "x\ny")]),
        ("a<<EOF\nEOF", [("a", "")]),
        ("a<<EOF\n\nEOF", [("a", "")]),
        ("a<<EOF\n\n\nEOF", [("a", "\n")]),
        ("a<<=\nx=1\n=\nb=2", [("a", "x=1"), ("b", "2")]),
        ("a<<E\nx<<F\nE\n", [("a", "x<<F")]),
        ("\ufeffa=1\nb<<E\nx\nE\n", [("a", "1"), ("b", "x")]),
        ("a=1\r\nb<<E\r\nx\r\ny\r\nE\r\n", [("a", "1\r"), ("b", "x\r\ny\r")]),
        ("a=1\na=2\n", [("a", "1"), ("a", "2")]),
    ],
)
def test_pairs_are_read_as_github_reads_them(text: str, pairs: list[tuple[str, str]]) -> None:
    assert parse_pairs(text) == pairs


@pytest.mark.parametrize(
    "text",
    [
        "novalue",
        "=x",
        "<<EOF\nEOF",
        "a<<\nx\n",
        "a<<EOF\nx\n",
        "a<<EOF",
        "a<<EOF\nEOF \n",
        "a<<E\nx\nE\r\n",
        "\r\n",
    ],
)
def test_malformed_files_are_errors(text: str) -> None:
    with pytest.raises(FileCommandError):
        parse_pairs(text)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True),
        st.text(alphabet=st.characters(exclude_characters="\0", codec="utf-8")),
    )
)
def test_what_is_written_with_a_delimiter_is_read_back(pairs: dict[str, str]) -> None:
    text = "".join(f"{name}<<ghd_x1\n{value}\nghd_x1\n" for name, value in pairs.items())
    assert dict(parse_pairs(text)) == pairs


@given(st.binary(max_size=300))
def test_any_bytes_are_a_value_or_an_error(content: bytes) -> None:
    for kind in ("env", "output", "state", "path", "step_summary"):
        effects, errors = apply(kind, content)
        assert effects.failed == bool(errors)


def test_paths_are_lines() -> None:
    assert parse_paths("/a\n\n/b\r\n") == ["/a", "/b"]


def test_a_summary_that_is_too_large_is_dropped_without_failing_the_step() -> None:
    effects, errors = apply("step_summary", b"x" * (SUMMARY_BYTES_MAX + 1))
    assert effects.summary == "" and not effects.failed
    assert errors == [
        "$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of 1024k, got 1024k."
    ]
    effects, errors = apply("step_summary", b"x" * SUMMARY_BYTES_MAX)
    assert len(effects.summary) == SUMMARY_BYTES_MAX and not errors


def test_a_file_beyond_the_limit_fails_the_step() -> None:
    effects, errors = apply("output", b"a=" + b"x" * FILE_BYTES_MAX)
    assert effects.failed and "larger than" in errors[1]


def test_node_options_are_refused_in_the_environment_only() -> None:
    effects, errors = apply("env", b"NODE_OPTIONS=--require /x\nOTHER=1\n")
    assert effects.env == {"OTHER": "1"} and not effects.failed
    assert "NODE_OPTIONS" in errors[0]
    assert apply("output", b"NODE_OPTIONS=x\n")[0].outputs == {"NODE_OPTIONS": "x"}


def test_a_step_may_empty_the_temp_folder_and_the_runner_goes_on(house: Any) -> None:
    outcome = house.run(
        """
        - run: rm -rf "$RUNNER_TEMP"/* && ls -A "$RUNNER_TEMP"
        - id: later
          run: echo kept=yes >> "$GITHUB_OUTPUT"
        - run: echo "${{ steps.later.outputs.kept }}"
        """
    )
    assert outcome.result.conclusion == "success"
    assert "yes" in outcome.log.splitlines()


def test_a_step_may_put_anything_in_the_place_of_its_files(house: Any) -> None:
    outcome = house.run(
        """
        - run: rm $GITHUB_ENV $GITHUB_OUTPUT; mkdir $GITHUB_ENV; echo A=x > a; ln -s $PWD/a $GITHUB_OUTPUT
        - {id: later, run: echo A=after >> "$GITHUB_ENV"; echo B=out >> "$GITHUB_OUTPUT"}
        - run: echo "[$A] [${{ steps.later.outputs.B }}] [$(cat a)]"
        """
    )
    assert "[after] [out] [A=x]" in outcome.log.splitlines()
