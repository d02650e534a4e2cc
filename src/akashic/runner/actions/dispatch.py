"""`uses:` steps: find the action and run its main part by what kind it is."""

from __future__ import annotations

from pathlib import Path

from akashic.engine.requests import Conclusion
from akashic.runner.actions.composite import run_composite
from akashic.runner.actions.inputs import given_inputs
from akashic.runner.actions.javascript import run_javascript
from akashic.runner.actions.resolve import ResolvedAction, read_metadata
from akashic.runner.actions.uses import LocalUse, parse_uses
from akashic.runner.calls import Call
from akashic.runner.scripts import env_lines
from akashic.runner.state import JobState


def run_action(call: Call) -> Conclusion:
    """Run the action of a step. Raises AkashicError when it cannot be found or run."""
    action = locate(call)
    given = given_inputs(call)
    call.github = {
        "action_repository": "/".join(action.name.split("/")[:2]) if action.ref else "",
        "action_ref": action.ref,
    }
    if call.frame.parent is None:
        lines = [f"##[group]Run {call.step.uses}"]
        if given:
            lines += ["with:", *(f"  {name}: {value}" for name, value in given.items())]
        call.say("\n".join((*lines, *env_lines(call), "##[endgroup]")))
    if action.builtin is not None:
        # Imported here: it brings the stores along, and most jobs start without them.
        from akashic.runner.actions.builtin import run_builtin

        return run_builtin(call, action.builtin, given)
    assert action.metadata is not None
    match action.metadata.runs.using:
        case "composite":
            return run_composite(call, action, given)
        case "docker":
            # Imported here: most jobs run no container of their own.
            from akashic.runner.actions.docker import run_docker

            return run_docker(call, action, given)
        case _:
            return run_javascript(call, action, given)


def locate(call: Call) -> ResolvedAction:
    """The action of the step: found before the job began, or local and read from the workspace now."""
    assert call.step.uses is not None
    return find_action(call.state, call.step.uses)


def find_action(state: JobState, uses: str) -> ResolvedAction:
    """An action by what a step says of it. Raises AkashicError."""
    known = state.actions.get(uses)
    if known is not None:
        return known
    use = parse_uses(uses)
    if not isinstance(use, LocalUse):
        # Named by a local composite action only: nobody could know before.
        action = state.parts.actions.resolve(uses)
        state.actions[uses] = action
        return action
    root = Path(state.sandbox.host_path(state.sandbox.workspace))
    folder = root / use.path
    metadata = read_metadata(folder, uses, within=root)
    return ResolvedAction(
        uses=uses,
        name=use.path,
        ref="",
        origin="workspace",
        metadata=metadata,
        folder=folder,
        workspace_folder=root,
        path=use.path,
    )
