"""`docker/login-action`. Source: its README and metadata.

The credentials go into a `config.json` in the job's temporary folder (DOCKER_CONFIG), never into the user's
own, and end with the job. No registry is asked: a wrong password shows at the first push.
"""

from __future__ import annotations

import json
from base64 import b64encode

from akashic.actions.inputs import boolean, declare, text
from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput, Builtin
from akashic.actions.system import run

CONFIG_BYTES_MAX = 1 << 20
_DOCKER_HUB = "https://index.docker.io/v1/"


def _main(ctx: ActionContext) -> None:
    username, password = text(ctx, "username"), ctx.inputs.get("password", "").strip()
    if not username or not password:
        raise ActionFailed("Username and password required")
    encoded = b64encode(f"{username}:{password}".encode()).decode()
    ctx.mask(password)
    ctx.mask(encoded)
    folder = ctx.env.get("DOCKER_CONFIG", "")
    if not folder.startswith(f"{ctx.sandbox.temp}/"):
        folder = f"{ctx.sandbox.temp}/_docker"
        ctx.set_env("DOCKER_CONFIG", folder)
    registry = _registry(text(ctx, "registry"))
    config = _read(ctx, folder)
    config.setdefault("auths", {})[registry] = {"auth": encoded}
    _write(ctx, folder, config)
    ctx.save_state("folder", folder)
    ctx.save_state("registry", registry)
    ctx.log(f"Login Succeeded! (credentials for {registry} are kept for this job)")


def _registry(name: str) -> str:
    name = name.removeprefix("https://").removeprefix("http://").rstrip("/")
    return _DOCKER_HUB if name in ("", "docker.io", "index.docker.io", "index.docker.io/v1") else name


def _read(ctx: ActionContext, folder: str) -> dict[str, dict[str, dict[str, str]]]:
    content = ctx.sandbox.read(f"{folder}/config.json", bytes_max=CONFIG_BYTES_MAX)
    try:
        data = json.loads(content) if content else {}
    except ValueError as error:
        raise ActionFailed(f"{folder}/config.json is not valid JSON: {error}") from error
    return data if isinstance(data, dict) else {}


def _write(ctx: ActionContext, folder: str, config: dict[str, dict[str, dict[str, str]]]) -> None:
    path = f"{folder}/config.json"
    ctx.sandbox.write(path, json.dumps(config, indent=2).encode())
    run(ctx, ("chmod", "600", path))


def _post(ctx: ActionContext) -> None:
    folder, registry = ctx.state.get("folder", ""), ctx.state.get("registry", "")
    if folder and boolean(ctx, "logout", default=True):
        config = _read(ctx, folder)
        config.get("auths", {}).pop(registry, None)
        _write(ctx, folder, config)


_NO = "it signs in at Amazon's registry, which needs its API"

LOGIN = Builtin(
    name="docker/login-action",
    inputs=(
        *declare("registry", "username", "password", "scope"),
        ActionInput(name="ecr", default="auto", refused=_NO, allowed=("", "auto", "false")),
        ActionInput(name="logout", default="true"),
        ActionInput(name="attempts", default="1"),
        ActionInput(name="registry-auth", refused="give one step for each registry"),
    ),
    main=_main,
    post=_post,
)
