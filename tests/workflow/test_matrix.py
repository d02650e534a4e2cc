"""A matrix expands to the letter of GitHub's documentation."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.source.position import InvalidInput, Position
from akashic.workflow.matrix import MATRIX_JOBS_MAX, expand

HERE = Position("f.yml", 2, 3)


def values(matrix: Any) -> list[dict[str, Any]]:
    return [combination.values for combination in expand(matrix, position=HERE)]


def test_the_example_of_the_documentation_for_include() -> None:
    matrix = {
        "fruit": ["apple", "pear"],
        "animal": ["cat", "dog"],
        "include": [
            {"color": "green"},
            {"color": "pink", "animal": "cat"},
            {"fruit": "apple", "shape": "circle"},
            {"fruit": "banana"},
            {"fruit": "banana", "animal": "cat"},
        ],
    }
    assert values(matrix) == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


def test_exclude_matches_in_part_and_include_can_add_back() -> None:
    matrix = {
        "os": ["mac", "win"],
        "version": [12, 14],
        "exclude": [{"os": "mac", "version": 12}, {"os": "win"}],
        "include": [{"os": "win", "version": 12}],
    }
    assert values(matrix) == [{"os": "mac", "version": 14}, {"os": "win", "version": 12}]


def test_exclude_compares_inside_objects() -> None:
    matrix = {"node": [{"version": 14}, {"version": 20, "env": "x"}], "exclude": [{"node": {"version": 20}}]}
    assert values(matrix) == [{"node": {"version": 14}}]


def test_names_show_the_values() -> None:
    matrix = {"os": ["ubuntu"], "version": [3.11, True], "include": [{"os": "mac", "extra": {"a": 1}}]}
    names = [combination.name("test") for combination in expand(matrix, position=HERE)]
    assert names == ["test (ubuntu, 3.11)", "test (ubuntu, true)", "test (mac, 1)"]


def test_long_names_are_cut() -> None:
    assert len(expand({"a": ["x" * 300]}, position=HERE)[0].name("job")) == 100


def test_index_and_total_count_all_instances() -> None:
    cells = expand({"a": [1, 2], "include": [{"a": 3}]}, position=HERE)
    assert [(cell.index, cell.total) for cell in cells] == [(0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ("x", "must be a mapping, not a string"),
        ({"os": "x"}, "must be a list, not a string"),
        ({"os": []}, "has no values"),
        ({}, "has no combinations"),
        ({"os": ["a"], "exclude": [{"os": "a"}]}, "has no combinations"),
        ({"os": ["a"], "exclude": [{"is": "a"}]}, "not a variable of the matrix"),
        ({"os": ["a"], "include": {"os": "a"}}, "must be a list of mappings"),
        ({"os": ["a"], "include": ["a"]}, "must be a mapping, not a string"),
        ({"a": list(range(257))}, "makes 257 jobs; the limit is 256"),
        ({key: list(range(100)) for key in "abcdefgh"}, "the limit is 256"),
    ],
)
def test_a_wrong_matrix_says_what_is_wrong(matrix: Any, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        expand(matrix, position=HERE, job="test")
    assert message in caught.value.message
    assert str(HERE) in caught.value.message


CELLS = st.sampled_from(["a", "b", 1, True, None])
AXES = st.dictionaries(st.sampled_from("xyz"), st.lists(CELLS, min_size=1, max_size=4), max_size=3)
ENTRIES = st.lists(st.dictionaries(st.sampled_from("xyzuv"), CELLS, max_size=3), max_size=4)


@given(AXES, ENTRIES, ENTRIES)
def test_no_combination_is_excluded_and_no_original_value_is_overwritten(
    axes: dict[str, list[Any]], include: list[dict[str, Any]], exclude: list[dict[str, Any]]
) -> None:
    matrix = {**axes, "include": include, "exclude": exclude}
    try:
        cells = expand(matrix, position=HERE)
    except InvalidInput:
        return
    assert 0 < len(cells) <= MATRIX_JOBS_MAX
    assert [cell.index for cell in cells] == list(range(len(cells)))
    plain: dict[str, Any] = {**axes, "exclude": exclude}
    try:
        originals = values(plain)
    except InvalidInput:
        originals = []
    for cell, original in zip(cells, originals, strict=False):
        assert original.items() <= cell.values.items()
    assert len(cells) <= len(originals) + len(include)


@given(
    st.recursive(CELLS | st.text(max_size=3), lambda i: st.lists(i) | st.dictionaries(st.text(max_size=8), i))
)
def test_any_value_is_a_matrix_or_our_error(value: Any) -> None:
    for matrix in (value, {"include": value}, {"a": [1], "exclude": value}, {"a": value}):
        try:
            expand(matrix, position=HERE)
        except InvalidInput as error:
            assert error.problems
