"""Bringing what changed in the repository to a workspace that was checked out before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from akashic.executors.host import workspace
from akashic.executors.host.paths import bring, remove_beneath
from akashic.executors.protocol import ExecutorError, Tree


def refresh(
    tree: Tree,
    checked_out: Mapping[str, str],
    trees: str,
    environ: Mapping[str, str],
    inside: Callable[[str], tuple[int, str]],
) -> Sequence[str]:
    """See `akashic.executors.protocol.KeepingSandbox`. `checked_out` maps folders of the job to the prepared
    trees that they were made of; `inside` says where a path of the job lies: the descriptor of a folder, and
    the rest. Raises ExecutorError."""
    lines: list[str] = []
    for destination, before in checked_out.items():
        prepared = workspace.prepare(tree, trees, environ)
        try:
            changed, removed = workspace.differences(before, prepared.path)
            root, relative = inside(destination)
            for path in changed:
                bring(f"{prepared.path}/{path}", root, f"{relative}/{path}")
            for path in removed:
                remove_beneath(root, f"{relative}/{path}")
        except OSError as error:
            raise ExecutorError(f"cannot bring the changed files to {destination}: {error}") from error
        finally:
            prepared.release()
        lines += [f"changed since: {path}" for path in changed]
        lines += [f"removed since: {path}" for path in removed]
    return lines
