"""`docker/build-push-action`: hands its inputs to `akashic image build`. Source: its README and metadata."""

from __future__ import annotations

import json
import os

from akashic.actions.inputs import boolean, declare, items, lines, text
from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput, Builtin

METADATA_BYTES_MAX = 1 << 20


def command(ctx: ActionContext, metadata: str) -> list[str]:
    """The command line; `metadata` is where it shall write what it built (JSON)."""
    context = text(ctx, "context") or "."
    if context.startswith(("http://", "https://", "git@", "ssh://")):
        raise ActionFailed(
            f"'context: {context}' is not on this machine", hint="Check it out, then name its folder."
        )
    argv = ["akashic", "image", "build", "--metadata-file", metadata]
    if text(ctx, "file"):
        argv += ["--file", text(ctx, "file")]
    for option, name in (("--tag", "tags"), ("--platform", "platforms")):
        for value in items(ctx, name):
            argv += [option, value]
    for option, name in (
        ("--build-arg", "build-args"),
        ("--label", "labels"),
        ("--annotation", "annotations"),
    ):
        for value in lines(ctx, name):
            argv += [option, value]
    if text(ctx, "target"):
        argv += ["--target", text(ctx, "target")]
    for flag in ("no-cache", "pull", "push"):
        if boolean(ctx, flag):
            argv.append(f"--{flag}")
    return [*argv, context]


def _main(ctx: ActionContext) -> None:
    boolean(ctx, "load")
    for name in ("cache-from", "cache-to"):
        if lines(ctx, name):
            ctx.log(f"'{name}' is met by the image store of this machine.")
    metadata = f"{ctx.sandbox.temp}/build-{os.urandom(6).hex()}.json"
    status, output = ctx.exec(command(ctx, metadata))
    if status.code:
        said = output.decode("utf-8", "replace").strip().splitlines()
        raise ActionFailed(f"akashic image build failed: {said[-1] if said else f'exit code {status.code}'}")
    content = ctx.sandbox.read(metadata, bytes_max=METADATA_BYTES_MAX)
    if content is None:
        raise ActionFailed("akashic image build wrote no metadata")
    facts = json.loads(content)
    digest = str(facts.get("containerimage.digest") or "")
    ctx.output("digest", digest)
    ctx.output("imageid", str(facts.get("containerimage.config.digest") or digest))
    ctx.output("metadata", content.decode("utf-8", "replace"))


_ENGINE = "images are built without a BuildKit daemon, and this asks for one"

BUILD_PUSH = Builtin(
    name="docker/build-push-action",
    inputs=(
        *declare("annotations", "attests", "build-args", "cache-from", "cache-to", "labels"),
        *declare("platforms", "tags"),
        *declare("builder", "context", "file", "target", "provenance", "sbom"),
        *declare(load="false", no_cache="false", pull="false", push="false"),
        ActionInput(name="github-token", default="${{ github.token }}"),
        *(
            ActionInput(name=name, refused=_ENGINE)
            for name in (
                "add-hosts", "allow", "build-contexts", "call", "cgroup-parent", "network",
                "no-cache-filters",
                "outputs", "secret-envs", "secret-files", "secrets", "shm-size", "ssh", "ulimit",
            )
        ),
    ),
    outputs=("imageid", "digest", "metadata"),
    main=_main,
)  # fmt: skip
