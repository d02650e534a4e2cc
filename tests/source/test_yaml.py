"""YAML is read as GitHub reads it, and what is wrong is told with its place."""

import json
import math
import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from akashic.source.position import InvalidInput, Position
from akashic.source.yaml import (
    YAML_BYTES_MAX,
    YAML_DEPTH_MAX,
    Mapping,
    Node,
    Scalar,
    Sequence,
    load,
    resolve_scalar,
    to_data,
)


def read(text: str | bytes) -> Any:
    return to_data(load(text, "f.yml"))


def problem(text: str | bytes) -> str:
    with pytest.raises(InvalidInput) as caught:
        load(text, "f.yml")
    return caught.value.message


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("017", 17),
        ("0x1F", 31),
        ("0o17", 15),
        ("1e3", 1000),
        ("1.10", 1.1),
        ("-.5", -0.5),
        ("~", None),
        ("", None),
        ("Null", None),
        ("TRUE", True),
        ("tRUE", "tRUE"),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2001-01-01", "2001-01-01"),
        ("12345678901234567890", 12345678901234567890.0),
        ("9" * 5000, math.inf),
        ("=", "="),
    ],
)
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    resolved = resolve_scalar(text)
    assert resolved == value and type(resolved) is type(value)


def test_quoted_scalars_are_strings_and_tags_are_obeyed_or_ignored() -> None:
    text = "a: '1'\nb: \"true\"\nc: !!str 1\nd: !!int '7'\ne: !custom 3\nf: !thing [x]\ng: |\n  1\n"
    expected = {"a": "1", "b": "true", "c": "1", "d": 7, "e": 3, "f": ["x"], "g": "1\n"}
    assert read(text) == expected


def test_anchors_are_known_and_merge_keys_do_not_merge() -> None:
    assert read("a: &x {k: 1}\nb: *x\nc:\n  <<: *x\n  d: 2\n") == {
        "a": {"k": 1},
        "b": {"k": 1},
        "c": {"<<": {"k": 1}, "d": 2},
    }


def test_every_node_knows_its_place() -> None:
    root = load("a:\n  - b: c\n", "f.yml")
    assert isinstance(root, Mapping)
    key, value = root.entries[0]
    assert key.position == Position("f.yml", 1, 1)
    assert value.position == Position("f.yml", 2, 3)


def test_an_empty_text_is_nothing() -> None:
    assert load("", "f") == Scalar(None, "", Position("f", 1, 1))
    assert read("# only a comment\n") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "f.yml:3:1: error: the key `a` is written twice (first at line 1, column 1)"),
        ("a: [", "f.yml:2:1: error: this is not valid YAML"),
        ("a:\n\tb: 1", "tabs"),
        ("a: b: c", "must stand in quotes"),
        ("---\na\n---\nb", "only one YAML document"),
        ("a: *x", "f.yml:1:4: error: the alias `*x` has no anchor"),
        ("a: &x [*x]", "stands inside what it refers to"),
        ("? [a]\n: b", "a key must be a single value"),
        ("a: \x01", "f.yml:1:4: error: this is not valid YAML: control characters"),
        (b"a: 1\nb: \xff", "f.yml:2:4: error: the file is not UTF-8: byte 0xff"),
        ("[" * (YAML_DEPTH_MAX + 1), f"nested more than {YAML_DEPTH_MAX} levels"),
        ("a" * (YAML_BYTES_MAX + 1), "the limit is"),
    ],
)
def test_bad_yaml_has_a_place_and_a_reason(text: str | bytes, message: str) -> None:
    assert message in problem(text)


def test_a_byte_order_mark_is_no_text() -> None:
    assert read("\ufeffa: 1".encode()) == {"a": 1}


DATA = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.text(st.characters(codec="ascii"), max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(DATA)
def test_json_is_read_as_what_it_says(value: Any) -> None:
    assert read(json.dumps(value)) == value


@given(st.text(max_size=200) | st.text("ab:-[]{}&*!|>'\"#%@`,? \n\t", max_size=80) | st.binary(max_size=60))
def test_any_text_is_a_value_or_our_error(text: str | bytes) -> None:
    try:
        read(text)
    except InvalidInput as error:
        assert error.problems[0].position.file == "f.yml"


@pytest.mark.parametrize(
    ("text", "word", "place"),
    [
        ("a: x@y", "@y", (1, 5)),
        ("a: 'it''s @y'", "@y", (1, 11)),
        ('a: "\\u0041\\t@y"', "@y", (1, 13)),
        ("a: |\n  one\n    two @y\n", "@y", (3, 9)),
        ("a: |2-\n   one @y\n", "@y", (2, 8)),
        ("a: >\n  one\n  two\n\n  three @y\n", "@y", (5, 9)),
        ("a: one\n   two\n     @y", "@y", (3, 6)),
        ('a: "one\n   two\n\n  @y"', "@y", (4, 3)),
        ('a: "one \\\n     @y"', "@y", (2, 6)),
        ("a: |  # a comment\n\n  é @y\n", "@y", (3, 5)),
        ("a: |\r\n  one\r\n  @y\r\n", "@y", (3, 3)),
        ("[x, {a: one @y}]", "@y", (1, 13)),
    ],
)
def test_a_character_of_a_scalar_has_its_very_place(text: str, word: str, place: tuple[int, int]) -> None:
    scalar = next(item for item in _scalars(load(text, "f")) if word in item.text)
    found = scalar.place(scalar.text.index(word))
    assert (found.line, found.column) == place


def _scalars(node: Node) -> list[Scalar]:
    if isinstance(node, Scalar):
        return [node]
    inner = node.items if isinstance(node, Sequence) else [item for _, item in node.entries]
    return [scalar for item in inner for scalar in _scalars(item)]


@given(st.text(st.sampled_from("a b'\"\\\n:#|>-@\u2028é"), max_size=40))
def test_every_character_that_is_no_space_has_its_place_in_a_quoted_scalar(value: str) -> None:
    text = yaml.safe_dump({"k": value}, default_style='"', allow_unicode=True, width=20)
    scalar = load(text, "f").entries[0][1]  # type: ignore[union-attr]
    assert isinstance(scalar, Scalar) and scalar.text == value
    lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", text)
    for offset, character in enumerate(value):
        place = scalar.place(offset)
        if character in "ab:#|>-@é'":
            assert lines[place.line - 1][place.column - 1] == character
