"""Where the runner's own files lie in a job: beside the job's on this machine, where GitHub puts them in a
container.

Source: GitHub's "Contexts" (`runner`, `github.event_path`, `github.action_path`) and its runner, whose job
containers see the work folder at `/__w` and the event below `/github/workflow`.
"""

from __future__ import annotations

import posixpath

from akashic.executors.protocol import RunnerFiles, Sandbox, Unsupported

EVENT_FOLDER = "_github_workflow"
EVENT_FOLDER_IN_CONTAINER = "/github/workflow"
ACTIONS_FOLDER = "_actions"


def runner_files(sandbox: Sandbox) -> str:
    """The folder of scripts and environment files."""
    return sandbox.runner_files if isinstance(sandbox, RunnerFiles) else sandbox.temp


def in_container(sandbox: Sandbox) -> bool:
    """Whether the job's paths are not this machine's."""
    return not sees(sandbox, sandbox.workspace)


def sees(sandbox: Sandbox, path: str) -> bool:
    """Whether the job finds at this path what this machine has there."""
    try:
        return sandbox.host_path(path) == path
    except Unsupported:
        return False


def event_path(sandbox: Sandbox) -> str:
    """Where the event's payload is written, and found by steps (GITHUB_EVENT_PATH)."""
    folder = f"{runner_files(sandbox)}/{EVENT_FOLDER}"
    if in_container(sandbox) and _reachable(sandbox, EVENT_FOLDER_IN_CONTAINER):
        folder = EVENT_FOLDER_IN_CONTAINER
    return f"{folder}/event.json"


def actions_folder(sandbox: Sandbox) -> str:
    """The folder of the actions that the job uses."""
    beside = f"{posixpath.dirname(sandbox.temp)}/{ACTIONS_FOLDER}"
    if in_container(sandbox) and _reachable(sandbox, beside):
        return beside
    return f"{sandbox.temp}/{ACTIONS_FOLDER}"


def _reachable(sandbox: Sandbox, path: str) -> bool:
    try:
        return bool(sandbox.host_path(path))
    except Unsupported:
        return False
