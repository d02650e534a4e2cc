"""Commands that an action runs for itself: found on the machine's PATH, never on one that a step changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from akashic.actions.protocol import ActionContext, ActionFailed

GIT_SAFE = (
    "git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.ext.allow=never",
    "-c", "safe.directory=*", "-c", "advice.detachedHead=false",
)  # fmt: skip
"""No hook runs, neither the repository's nor a template's (CVE-2024-32002, CVE-2025-48384)."""


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
