"""Commands that an action runs for itself: found on the machine's PATH, never on one that a step changed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from akashic.actions.protocol import ActionContext, ActionFailed
from akashic.executors.protocol import Unsupported
from akashic.git import SAFE

GIT_SAFE = ("git", *SAFE, "-c", "safe.directory=*")
"""No hook runs, neither the repository's nor a template's; a job's folders may be another user's."""


def run(
    ctx: ActionContext,
    argv: Sequence[str],
    *,
    cwd: str | None = None,
    env: Mapping[str, str] | None = None,
    log: bool = False,
    stdin: bytes | None = None,
) -> tuple[int, str]:
    """Run a helper; its exit code and output. Steps cannot shadow it."""
    variables = {
        "PATH": ctx.sandbox.base_env.get("PATH", "/usr/local/bin:/usr/bin:/bin"),
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_TEMPLATE_DIR": "",
        "LC_ALL": "C.UTF-8",
        **(env or {}),
    }
    status, output = ctx.exec(argv, env=variables, cwd=cwd, log=log, stdin=stdin)
    return status.code, output.decode("utf-8", "replace")


def git(
    ctx: ActionContext, *arguments: str, cwd: str | None = None, env: Mapping[str, str] | None = None
) -> str:
    """Run git without hooks. Raises ActionFailed with what git said."""
    code, output = run(ctx, (*GIT_SAFE, *arguments), cwd=cwd, env=env)
    if code:
        said = output.strip().splitlines()
        raise ActionFailed(f"git {arguments[0]} failed: {said[-1] if said else f'exit code {code}'}")
    return output.strip()


_PROGRAMS = r"""
globs=$1; shift; set -f
for folder; do for glob in $globs; do set +f; for file in "$folder"/$glob; do
if [ -f "$file" ] && [ -x "$file" ]; then
printf '%s\n%s\n' "$file" "$(readlink -f "$file" 2>/dev/null || printf %s "$file")"; fi
done; set -f; done; done
"""


def programs(ctx: ActionContext, folders: Sequence[str], globs: Sequence[str]) -> list[tuple[str, str]]:
    """Executable files in `folders` (as the job sees them) whose names match `globs`: the path of each with
    the one that its links lead to, in the order of the folders."""
    found: dict[str, list[tuple[str, str]]] = {}
    inside: list[str] = []
    for folder in folders:
        try:
            found[folder] = _programs_here(ctx.sandbox.host_path(folder), folder, globs)
        except Unsupported:
            inside.append(folder)
    if inside:
        # In a container only its own processes see what is there.
        _, output = run(ctx, ("sh", "-c", _PROGRAMS, "sh", " ".join(globs), *inside), cwd="/")
        lines = output.splitlines()
        for path, real in zip(lines[::2], lines[1::2], strict=False):
            found.setdefault(path.rpartition("/")[0], []).append((path, real))
    return [program for folder in folders for program in found.get(folder, [])]


def _programs_here(host: str, folder: str, globs: Sequence[str]) -> list[tuple[str, str]]:
    try:
        names = sorted(os.listdir(host))  # noqa: PTH208 - a plain string path
    except OSError:
        return []
    found: list[tuple[str, str]] = []
    for name in names:
        if any(fnmatchcase(name, glob) for glob in globs):
            real = os.path.realpath(f"{host}/{name}")
            if os.access(real, os.X_OK):
                found.append((f"{folder}/{name}", real))
    return found


def on_this_machine(ctx: ActionContext) -> bool:
    """Whether the job's paths are this machine's."""
    try:
        return ctx.sandbox.host_path(ctx.sandbox.workspace) == ctx.sandbox.workspace
    except Unsupported:
        return False
