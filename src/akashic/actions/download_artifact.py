"""`actions/download-artifact`. Source: its README and metadata."""

from __future__ import annotations

import os

from akashic.actions.inputs import boolean, declare, items, text
from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput, Builtin
from akashic.errors import AkashicError
from akashic.journal.artifact import Artifact
from akashic.journal.beneath import open_beneath


def _main(ctx: ActionContext) -> None:
    name, pattern = text(ctx, "name"), text(ctx, "pattern")
    ids = items(ctx, "artifact-ids")
    if name and ids:
        raise ActionFailed("Inputs 'name' and 'artifact-ids' cannot be used together: give only one.")
    destination = _destination(ctx)
    run_id, attempt = _run(ctx)
    if ids:
        found = [_by_id(ctx, number) for number in ids]
    elif name:
        artifact = ctx.artifacts.find(name, run_id=run_id, run_attempt=attempt)
        if artifact is None:
            message = f"Unable to download artifact(s): Artifact not found for name: {name}"
            there = [one.name for one in ctx.artifacts.find_all(run_id, run_attempt=attempt)]
            known = f"The run has: {', '.join(there[:NAMES_SHOWN_MAX])}. " if there else ""
            raise ActionFailed(message, hint=known + _HINT)
        found = [artifact]
    else:
        found = ctx.artifacts.find_all(run_id, run_attempt=attempt, pattern=pattern or "*")
        ctx.log(f"Found {len(found)} artifact(s)")
    flat = bool(name) or boolean(ctx, "merge-multiple") or (len(ids) == 1)
    for artifact in found:
        _place(ctx, artifact, destination, flat=flat)
    ctx.output("download-path", destination)


def _place(ctx: ActionContext, artifact: Artifact, destination: str, *, flat: bool) -> None:
    root, below = _root(ctx, destination)
    parts = below if flat else (*below, artifact.name)
    if boolean(ctx, "skip-decompress") and not artifact.filename:
        _place_zip(ctx, artifact, root, parts)
        return
    try:
        with open_beneath(ctx.sandbox.host_path(root), parts, create=True) as folder:
            facts = ctx.artifacts.extract(artifact, folder)
    except AkashicError as error:
        message = f"Unable to download artifact {artifact.name!r}: {error.message}"
        raise ActionFailed(message, hint=error.hint) from error
    ctx.log(f"Artifact {artifact.name} ({facts.files} file(s)) downloaded to {destination}")


def _place_zip(ctx: ActionContext, artifact: Artifact, root: str, parts: tuple[str, ...]) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with open_beneath(ctx.sandbox.host_path(root), parts, create=True) as folder:
        target = os.open(f"{artifact.name}.zip", flags, 0o644, dir_fd=folder)
        with ctx.artifacts.open(artifact) as content, open(target, "wb") as sink:
            while chunk := content.read(1 << 20):
                sink.write(chunk)


def _destination(ctx: ActionContext) -> str:
    path = text(ctx, "path")
    if path == "~" or path.startswith("~/"):
        path = ctx.sandbox.home + path[1:]
    if "\0" in path:
        raise ActionFailed("'path' cannot hold a NUL character")
    return os.path.normpath(path if path.startswith("/") else f"{ctx.sandbox.workspace}/{path}")


def _root(ctx: ActionContext, destination: str) -> tuple[str, tuple[str, ...]]:
    """The job's folder that the destination lies in, and the way from there."""
    box = ctx.sandbox
    for root in sorted((box.workspace, box.temp, box.home, "/tmp"), key=len, reverse=True):
        if destination == root or destination.startswith(root.rstrip("/") + "/"):
            return root, tuple(part for part in destination[len(root) :].split("/") if part)
    raise ActionFailed(
        f"cannot download to {destination}: it is outside of the workspace, the home folder and /tmp"
    )


def _run(ctx: ActionContext) -> tuple[str, int | None]:
    """This run, or the one that `run-id` names."""
    wanted = text(ctx, "run-id")
    repository = text(ctx, "repository")
    if repository and repository.lower() != ctx.repository.lower():
        raise ActionFailed(
            f"cannot download from {repository}: only artifacts of {ctx.repository} are kept here"
        )
    if not wanted or wanted in (ctx.run_id, str(ctx.github.get("run_id"))):
        return ctx.run_id, ctx.run_attempt
    if "/" in wanted or wanted.startswith("."):
        raise ActionFailed(f"'run-id' is no run: {wanted!r}")
    return wanted, None


def _by_id(ctx: ActionContext, number: str) -> Artifact:
    artifact = ctx.artifacts.get(int(number)) if number.isascii() and number.isdigit() else None
    if artifact is None or artifact.run_id != _run(ctx)[0]:
        raise ActionFailed(f"None of the provided artifact IDs were found: {number}", hint=_HINT)
    return artifact


NAMES_SHOWN_MAX = 20
_HINT = "See what the run has kept: akashic artifact list"

DOWNLOAD = Builtin(
    name="actions/download-artifact",
    inputs=(
        *declare("name", "artifact-ids", "path", "pattern", "github-token"),
        ActionInput(name="merge-multiple", default="false"),
        ActionInput(name="repository", default="${{ github.repository }}"),
        ActionInput(name="run-id", default="${{ github.run_id }}"),
        *declare(skip_decompress="false", digest_mismatch="error"),
    ),
    outputs=("download-path",),
    main=_main,
)
