"""The repository's tree in a job's workspace: prepared once for a commit (or a state of the uncommitted
files), then seen by each job as its own copy.

A prepared tree is a folder in the state's cache with the files and a small `.git` that borrows its objects
from the repository (alternates), so history, `git status`, `git diff` and `git log` work without copying any.
HEAD is detached at the commit. When the root lies below the top of the git checkout, the workspace holds that
sub-folder, and its HEAD is a commit made for it: same author, dates and message, no parents, the sub-folder's
tree; `GITHUB_SHA` stays the real commit. Hooks, filters and configuration of the repository or the user are
never used; submodules stay empty folders; `.akashic` is never in it.

A job sees it through an overlay mount (measured: 0.5 ms for any size), else as a copy with reflinks where the
file system has them. Never as hard links: a step that edits in place would change every other job's file.
"""

from __future__ import annotations

import contextlib
import fcntl
import filecmp
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256

import msgspec

from akashic.executors.host.keeping import trees_in_use
from akashic.executors.host.tree_repository import (
    GIT_ENV,
    STATE_FOLDER,
    Source,
    files_of,
    find_source,
    find_tool,
    make_repository,
    run_git,
    try_git,
)
from akashic.executors.protocol import ExecutorError, Tree

PREPARED_MAX = 8
"""Prepared trees that are kept; older ones that no job uses are removed."""


class Prepared(msgspec.Struct, frozen=True):
    """A tree to look at, never to change. `lock` is a descriptor that keeps it; close it when done."""

    path: str
    lock: int

    def release(self) -> None:
        os.close(self.lock)


def folder_name(repository: str) -> str:
    """What a job's workspace is called: as the repository, like on GitHub. It leads nowhere else, and is none
    of our own names, which begin with an underscore."""
    name = repository.rpartition("/")[2] or "workspace"
    kept = "".join(character if character.isalnum() or character in "-_." else "-" for character in name)
    return kept if kept.strip(".") and not kept.startswith("_") else f"w{kept}"


def prepare(tree: Tree, folder: str, environ: Mapping[str, str]) -> Prepared:
    """The prepared tree in `folder`, made now if this commit (or this state of the files) has none yet.

    Raises ExecutorError when the root is no git repository or the commit is unknown."""
    source = find_source(tree.root, environ)
    files = files_of(source, environ) if tree.dirty else ()
    key = _key(tree, source, files)
    os.makedirs(folder, exist_ok=True)
    lock = _lock(f"{folder}/{key}.lock", fcntl.LOCK_SH)
    target = f"{folder}/{key}"
    try:
        if not os.path.isdir(target):
            os.close(lock)
            lock = _lock(f"{folder}/{key}.lock", fcntl.LOCK_EX)
            if not os.path.isdir(target):
                _prune(folder, keep=key)
                _make(tree, source, files, target, environ)
            fcntl.flock(lock, fcntl.LOCK_SH)
        os.utime(target)
    except OSError as error:
        os.close(lock)
        raise ExecutorError(f"cannot prepare the tree of {tree.root} in {folder}: {error}") from error
    except ExecutorError as error:
        os.close(lock)
        # git says that it cannot write a file, but not why.
        if shutil.disk_usage(folder).free < 1 << 16:
            raise ExecutorError(
                f"No space left on the device of {folder}, so the tree of {tree.root} cannot be checked out",
                hint="free some space, or set AKASHIC_STATE to a folder on another device",
            ) from error
        raise
    except BaseException:
        os.close(lock)
        raise
    return Prepared(target, lock)


def hold(path: str) -> Prepared:
    """A tree that was prepared before, kept from being removed. Raises ExecutorError when it is gone."""
    lock = _lock(f"{path}.lock", fcntl.LOCK_SH)
    if not os.path.isdir(path):
        os.close(lock)
        raise ExecutorError(f"the tree {path} is gone", hint="akashic rerun --failed begins anew")
    return Prepared(path, lock)


def differences(before: str, after: str) -> tuple[list[str], list[str]]:
    """The files that two prepared trees do not have in common, history aside: those that the newer one has
    new or otherwise, and those that only the older one has."""
    old, new = _listing(before), _listing(after)
    changed = [
        path
        for path, facts in sorted(new.items())
        if old.get(path) != facts and not (path in old and _same(f"{before}/{path}", f"{after}/{path}"))
    ]
    return changed, sorted(old.keys() - new.keys())


def _listing(folder: str) -> dict[str, tuple[int, int, int]]:
    found: dict[str, tuple[int, int, int]] = {}
    remaining = [""]
    while remaining:
        below = remaining.pop()
        with os.scandir(f"{folder}/{below}") as entries:
            for entry in entries:
                path = f"{below}{entry.name}"
                if entry.is_dir(follow_symlinks=False):
                    if path != ".git":
                        remaining.append(f"{path}/")
                else:
                    info = entry.stat(follow_symlinks=False)
                    found[path] = (info.st_mode, info.st_size, info.st_mtime_ns)
    return found


def _same(one: str, other: str) -> bool:
    if os.path.islink(one) or os.path.islink(other):
        return os.path.islink(one) and os.path.islink(other) and os.readlink(one) == os.readlink(other)
    if (os.stat(one).st_mode ^ os.stat(other).st_mode) & 0o111:
        return False
    return filecmp.cmp(one, other, shallow=False)


def copy(prepared: str, destination: str, environ: Mapping[str, str]) -> None:
    """A copy of a prepared tree at `destination`, over what is there; reflinks where possible."""
    os.makedirs(destination, exist_ok=True)
    outcome = subprocess.run(
        [
            find_tool("cp", environ),
            "-a",
            "--reflink=auto",
            "--remove-destination",
            f"{prepared}/.",
            destination,
        ],
        env=GIT_ENV | {"PATH": environ.get("PATH", os.defpath)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if outcome.returncode:
        reason = outcome.stderr.decode(errors="replace").strip().splitlines()
        raise ExecutorError(f"cannot copy the tree to {destination}: {reason[-1] if reason else 'cp failed'}")


def empty(folder: str) -> None:
    """Remove everything in a folder; links are removed, not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)


def _key(tree: Tree, source: Source, files: Sequence[tuple[str, os.stat_result]]) -> str:
    digest = sha256(
        f"1\0{source.root}\0{source.prefix}\0{tree.commit}\0{tree.dirty}\0".encode(errors="surrogateescape")
    )
    for path, info in files:
        facts = (
            f"{path}\0{info.st_mode}\0{info.st_size}\0{info.st_mtime_ns}\0{info.st_ino}\0{info.st_ctime_ns}\n"
        )
        digest.update(facts.encode(errors="surrogateescape"))
    return digest.hexdigest()[:24]


def _lock(path: str, kind: int) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, kind)
        # Pruning may have removed the file while we waited for it.
        with contextlib.suppress(FileNotFoundError):
            if os.stat(path).st_ino == os.fstat(fd).st_ino:
                return fd
        os.close(fd)


def _prune(folder: str, *, keep: str) -> None:
    with os.scandir(folder) as entries:
        trees = sorted(
            (entry for entry in entries if entry.is_dir(follow_symlinks=False)),
            key=lambda entry: entry.stat(follow_symlinks=False).st_mtime,
        )
    in_use = trees_in_use(os.path.dirname(folder)) if len(trees) >= PREPARED_MAX else set()
    for entry in trees[: max(0, len(trees) - PREPARED_MAX + 1)]:
        key = entry.name.partition(".")[0]
        if key == keep or entry.path in in_use:
            continue
        with contextlib.suppress(OSError):
            lock = os.open(f"{folder}/{key}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(entry.path, ignore_errors=True)
                os.unlink(f"{folder}/{key}.lock")
            finally:
                os.close(lock)


def _make(
    tree: Tree,
    source: Source,
    files: Sequence[tuple[str, os.stat_result]],
    target: str,
    environ: Mapping[str, str],
) -> None:
    partial = f"{target}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    try:
        make_repository(tree, source, partial, environ)
        if tree.dirty:
            _copy_files(source.root, files, partial)
        elif tree.commit:
            run_git(partial, ["checkout-index", "--all", "--force", "--quiet"], environ)
            shutil.rmtree(f"{partial}/{STATE_FOLDER}", ignore_errors=True)
        if tree.commit:
            # Makes the index know the files' times, so that no job has to compare their contents.
            try_git(partial, ["update-index", "-q", "--refresh"], environ)
        os.rename(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _copy_files(root: str, files: Sequence[tuple[str, os.stat_result]], target: str) -> None:
    made = {""}
    for path, info in files:
        folder = path.rpartition("/")[0]
        if folder not in made:
            os.makedirs(f"{target}/{folder}", exist_ok=True)
            made.add(folder)
        with contextlib.suppress(FileNotFoundError):  # Deleted since it was listed.
            if stat.S_ISLNK(info.st_mode):
                os.symlink(os.readlink(f"{root}/{path}"), f"{target}/{path}")
            elif stat.S_ISDIR(info.st_mode):
                os.makedirs(f"{target}/{path}", exist_ok=True)
            else:
                _copy_file(f"{root}/{path}", f"{target}/{path}", info)


def _copy_file(source: str, target: str, info: os.stat_result) -> None:
    mode = 0o755 if info.st_mode & 0o111 else 0o644
    with _opened(source, os.O_RDONLY | os.O_NOFOLLOW) as reader:
        with _opened(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode) as writer:
            try:
                fcntl.ioctl(writer, 0x40049409, reader)  # FICLONE
            except OSError:
                while os.sendfile(writer, reader, None, 1 << 30):
                    pass
        os.utime(target, ns=(info.st_mtime_ns, info.st_mtime_ns))


@contextlib.contextmanager
def _opened(path: str, flags: int, mode: int = 0) -> Iterator[int]:
    fd = os.open(path, flags | os.O_CLOEXEC, mode)
    try:
        yield fd
    finally:
        os.close(fd)
