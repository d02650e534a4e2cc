"""A matrix expands to the letter of GitHub's documentation."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from akashic.source.position import InvalidInput, Position
from akashic.workflow.expressions import Scope, evaluate
from akashic.workflow.matrix import expand

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


CELLS = st.sampled_from(["a", "A", "b", "1", 1, 0, True, None, {"k": "a"}, {"k": 1, "l": "b"}, ["a"], []])
AXES = st.dictionaries(st.sampled_from("xyz"), st.lists(CELLS, min_size=1, max_size=4), max_size=3)
ENTRY = st.dictionaries(st.sampled_from(["x", "X", "y", "z", "u", "v"]), CELLS, max_size=3)
ENTRIES = st.lists(ENTRY, max_size=4)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for index, item in enumerate(value) for leaf in leaves(item, (*path, index))]
    return [(path, value)]


def agrees(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """As GitHub's runner does: one expression `matrix['x']['y'] == literal` for each leaf of the filter."""
    for path, value in leaves(wanted):
        chain = "".join(f"[{key}]" if isinstance(key, int) else f"['{key}']" for key in path)
        literal = f"'{value}'" if isinstance(value, str) else json.dumps(value)
        if not evaluate(f"matrix{chain} == {literal}", Scope(contexts={"matrix": row})):
            return False
    return True


def brute_force(axes: dict[str, list[Any]], include: list[Any], exclude: list[Any]) -> list[dict[str, Any]]:
    """The documentation's two sentences, written out without any care for speed."""
    rows: list[dict[str, Any]] = [{}] if axes else []
    for name, cells in axes.items():
        rows = [row | {name: cell} for row in rows for cell in cells]
    originals = [row for row in rows if not any(agrees(row, entry) for entry in exclude)]
    known = {name.lower() for name in axes}
    results = [dict(row) for row in originals]
    for entry in include:
        filters = {name: value for name, value in entry.items() if name.lower() in known}
        extra = {name: value for name, value in entry.items() if name.lower() not in known}
        fitting = [index for index, row in enumerate(originals) if agrees(row, filters)]
        for index in fitting:
            # Case does not distinguish names: what an earlier entry added is overwritten.
            names = {name.lower(): name for name in results[index]}
            results[index] |= {names.get(name.lower(), name): value for name, value in extra.items()}
        if not fitting:
            results.append(filters | extra)
    return results


@settings(max_examples=300)
@given(AXES, ENTRIES, ENTRIES)
def test_a_matrix_expands_as_the_documentation_says(
    axes: dict[str, list[Any]], include: list[dict[str, Any]], exclude: list[dict[str, Any]]
) -> None:
    matrix: dict[str, Any] = dict(axes)
    matrix |= {"include": include} if include else {}
    matrix |= {"exclude": exclude} if exclude else {}
    known = {name.lower() for name in axes}
    # One entry may not name a variable twice, and an exclude names variables of the matrix only.
    twice = any(len({name.lower() for name in entry}) < len(entry) for entry in include + exclude)
    unknown = any(name.lower() not in known for entry in exclude for name in entry)
    empty = not all(include + exclude)
    if twice:
        return
    wanted = [] if unknown or empty else brute_force(axes, include, exclude)
    try:
        cells = expand(matrix, position=HERE)
    except InvalidInput as error:
        assert not wanted, error.message
        return
    assert [cell.values for cell in cells] == wanted
    assert [(cell.index, cell.total) for cell in cells] == [(i, len(wanted)) for i in range(len(wanted))]


@given(
    st.recursive(CELLS | st.text(max_size=3), lambda i: st.lists(i) | st.dictionaries(st.text(max_size=8), i))
)
def test_any_value_is_a_matrix_or_our_error(value: Any) -> None:
    for matrix in (value, {"include": value}, {"a": [1], "exclude": value}, {"a": value}):
        try:
            expand(matrix, position=HERE)
        except InvalidInput as error:
            assert error.problems


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        ({"os": "LINUX"}, ["mac"]),
        ({"OS": "linux"}, ["mac"]),
        ({"v": "1"}, []),
        ({"v": True}, []),
        ({"v": None}, ["linux", "mac"]),
        ({"v": {"x": None}}, []),
    ],
)
def test_exclude_compares_as_expressions_do(exclude: dict[str, Any], left: list[str]) -> None:
    matrix = {"os": ["linux", "mac"], "v": [1], "exclude": [exclude], "include": [{"os": "last"}]}
    assert [row["os"] for row in values(matrix)] == [*left, "last"]


def test_an_added_combination_shows_the_variables_first() -> None:
    matrix = {"os": ["linux"], "include": [{"extra": 1, "os": "mac"}]}
    assert expand(matrix, position=HERE)[1].name("test") == "test (mac, 1)"


@pytest.mark.parametrize("key", ["include", "exclude"])
def test_an_empty_entry_is_an_error_as_in_the_runner(key: str) -> None:
    with pytest.raises(InvalidInput, match="is empty"):
        expand({"os": ["a"], key: [{}]}, position=HERE)


def test_a_hostile_number_of_filters_is_refused() -> None:
    axes: dict[str, Any] = {name: list(range(25)) for name in "abc"}
    with pytest.raises(InvalidInput, match="comparisons"):
        expand(axes | {"exclude": [{"a": 99}] * 10_000}, position=HERE)
