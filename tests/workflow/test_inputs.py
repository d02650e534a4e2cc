"""What a manual run and a called workflow get as `inputs`."""

from typing import Any

import pytest

from akashic.source.position import InvalidInput, Position
from akashic.workflow.expressions import Scope
from akashic.workflow.inputs import call_inputs, dispatch_inputs
from akashic.workflow.model import Trigger
from akashic.workflow.parse import parse_workflow

JOBS = "\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n"
CALLER = Position("caller.yml", 7, 5)

DISPATCH = """{workflow_dispatch: {inputs: {s: {}, b: {type: boolean, default: true}, n: {type: number},
 c: {type: choice, options: [x, y]}, e: {type: environment}, r: {required: true}}}}"""


def test_inputs_of_a_manual_run_are_typed_and_defaulted() -> None:
    trigger = parse_workflow(f"on: {DISPATCH}{JOBS}", "w.yml").triggers[0]
    assert dispatch_inputs(trigger, {"R": "1", "n": "2.5"}) == {
        "s": "",
        "b": True,
        "n": 2.5,
        "c": "x",
        "e": "",
        "r": "1",
    }
    with pytest.raises(InvalidInput) as caught:
        dispatch_inputs(trigger, {"b": "x", "n": "y", "c": "z", "e": "prod", "q": 1}, environments=["dev"])
    assert len(caught.value.problems) == 6


def called(inputs: str) -> Trigger:
    return parse_workflow(f"on: {{workflow_call: {{inputs: {inputs}}}}}{JOBS}", "w.yml").triggers[0]


def resolve(trigger: Trigger, given: dict[str, Any]) -> dict[str, Any]:
    scope = Scope(contexts={"github": {"ref": "main"}})
    return call_inputs(trigger, given, scope, uses="./w.yml", position=CALLER)


def test_defaults_of_a_called_workflow_may_be_expressions() -> None:
    assert resolve(called("{a: {type: string, default: 'x-${{ github.ref }}'}}"), {}) == {"a": "x-main"}


@pytest.mark.parametrize(
    ("declared", "given", "value"),
    [
        ("boolean", True, True),
        ("boolean", "False", False),
        ("number", "0x10", 16),
        ("number", 2.5, 2.5),
        ("number", "", 0),
        ("string", None, ""),
        ("string", 3, "3"),
        ("string", False, "false"),
    ],
)
def test_a_caller_passes_values_of_the_type(declared: str, given: object, value: object) -> None:
    found = resolve(called(f"{{a: {{type: {declared}}}}}"), {"A": given})["a"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("declared", "given", "expected"),
    [
        ("boolean", "", "the input `a` must be a boolean, got ''"),
        ("boolean", 1, "the input `a` must be a boolean, got '1'"),
        ("number", True, "the input `a` must be a number, got 'true'"),
        ("number", "many", "the input `a` must be a number, got 'many'"),
        ("string", ["x"], "the input `a` must be a string"),
    ],
)
def test_a_value_of_another_type_is_an_error_of_the_caller(
    declared: str, given: object, expected: str
) -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(called(f"{{a: {{type: {declared}}}}}"), {"a": given})
    assert [(problem.position, problem.message) for problem in caught.value.problems] == [(CALLER, expected)]


def test_a_caller_is_told_all_that_is_wrong() -> None:
    with pytest.raises(InvalidInput) as caught:
        resolve(called("{a: {type: string, required: true}, b: {type: number}}"), {"b": "x", "c": 1, "d": 2})
    assert [problem.message for problem in caught.value.problems] == [
        "the input `a` of ./w.yml is required",
        "the input `b` must be a number, got 'x'",
        "./w.yml has no input `c`; it has `a`, `b`",
        "./w.yml has no input `d`; it has `a`, `b`",
    ]
