"""Every built-in can be found, and only for the versions that it follows."""

import pytest

from akashic.actions.protocol import ActionFailed, ActionInput, Builtin, resolve_inputs
from akashic.actions.registry import BUILTINS, MAJORS, find

DEMO = Builtin(
    name="a/b",
    inputs=(
        ActionInput(name="Colour", default="red"),
        ActionInput(name="must", required=True),
        ActionInput(name="never", default="false", refused="it cannot", allowed=("", "false")),
        ActionInput(name="old", deprecated="use Colour"),
    ),
    main=lambda ctx: None,
)


@pytest.mark.parametrize("name", BUILTINS)
def test_every_built_in_loads_and_its_newest_major_is_served(name: str) -> None:
    builtin = find(name, f"v{max(MAJORS[name])}")
    assert builtin is not None
    names = [spec.name.lower() for spec in builtin.inputs]
    assert len(names) == len(set(names))


def test_names_compare_without_case_and_a_commit_finds_the_built_in() -> None:
    assert find("Actions/Checkout", "v4.2.1") is not None
    assert find("actions/checkout", "1" * 40) is not None
    assert find("actions/checkout", "main") is not None


def test_other_majors_and_other_actions_are_not_served() -> None:
    assert find("actions/upload-artifact", "v3") is None
    assert find("actions/checkout", "v99") is None
    assert find("someone/else", "v1") is None


def test_inputs_get_defaults_and_unknown_ones_a_warning() -> None:
    resolved = resolve_inputs(DEMO, {"MUST": "1", "what": "2"})
    assert resolved.values["colour"] == "red"
    assert resolved.values["must"] == "1"
    assert resolved.warnings == (
        "Unexpected input(s) 'what', valid inputs are ['Colour', 'must', 'never', 'old']",
    )


def test_a_missing_required_input_fails() -> None:
    with pytest.raises(ActionFailed, match="input required and not supplied: must"):
        resolve_inputs(DEMO, {})


def test_a_documented_input_that_cannot_work_is_an_error() -> None:
    assert resolve_inputs(DEMO, {"must": "1", "never": "False"}).values["never"] == "False"
    with pytest.raises(ActionFailed, match="'never' with the value 'true' does not work here: it cannot"):
        resolve_inputs(DEMO, {"must": "1", "never": "true"})


def test_a_deprecated_input_warns() -> None:
    assert "deprecated" in resolve_inputs(DEMO, {"must": "1", "old": "x"}).warnings[0]


def test_defaults_with_expressions_are_evaluated() -> None:
    builtin = Builtin(name="a/b", inputs=(ActionInput(name="t", default="${{ github.token }}"),), main=print)
    assert resolve_inputs(builtin, {}, lambda text: "evaluated").values == {"t": "evaluated"}
