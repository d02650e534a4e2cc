"""A copy of an action's repository inside the sandbox, where its processes can read it and spoil nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from akashic.errors import AkashicError
from akashic.executors.protocol import Unsupported
from akashic.runner.actions.resolve import ResolvedAction
from akashic.runner.places import actions_folder
from akashic.runner.state import JobState


def action_path(state: JobState, action: ResolvedAction) -> str:
    """The action's folder as the job sees it (GITHUB_ACTION_PATH); copied once a job."""
    if action.repository_folder is None:
        return f"{state.sandbox.workspace}/{action.path.removeprefix('./')}".rstrip("/.")
    repository = "/".join(action.name.split("/")[:2])
    root = f"{actions_folder(state.sandbox)}/{repository}/{action.ref.replace('/', '_')}"
    with state.lock:
        if root not in state.placed:
            _copy(state, action.repository_folder, root)
            state.placed.add(root)
    return f"{root}/{action.path}" if action.path else root


def _copy(state: JobState, source: Path, target: str) -> None:
    try:
        host = state.sandbox.host_path(target)
    except Unsupported:
        for path in sorted(source.rglob("*")):
            if path.is_file() and not path.is_symlink():
                executable = bool(path.stat().st_mode & 0o100)
                name = f"{target}/{path.relative_to(source)}"
                state.sandbox.write(name, path.read_bytes(), executable=executable)
        return
    try:
        shutil.copytree(source, host, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    except (OSError, shutil.Error) as error:
        raise AkashicError(f"the action cannot be copied to {target}: {error}") from error
