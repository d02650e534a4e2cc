"""Values, templates and conditions."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.source.position import Position
from akashic.workflow.expressions import (
    ExpressionError,
    Scope,
    Status,
    condition,
    evaluate,
    interpolate,
    parse_expression,
    uses_status_function,
)
from akashic.workflow.expressions.lexer import EXPRESSION_CHARACTERS_MAX
from akashic.workflow.expressions.parser import EXPRESSION_DEPTH_MAX

HERE = Position("f.yml", 3, 5)
SCOPE = Scope(contexts={"github": {"ref": "main", "event": {"list": [1, 2]}}, "env": {"A": "x", "a": "y"}})
GOOD = Status()
BAD = Status(success=False, failure=True)


def scope(status: Status) -> Scope:
    return Scope(contexts=SCOPE.contexts, status=status)


def test_a_single_expression_keeps_its_type() -> None:
    assert interpolate("${{ github.event.list }}", SCOPE, HERE) == [1, 2]
    assert interpolate("${{ 1 }}", SCOPE, HERE) == 1
    assert interpolate("${{ true }}", SCOPE, HERE) is True


def test_expressions_among_text_become_strings() -> None:
    text = "a ${{ 1.0 }} ${{ null }}${{ true }} ${{ github }} ${{ '}}' }}"
    assert interpolate(text, SCOPE, HERE) == "a 1 true Object }}"


def test_mappings_and_lists_are_interpolated_inside_with_insert() -> None:
    value = {"${{ insert }}": "${{ fromJSON('{\"x\": 1}') }}", "k${{ 1 }}": ["${{ 2 }}"], "n": 3}
    assert interpolate(value, SCOPE, HERE) == {"x": 1, "k1": [2], "n": 3}


def test_an_error_names_the_place_and_the_character() -> None:
    with pytest.raises(ExpressionError) as caught:
        interpolate("x ${{ nope.x }}", SCOPE, HERE)
    assert caught.value.message.startswith("f.yml:3:5: unrecognized named-value `nope` (at character 2")
    assert "github" in caught.value.hint


def test_environment_names_that_differ_in_case_are_told_apart_when_written_exactly() -> None:
    assert (evaluate("env.A", SCOPE), evaluate("env.a", SCOPE)) == ("x", "y")


@pytest.mark.parametrize(
    ("text", "good", "bad"),
    [
        (None, True, False),
        ("  ", True, False),
        (True, True, False),
        ("github.ref == 'MAIN'", True, False),
        ("${{ github.ref == 'main' }}", True, False),
        ("github.ref == 'x'", False, False),
        ("always()", True, True),
        ("${{ failure() }}", False, True),
        ("failure() || github.ref == 'main'", True, True),
        ("!cancelled()", True, True),
        ("${{ false }} ", True, False),
        ("!${{ true }}", True, False),
        ("${{ 0 }}", False, False),
    ],
)
def test_a_condition_adds_success_unless_a_status_is_asked_for(text: Any, good: bool, bad: bool) -> None:
    assert condition(text, scope(GOOD)) is good
    assert condition(text, scope(BAD)) is bad


def test_status_functions_are_found_anywhere_in_a_condition() -> None:
    assert uses_status_function("${{ github.ref == 'x' && ALWAYS() }}")
    assert not uses_status_function("contains('always()', 'a')")


def test_success_and_failure_of_named_jobs() -> None:
    some = scope(Status(success=False, failure=True, needs={"a": "success", "b": "failure"}))
    assert evaluate("success('a')", some) is True
    assert evaluate("failure('a')", some) is False
    assert evaluate("failure('a', 'B')", some) is True


def test_functions_that_the_scope_does_not_give_are_refused() -> None:
    for text in ("success()", "hashFiles('x')"):
        with pytest.raises(ExpressionError, match="not available here"):
            evaluate(text, SCOPE)


def test_hash_files_gets_its_patterns() -> None:
    seen: list[str] = []

    def hashed(patterns: Any) -> str:
        seen.extend(patterns)
        return "abc"

    assert evaluate("hashFiles('a', 'b/**')", Scope(contexts={}, hash_files=hashed)) == "abc"
    assert seen == ["a", "b/**"]


def test_case_looks_only_at_what_it_needs() -> None:
    assert evaluate("case(true, 1, fromJSON(''))", SCOPE) == 1


def test_short_circuit_does_not_evaluate_the_rest() -> None:
    assert evaluate("false && fromJSON('')", SCOPE) is False
    assert evaluate("1 || fromJSON('')", SCOPE) == 1


def test_json_is_printed_as_github_prints_it() -> None:
    value = {"a": [], "b": {}, "c": [1, {"d": 'é\n\u0001"'}]}
    assert evaluate("toJSON(github)", Scope(contexts={"github": value})) == (
        '{\n  "a": [],\n  "b": {},\n  "c": [\n    1,\n    {\n      "d": "é\\n\\u0001\\""\n    }\n  ]\n}'
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an expression was expected"),
        ("github.", "ends too early"),
        ("foo(", "ends too early"),
        ("'a", "the string is not closed"),
        ('"a"', "unexpected symbol"),
        ("contain('a', 'b')", "there is no function `contain`"),
        ("contains('a')", "takes 2 arguments, not 1"),
        ("join()", "takes 1 to 2 arguments"),
        ("case(1, 2, 3, 4)", "odd number"),
        ("f(1,)", "unexpected symbol"),
        ("1 +1", "unexpected symbol"),
    ],
)
def test_mistakes_are_named(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message.replace("(", r"\(")):
        parse_expression(text)


def test_a_misspelled_function_has_a_hint() -> None:
    with pytest.raises(ExpressionError) as caught:
        parse_expression("startWith('a', 'b')")
    assert caught.value.hint == "did you mean `startsWith`?"


def test_depth_and_length_have_limits() -> None:
    assert evaluate("(" * (EXPRESSION_DEPTH_MAX - 1) + "1" + ")" * (EXPRESSION_DEPTH_MAX - 1), SCOPE) == 1
    for text in (
        "(" * EXPRESSION_DEPTH_MAX + "1" + ")" * EXPRESSION_DEPTH_MAX,
        "!" * 60 + "1",
        "github" + ".a" * 60,
    ):
        with pytest.raises(ExpressionError, match="nested more than 50"):
            parse_expression(text)
    with pytest.raises(ExpressionError, match="21,000"):
        parse_expression("'" + "a" * EXPRESSION_CHARACTERS_MAX + "'")


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
PIECES = st.sampled_from(
    [
        "(",
        ")",
        "[",
        "]",
        ".",
        ",",
        "!",
        "!=",
        "==",
        "<",
        "<=",
        ">",
        ">=",
        "&&",
        "||",
        "*",
        "'",
        "''",
        "'a'",
        "1",
        "-1",
        "0x1",
        "1e9",
        "github",
        "env",
        "true",
        "null",
        "NaN",
        "toJSON(",
        "fromJSON(",
        "format(",
        "join(",
        "contains(",
        "case(",
        "a-b",
        "_x",
        "${{",
        "}}",
    ]
)


@given(
    st.text(max_size=40)
    | st.lists(PIECES, max_size=14).map(" ".join)
    | st.lists(PIECES, max_size=14).map("".join),
    VALUES,
)
def test_any_text_is_a_value_or_our_error(text: str, value: Any) -> None:
    some = Scope(contexts={"github": value, "env": {"a": value}}, status=GOOD)
    for act in (evaluate, condition):
        try:
            act(text, some)
        except ExpressionError as error:
            assert error.message
    try:
        interpolate(text, some, HERE)
    except ExpressionError as error:
        assert error.message.startswith("f.yml:3:5")


@given(VALUES)
def test_json_goes_there_and_back(value: Any) -> None:
    first = evaluate("toJSON(github)", Scope(contexts={"github": value}))
    again = evaluate("toJSON(fromJSON(toJSON(github)))", Scope(contexts={"github": {"x": value}}))
    assert isinstance(first, str)
    assert evaluate("toJSON(fromJSON(github))", Scope(contexts={"github": again})) == again
