"""An action's inputs: what was given, defaults for the rest, and the warnings that GitHub gives.

Source: GitHub's "Metadata syntax" (`inputs`): a required input without a value is no error for the runner.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from akashic.errors import AkashicError
from akashic.runner.calls import Body, Call
from akashic.workflow.action import ActionMetadata
from akashic.workflow.expressions import interpolate
from akashic.workflow.expressions.coercion import to_string

if TYPE_CHECKING:
    from akashic.engine.requests import Conclusion
    from akashic.runner.actions.resolve import ResolvedAction

_ALWAYS_KNOWN = frozenset({"entrypoint", "args"})


def action_inputs(
    call: Call, metadata: ActionMetadata, given: Mapping[str, str], *, strict: bool = True
) -> dict[str, str]:
    """Every declared input and every given one, by its lower-case name. What is not declared is warned about
    when `strict`: an image without metadata declares nothing and takes anything."""
    lowered = {name.lower(): value for name, value in given.items()}
    declared = {spec.name.lower(): spec for spec in metadata.inputs.values()}
    unknown = [name for name in given if name.lower() not in declared and name.lower() not in _ALWAYS_KNOWN]
    if unknown and strict:
        names = ", ".join(f"'{name}'" for name in unknown)
        valid = ", ".join(f"'{spec.name}'" for spec in metadata.inputs.values())
        call.commands.warning(f"Unexpected input(s) {names}, valid inputs are [{valid}]")
    values: dict[str, str] = {}
    for name, spec in declared.items():
        if name in lowered:
            if spec.deprecation_message:
                call.commands.warning(
                    f"Input '{spec.name}' has been deprecated with message: {spec.deprecation_message}"
                )
        elif spec.default is not None:
            values[name] = to_string(interpolate(spec.default.value, call.scope, spec.default.position))
        else:
            values[name] = ""
    return {**values, **lowered}


def input_variables(inputs: Mapping[str, str]) -> dict[str, str]:
    """INPUT_*: upper case, spaces as underscores, everything else as it is."""
    return {f"INPUT_{name.replace(' ', '_').upper()}": value for name, value in inputs.items()}


def given_inputs(call: Call) -> dict[str, str]:
    """`with:`, evaluated, names as written."""
    template = call.step.with_
    if template is None:
        return {}
    values = interpolate(template.value, call.scope, template.position)
    if values is None:
        return {}
    if not isinstance(values, Mapping):
        raise AkashicError(f"{template.position}: with: expected a mapping")
    return {str(name): to_string(value) for name, value in values.items()}


def with_inputs(
    action: ResolvedAction,
    inputs: Mapping[str, str] | None,
    run: Callable[[Call, Mapping[str, str]], Conclusion],
) -> Body:
    """The body of an action's pre or post step: `run` with the inputs of the main part. Without them it is a
    pre part, whose inputs are evaluated when it runs."""

    def body(call: Call) -> Conclusion:
        assert action.metadata is not None
        values = inputs if inputs is not None else action_inputs(call, action.metadata, given_inputs(call))
        return run(call, values)

    return body
