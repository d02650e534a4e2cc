"""`docker/build-push-action`. Source: its README and metadata.

With Buildx the inputs go to `docker buildx build` as the action does. With an engine alone
`akashic image build` asks BuildKit in it through its API. Without either, `akashic image build` makes the
image that `akashic.yaml` describes. An input that cannot be honoured is an error that names it.
"""

from __future__ import annotations

import json
import os
import re

from akashic.actions.docker_setup import buildx_there, engine_there
from akashic.actions.inputs import boolean, declare, items, lines, text
from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput, Builtin
from akashic.actions.system import run

METADATA_BYTES_MAX = 1 << 20
# Inputs that become one option a value, and their options.
_LINES = {
    "add-hosts": "--add-host", "annotations": "--annotation", "attests": "--attest",
    "build-args": "--build-arg",
    "build-contexts": "--build-context", "cache-from": "--cache-from", "cache-to": "--cache-to",
    "labels": "--label", "outputs": "--output", "secrets": "--secret", "ulimit": "--ulimit",
}  # fmt: skip
_LISTS = {
    "allow": "--allow", "no-cache-filters": "--no-cache-filter", "platforms": "--platform", "ssh": "--ssh",
    "tags": "--tag",
}  # fmt: skip
_SINGLE = {
    "builder": "--builder", "call": "--call", "cgroup-parent": "--cgroup-parent", "file": "--file",
    "network": "--network", "provenance": "--provenance", "sbom": "--sbom", "shm-size": "--shm-size",
    "target": "--target",
}  # fmt: skip
_FLAGS = ("load", "no-cache", "pull", "push")
_WITHOUT_ENGINE = frozenset(
    {"builder", "cache-from", "cache-to", "context", "github-token", "load", "no-cache", "platforms",
     "provenance", "pull", "sbom", "tags"}
)  # fmt: skip
"""Inputs that mean the same, or have nothing to do, when the image is made without an engine."""
_WITH_ENGINE = _WITHOUT_ENGINE | {
    "add-hosts", "build-args", "file", "labels", "network", "push", "target",
}  # fmt: skip
"""Inputs that an engine's API can honour. The image always stays in the engine, as with `load`."""


def engine_command(ctx: ActionContext, metadata: str) -> list[str]:
    """`docker buildx build` with the inputs; `metadata` is where it writes what it built."""
    argv = ["docker", "buildx", "build", "--metadata-file", metadata]
    for name, option in _SINGLE.items():
        if text(ctx, name):
            argv += [option, text(ctx, name)]
    for names, read in ((_LINES, lines), (_LISTS, items)):
        for name, option in names.items():
            for value in read(ctx, name):
                argv += [option, _secret(ctx, value) if name == "secrets" else value]
    for value in items(ctx, "secret-files"):
        identity, _, path = value.partition("=")
        argv += ["--secret", f"id={identity},src={path}"]
    for value in items(ctx, "secret-envs"):
        identity, _, variable = value.partition("=")
        argv += ["--secret", f"id={identity},env={variable}"]
    argv += [f"--{flag}" for flag in _FLAGS if boolean(ctx, flag)]
    return [*argv, text(ctx, "context") or "."]


def _secret(ctx: ActionContext, value: str) -> str:
    """A secret goes through a file that only the job can read, never through the command line."""
    identity, _, secret = value.partition("=")
    ctx.mask(secret)
    path = f"{ctx.sandbox.temp}/_build/{os.urandom(8).hex()}"
    ctx.sandbox.write(path, secret.encode())
    run(ctx, ("chmod", "600", path))
    return f"id={identity},src={path}"


def api_command(ctx: ActionContext, metadata: str) -> list[str]:
    """`akashic image build` of the given context by the engine. Raises ActionFailed for an input that needs
    Buildx."""
    needed = [
        spec.name
        for spec in BUILD_PUSH.inputs
        if text(ctx, spec.name) not in ("", spec.default, "false") and spec.name not in _WITH_ENGINE
    ]
    context = text(ctx, "context") or "."
    needed += ["context (an address)"] if "://" in context or context.startswith("git@") else []
    if needed:
        raise ActionFailed(
            f"Docker's Buildx is not installed, and these inputs need it: {', '.join(sorted(needed))}",
            hint="Install Docker's Buildx plugin, or remove the inputs.",
        )
    argv = ["akashic", "image", "build", "--engine", "docker", "--context", context, "--output", metadata]
    if text(ctx, "file"):
        argv += ["--file", text(ctx, "file")]
    elif context != ".":
        argv += ["--file", f"{context.rstrip('/')}/Dockerfile"]
    for name, option in (("tags", "--tag"), ("add-hosts", "--add-host")):
        for value in items(ctx, name):
            argv += [option, value]
    for name, option in (("build-args", "--build-arg"), ("labels", "--label")):
        for value in lines(ctx, name):
            argv += [option, value]
    for name, option in (("target", "--target"), ("network", "--network")):
        if text(ctx, name):
            argv += [option, text(ctx, name)]
    if items(ctx, "platforms"):
        argv += ["--platforms", ",".join(items(ctx, "platforms"))]
    argv += [f"--{flag}" for flag in ("no-cache", "pull", "push") if boolean(ctx, flag)]
    for name in ("cache-from", "cache-to"):
        for value in lines(ctx, name):
            if re.search(r"(?:^|,)type=(?!inline|registry)", value) or "mode=max" in value:
                ctx.log(f"{name}: {value}: the engine keeps its own cache instead (Buildx is not installed).")
            else:
                argv += [f"--{name}", value]
    return argv


def own_command(ctx: ActionContext, metadata: str) -> list[str]:
    """`akashic image build` with the inputs. Raises ActionFailed for an input that needs an engine."""
    needed = []
    for spec in BUILD_PUSH.inputs:
        given = text(ctx, spec.name)
        if given and given != spec.default and spec.name not in (*_WITHOUT_ENGINE, "labels"):
            needed.append(spec.name)
    if text(ctx, "context") not in ("", "."):
        needed.append("context")
    if needed:
        raise ActionFailed(
            f"no container engine answers, and these inputs need one: {', '.join(sorted(needed))}",
            hint="Start Docker or Podman, or describe the image under `image:` in akashic.yaml.",
        )
    if text(ctx, "labels"):
        ctx.log("The labels of the image come from akashic.yaml: no container engine answers.")
    argv = ["akashic", "image", "build", "--engine", "none", "--output", metadata]
    for tag in items(ctx, "tags"):
        argv += ["--tag", tag]
    if items(ctx, "platforms"):
        argv += ["--platforms", ",".join(items(ctx, "platforms"))]
    return argv


def _main(ctx: ActionContext) -> None:
    metadata = f"{ctx.sandbox.temp}/build-{os.urandom(6).hex()}.json"
    ctx.sandbox.write(metadata, b"")
    if buildx_there(ctx):
        argv = engine_command(ctx, metadata)
    elif engine_there(ctx):
        argv = api_command(ctx, metadata)
    else:
        argv = own_command(ctx, metadata)
    try:
        status, output = ctx.exec(argv)
    finally:
        run(ctx, ("rm", "-rf", "--", f"{ctx.sandbox.temp}/_build"))
    if status.code:
        said = output.decode("utf-8", "replace").strip().splitlines()
        raise ActionFailed(f"{argv[0]} build failed: {said[-1] if said else f'exit code {status.code}'}")
    content = ctx.sandbox.read(metadata, bytes_max=METADATA_BYTES_MAX) or b""
    try:
        facts = json.loads(content or b"{}")
    except ValueError as error:
        raise ActionFailed(f"{argv[0]} build wrote no valid metadata: {error}") from error
    digest = str(facts.get("containerimage.digest") or facts.get("digest") or "")
    ctx.output("digest", digest)
    ctx.output("imageid", str(facts.get("containerimage.config.digest") or digest))
    ctx.output("metadata", content.decode("utf-8", "replace"))


BUILD_PUSH = Builtin(
    name="docker/build-push-action",
    inputs=(
        *declare(*_LINES),
        *declare(*_LISTS),
        *declare(*_SINGLE),
        *declare("context", "secret-envs", "secret-files"),
        *declare(load="false", no_cache="false", pull="false", push="false"),
        ActionInput(name="github-token", default="${{ github.token }}"),
    ),
    outputs=("imageid", "digest", "metadata"),
    main=_main,
)
