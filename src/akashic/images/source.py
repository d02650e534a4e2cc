"""The files of a commit, or of the uncommitted tree: what may go into an image, read through git.

Only what git tracks (in the uncommitted tree also what it would add) is seen, with two kinds of mode and no
owner or time, so that a clone on another machine gives the same files.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import IO, Literal

import msgspec

from akashic.errors import AkashicError, UsageError
from akashic.git import git_argv, git_env, git_start
from akashic.images.globs import GlobSet

FileKind = Literal["file", "executable", "link"]

FILE_BYTES_MAX = 512 * 1024 * 1024
"""The largest single file that an image takes from the repository."""

NEVER = GlobSet(("**/.git", "**/.akashic", "**/.env", "**/.env.*", "**/.akashic.secrets.json"))
"""Never part of an image, whatever `include` says: history, state, and what usually holds secrets."""

NEVER_EXCEPT = GlobSet(("**/.env.example", "**/.env.sample", "**/.env.template"))

_KINDS: dict[str, FileKind] = {"100644": "file", "100664": "file", "100755": "executable", "120000": "link"}


class SourceFile(msgspec.Struct, frozen=True, kw_only=True):
    """One file: its path relative to the context, its kind, and its bytes (a link's are its target)."""

    path: str
    kind: FileKind
    content: bytes


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Which state of which folder. `commit` is the full hash, `commit_time_s` its committer time, `dirty`
    whether the uncommitted tree is meant; `prefix` is the root's place below the top of the checkout."""

    root: str
    prefix: str
    commit: str
    commit_time_s: int
    dirty: bool


def find_source(
    root: Path, *, revision: str = "HEAD", dirty: bool | None = None, untracked: bool = True
) -> Source:
    """The state of `root` to build from.

    `dirty` None means: the commit when the folder has no uncommitted change, else the uncommitted tree; a new
    file counts as a change unless `untracked` is false (in a job's workspace steps leave files behind). A
    revision other than HEAD is always built from the commit. Raises UsageError without repository or commit.
    """
    if revision.startswith("-"):
        raise UsageError(f"{revision!r} is not a revision: it begins with a dash")
    prefix = _git(root, "rev-parse", "--show-prefix").strip().rstrip("/")
    try:
        commit = _git(root, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").strip()
    except UsageError:
        hint = "commit something first" if revision == "HEAD" else "git log --oneline shows the commits"
        raise UsageError(f"{root}: there is no commit {revision!r}", hint=hint) from None
    commit_time_s = int(_git(root, "show", "-s", "--format=%ct", commit).split()[0])
    if dirty is None:
        dirty = revision == "HEAD" and bool(
            _git(
                root,
                "status",
                "--porcelain",
                "-z",
                f"--untracked-files={'all' if untracked else 'no'}",
                "--",
                ".",
            ).strip("\0")
        )
    return Source(root=str(root), prefix=prefix, commit=commit, commit_time_s=commit_time_s, dirty=dirty)


def recognise(found: Source, origin: Source) -> Source:
    """`found` under the name of the commit `origin` when it has exactly its files.

    A job's checkout of a folder below the top of a repository has a commit of its own; what is built from it
    must bear the commit that was pushed, or two builds of one commit would differ.
    """
    if found.commit == origin.commit:
        return found
    if _git(Path(found.root), "rev-parse", f"{found.commit}:./") != _git(
        Path(origin.root), "rev-parse", f"{origin.commit}:./"
    ):
        return found
    if not found.dirty:
        return origin
    return msgspec.structs.replace(found, commit=origin.commit, commit_time_s=origin.commit_time_s)


def read_files(
    source: Source, context: str, include: Sequence[str], exclude: Sequence[str]
) -> list[SourceFile]:
    """The chosen files, sorted by the bytes of their paths. Raises AkashicError for a submodule, a link that
    leaves the context, or a file that is too big."""
    folder = clean_folder(context)
    wanted, unwanted = GlobSet(tuple(include)), GlobSet(tuple(exclude))

    def chosen(path: str) -> bool:
        if NEVER.matches(path) and not NEVER_EXCEPT.matches(path):
            return False
        return wanted.matches(path) and not unwanted.matches(path)

    walk = _working_files(source, folder, chosen) if source.dirty else _commit_files(source, folder, chosen)
    files = sorted(walk, key=lambda file: file.path.encode())
    for file in files:
        if file.kind == "link":
            _check_link(file)
    return files


def read_file(source: Source, context: str, path: str) -> bytes:
    """One file of the context, whether it goes into the image or not. Raises UsageError when it is not there
    (in the commit, or tracked or addable in the uncommitted tree)."""
    folder = clean_folder(context)
    wanted = clean_folder(path)
    walk = _working_files if source.dirty else _commit_files
    for file in walk(source, folder, lambda candidate: candidate == wanted):
        if file.kind != "link":
            return file.content
    place = "the uncommitted tree" if source.dirty else f"commit {source.commit[:12]}"
    raise UsageError(
        f"{PurePosixPath(folder or '.', wanted)}: no such file in {place}", hint="is it tracked by git?"
    )


def content_version(source: Source, files: Sequence[SourceFile]) -> str:
    """How this state is called: the commit's first twelve digits, and for the uncommitted tree `-dirty.` with
    a hash of its content, so that two different trees never share a version."""
    short = source.commit[:12]
    if not source.dirty:
        return short
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.kind}\0{file.path}\0{len(file.content)}\0".encode("utf-8", "surrogateescape"))
        digest.update(file.content)
    return f"{short}-dirty.{digest.hexdigest()[:12]}"


def clean_folder(folder: str) -> str:
    """`folder` normalised ("" for the root itself). Raises UsageError when it is absolute or leads out."""
    parts = PurePosixPath(folder).parts
    if "\0" in folder or PurePosixPath(folder).is_absolute() or ".." in parts:
        raise UsageError(f"{folder!r}: expected a path below the repository's root, without '..'")
    return "/".join(part for part in parts if part != ".")


def _check_link(file: SourceFile) -> None:
    target = file.content.decode("utf-8", "surrogateescape")
    depth = len(PurePosixPath(file.path).parent.parts)
    for part in target.split("/"):
        depth += -1 if part == ".." else 0 if part in ("", ".") else 1
        if depth < 0 or target.startswith("/"):
            raise AkashicError(
                f"{file.path}: the symbolic link leads out of the image's context (to {target!r})",
                hint="make it relative and keep it inside, or list it under image.exclude",
            )


def _commit_files(source: Source, folder: str, chosen: object) -> Iterator[SourceFile]:
    assert callable(chosen)
    tree = "/".join(part for part in (source.prefix, folder) if part)
    listing = _git(Path(source.root), "ls-tree", "-r", "-z", "--full-tree", f"{source.commit}:{tree}")
    rows: list[tuple[str, str, str]] = []
    for row in filter(None, listing.split("\0")):
        head, path = row.split("\t", 1)
        mode, _, name = head.split(" ")
        if chosen(path):
            rows.append((mode, name, path))
    with closing(_BlobReader(Path(source.root))) as blobs:
        for mode, name, path in rows:
            if mode == "160000":
                raise AkashicError(
                    f"{path}: a submodule cannot go into an image", hint="list it under image.exclude"
                )
            yield SourceFile(path=path, kind=_KINDS[mode], content=blobs.read(name, path))


def _working_files(source: Source, folder: str, chosen: object) -> Iterator[SourceFile]:
    assert callable(chosen)
    top = Path(source.root) / folder
    if not top.is_dir():
        raise UsageError(f"{folder}: no such folder below {source.root}")
    listing = _git(top, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
    for path in filter(None, listing.split("\0")):
        if not chosen(path):
            continue
        full = top / path
        try:
            mode = full.lstat().st_mode
        except FileNotFoundError:
            continue  # removed in the uncommitted tree
        if any(parent.is_symlink() for parent in list(full.parents)[: len(PurePosixPath(path).parts) - 1]):
            continue  # a folder was replaced by a link: what is behind it is not this tree's
        if stat.S_ISLNK(mode):
            yield SourceFile(path=path, kind="link", content=os.fsencode(full.readlink()))
        elif stat.S_ISREG(mode):
            if full.stat().st_size > FILE_BYTES_MAX:
                raise _too_big(path)
            kind: FileKind = "executable" if mode & stat.S_IXUSR else "file"
            yield SourceFile(path=path, kind=kind, content=full.read_bytes())


def _too_big(path: str) -> AkashicError:
    return AkashicError(
        f"{path}: larger than {FILE_BYTES_MAX // 1024 // 1024} MiB", hint="list it under image.exclude"
    )


class _BlobReader:
    """One `git cat-file --batch` for many blobs."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            git_argv(root, "cat-file", "--batch"),
            env=git_env(os.environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def read(self, name: str, path: str) -> bytes:
        stdin, stdout = self._pipes()
        stdin.write(f"{name}\n".encode())
        stdin.flush()
        head = stdout.readline().split()
        if len(head) != 3:
            raise AkashicError(
                f"{path}: git cannot read object {name}", hint="git fsck shows what is missing"
            )
        size = int(head[2])
        if size > FILE_BYTES_MAX:
            self._process.kill()
            raise _too_big(path)
        content = stdout.read(size)
        stdout.read(1)
        return content

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        assert self._process.stdin is not None and self._process.stdout is not None
        return self._process.stdin, self._process.stdout

    def close(self) -> None:
        stdin, stdout = self._pipes()
        stdin.close()
        stdout.close()
        self._process.wait()


def _git(folder: Path, *arguments: str) -> str:
    if not folder.is_dir():
        raise UsageError(f"{folder}: no such folder", hint="an image is built from what git tracks")
    with git_start(folder, os.environ, *arguments) as child:
        output, said = child.communicate()
    if child.returncode != 0:
        reason = said.decode(errors="replace").strip().removeprefix("fatal: ")
        raise UsageError(f"git {arguments[0]} in {folder}: {reason or 'failed'}")
    return output.decode("utf-8", "surrogateescape")
