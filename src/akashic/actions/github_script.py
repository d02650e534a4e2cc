"""`actions/github-script`. Source: its README and metadata.

The script runs in the machine's Node with a toolkit of ours (`node/github_script.js`): no network is needed
unless the script calls the API itself.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from akashic.actions.container_node import node_in_container
from akashic.actions.inputs import boolean, integer, items, text
from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput, Builtin
from akashic.actions.system import on_this_machine, programs, run

RETRIES_MAX = 100
_MAJOR_MIN = 18


def _main(ctx: ActionContext) -> None:
    encoding = text(ctx, "result-encoding") or "json"
    if encoding not in ("json", "string"):
        raise ActionFailed('"result-encoding" must be either "string" or "json"')
    previews = items(ctx, "previews")
    settings = {
        "script": ctx.inputs["script"],
        "token": text(ctx, "github-token"),
        "debug": boolean(ctx, "debug"),
        "userAgent": text(ctx, "user-agent") or "actions/github-script",
        "previews": previews,
        "encoding": encoding,
        "retries": integer(ctx, "retries", default=0, low=0, high=RETRIES_MAX),
        "exempt": items(ctx, "retry-exempt-status-codes"),
        "baseUrl": text(ctx, "base-url"),
    }
    node = _node(ctx)
    folder = f"{ctx.sandbox.temp}/_script-{os.urandom(6).hex()}"
    toolkit = Path(__file__).with_name("node") / "github_script.js"
    ctx.sandbox.write(f"{folder}/toolkit.js", toolkit.read_bytes())
    ctx.sandbox.write(f"{folder}/settings.json", json.dumps(settings).encode())
    variables = {
        f"INPUT_{name.replace(' ', '_').upper()}": value
        for name, value in ctx.inputs.items()
        if name not in ("script", "github-token")
    }
    try:
        status, _ = ctx.exec(
            [node, f"{folder}/toolkit.js", f"{folder}/settings.json"], env=variables, commands=True
        )
    finally:
        # The settings hold the token.
        run(ctx, ("rm", "-rf", "--", folder))
    if status.code:
        raise ActionFailed(f"The script failed with exit code {status.code}")


def _node(ctx: ActionContext) -> str:
    """The machine's Node, else the one that an earlier step put on PATH."""
    path = f"{ctx.sandbox.base_env.get('PATH', '')}:{ctx.env.get('PATH', '')}"
    folders = [folder for folder in path.split(":") if folder.startswith("/")]
    for candidate, _ in programs(ctx, list(dict.fromkeys(folders)), ("node",)):
        code, output = run(ctx, (candidate, "--version"), cwd="/")
        major = output.strip().removeprefix("v").split(".")[0]
        if code == 0 and major.isdigit() and int(major) >= _MAJOR_MIN:
            return candidate
    if not on_this_machine(ctx):
        return node_in_container(ctx.sandbox, f"{ctx.sandbox.temp}/_node", _MAJOR_MIN, ctx.cancellation)
    raise ActionFailed(
        f"actions/github-script needs Node {_MAJOR_MIN} or later, which is not on this machine",
        hint="Install Node, or use actions/setup-node in an earlier step.",
    )


GITHUB_SCRIPT = Builtin(
    name="actions/github-script",
    inputs=(
        ActionInput(name="script", required=True),
        ActionInput(name="github-token", default="${{ github.token }}"),
        ActionInput(name="debug", default="${{ runner.debug == '1' }}"),
        ActionInput(name="user-agent", default="actions/github-script"),
        ActionInput(name="previews"),
        ActionInput(name="result-encoding", default="json"),
        ActionInput(name="retries", default="0"),
        ActionInput(name="retry-exempt-status-codes", default="400,401,403,404,422"),
        ActionInput(name="base-url"),
    ),
    outputs=("result",),
    main=_main,
)
