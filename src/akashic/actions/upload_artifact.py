"""`actions/upload-artifact` and `actions/upload-artifact/merge`. Source: their README and metadata."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from akashic.actions.inputs import boolean, declare, integer, lines, text
from akashic.actions.paths import Found, Pattern, find, parse, search_paths
from akashic.actions.protocol import ActionContext, ActionFailed, ActionInput, Builtin
from akashic.errors import AkashicError
from akashic.journal.archive import Member
from akashic.journal.artifact import RETENTION_DAYS_MAX, Artifact, check_name
from akashic.journal.beneath import open_beneath

_FILE_FORBIDDEN = '":<>|*?\r\n'
TOKEN_CHARACTERS_MIN = 8
_CHUNK_BYTES = 1 << 20


def _upload(ctx: ActionContext) -> None:
    name = text(ctx, "name") or "artifact"
    archive = boolean(ctx, "archive", default=True)
    missing = text(ctx, "if-no-files-found") or "warn"
    if missing not in ("warn", "error", "ignore"):
        raise ActionFailed(
            f"Unrecognized if-no-files-found input. Provided: {missing}."
            " Available options: warn, error, ignore"
        )
    patterns = parse(lines(ctx, "path"), workspace=ctx.sandbox.workspace, home=ctx.sandbox.home)
    hidden = boolean(ctx, "include-hidden-files")
    files = [found for found in find(ctx, patterns, hidden=hidden, follow=True) if stat.S_ISREG(found.mode)]
    if not files:
        return _nothing_found(ctx, missing)
    root = _root(patterns, files)
    members = [_member(ctx, root, found.path) for found in files]
    _refuse_token(ctx, members)
    if not archive:
        if len(members) != 1:
            raise ActionFailed(f"'archive: false' takes exactly one file, the paths match {len(members)}")
        name = members[0].name
    ctx.log(f"With the provided path, there will be {len(members)} file(s) uploaded")
    artifact = store(
        ctx,
        name,
        members,
        overwrite=boolean(ctx, "overwrite"),
        archive=archive,
        level=integer(ctx, "compression-level", default=6, low=0, high=9),
        days=integer(ctx, "retention-days", default=0, low=0, high=RETENTION_DAYS_MAX),
    )
    _tell(ctx, artifact)
    return None


def _nothing_found(ctx: ActionContext, missing: str) -> None:
    message = (
        f"No files were found with the provided path: {text(ctx, 'path')}. No artifacts will be uploaded."
    )
    if missing == "error":
        raise ActionFailed(message)
    if missing == "warn":
        ctx.annotate("warning", message)
    else:
        ctx.log(message)


def store(
    ctx: ActionContext,
    name: str,
    members: Sequence[Member],
    *,
    overwrite: bool = False,
    archive: bool = True,
    level: int = 6,
    days: int = 0,
) -> Artifact:
    """Keep files as an artifact of this run. Raises ActionFailed."""
    try:
        check_name(name)
        return ctx.artifacts.create(
            name,
            members,
            run_id=ctx.run_id,
            run_attempt=ctx.run_attempt,
            job_key=ctx.job_key,
            overwrite=overwrite,
            compression_level=level,
            retention_days=days,
            archive=archive,
        )
    except AkashicError as error:
        raise ActionFailed(error.message, hint=error.hint) from error
    except OSError as error:
        raise ActionFailed(f"the artifact {name!r} could not be stored: {error}") from error


def _tell(ctx: ActionContext, artifact: Artifact) -> None:
    server = str(ctx.github.get("server_url") or "").rstrip("/")
    where = f"{ctx.repository}/actions/runs/{ctx.github.get('run_id') or ctx.run_id}"
    ctx.output("artifact-id", str(artifact.id))
    ctx.output("artifact-digest", artifact.digest.removeprefix("sha256:"))
    ctx.output("artifact-url", f"{server}/{where}/artifacts/{artifact.id}")
    ctx.log(
        f"Artifact {artifact.name} has been successfully uploaded! Final size is {artifact.size} bytes."
        f" Artifact ID is {artifact.id}"
    )


def _root(patterns: Sequence[Pattern], files: Sequence[Found]) -> str:
    """The folder that names in the artifact start from: the least common folder of the search paths."""
    starts = search_paths(patterns)
    if len(starts) > 1:
        return os.path.commonpath(starts)
    if len(files) == 1 and files[0].path == starts[0]:
        return starts[0].rpartition("/")[0] or "/"
    return starts[0]


def _member(ctx: ActionContext, root: str, path: str) -> Member:
    name = path[len(root) :].lstrip("/")
    bad = next((c for c in _FILE_FORBIDDEN if c in name), None)
    if bad:
        raise ActionFailed(
            f"The path for one of the files in artifact is not valid: {name!r}. Contains the following"
            f" character: {bad!r}",
            hint='Files in an artifact cannot have names with these characters: " : < > | * ? \\r \\n',
        )
    return Member(name=name, path=ctx.sandbox.host_path(path))


def _refuse_token(ctx: ActionContext, members: Sequence[Member]) -> None:
    """A live token in an artifact is a token for everyone who can download it (CVE-2025-24362)."""
    token = str(ctx.github.get("token") or "").encode()
    if len(token) < TOKEN_CHARACTERS_MIN:
        return
    for member in members:
        tail = b""
        with open(member.path, "rb") as content:
            while chunk := content.read(_CHUNK_BYTES):
                if token in tail + chunk:
                    raise ActionFailed(
                        f"{member.name} holds the job's token: not uploaded",
                        hint="Leave this file out of the artifact's path.",
                    )
                tail = chunk[-len(token) :]


@contextmanager
def _scratch(ctx: ActionContext) -> Iterator[str]:
    import shutil

    folder = Path(ctx.sandbox.host_path(ctx.sandbox.temp)) / f"_merge-{os.urandom(8).hex()}"
    folder.mkdir()
    try:
        yield str(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _merge(ctx: ActionContext) -> None:
    name = text(ctx, "name") or "merged-artifacts"
    pattern = text(ctx, "pattern") or "*"
    apart = boolean(ctx, "separate-directories")
    hidden = boolean(ctx, "include-hidden-files")
    found = ctx.artifacts.find_all(ctx.run_id, run_attempt=ctx.run_attempt, pattern=pattern)
    if not found:
        raise ActionFailed(f"No artifacts found in this run that match the pattern {pattern!r}")
    with _scratch(ctx) as folder:
        for artifact in found:
            below = (artifact.name,) if apart else ()
            with open_beneath(folder, below, create=True) as place:
                ctx.artifacts.extract(artifact, place, modes=True)
        members = sorted(
            (
                Member(name=path.relative_to(folder).as_posix(), path=str(path))
                for path in Path(folder).rglob("*")
                if path.is_file()
            ),
            key=lambda member: member.name,
        )
        if not hidden:
            members = [m for m in members if not any(part.startswith(".") for part in m.name.split("/"))]
        artifact = store(
            ctx,
            name,
            members,
            level=integer(ctx, "compression-level", default=6, low=0, high=9),
            days=integer(ctx, "retention-days", default=0, low=0, high=RETENTION_DAYS_MAX),
        )
    _tell(ctx, artifact)
    if boolean(ctx, "delete-merged"):
        for merged in found:
            ctx.artifacts.delete(merged)


UPLOAD = Builtin(
    name="actions/upload-artifact",
    inputs=(
        ActionInput(name="path", required=True),
        *declare(
            "retention-days",
            name="artifact",
            if_no_files_found="warn",
            compression_level="6",
            overwrite="false",
            include_hidden_files="false",
            archive="true",
        ),
    ),
    outputs=("artifact-id", "artifact-url", "artifact-digest"),
    main=_upload,
)
MERGE = Builtin(
    name="actions/upload-artifact/merge",
    inputs=declare(
        "retention-days",
        name="merged-artifacts",
        pattern="*",
        separate_directories="false",
        delete_merged="false",
        compression_level="6",
        include_hidden_files="false",
    ),
    outputs=("artifact-id", "artifact-url", "artifact-digest"),
    main=_merge,
)
