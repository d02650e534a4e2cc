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
from akashic.executors.protocol import ExecutorError, Tree
from akashic.git import SAFE

STATE_FOLDER = ".akashic"
PREPARED_MAX = 8
"""Prepared trees that are kept; older ones that no job uses are removed."""
_GIT_ENV = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
_SAFE = (*SAFE, "-c", "safe.directory=*", "-c", "core.attributesFile=/dev/null")


class Prepared(msgspec.Struct, frozen=True):
    """A tree to look at, never to change. `lock` is a descriptor that keeps it; close it when done."""

    path: str
    lock: int

    def release(self) -> None:
        os.close(self.lock)


class _Source(msgspec.Struct, frozen=True):
    root: str
    top: str
    prefix: str
    objects: str
    shallow: str


def prepare(tree: Tree, folder: str, environ: Mapping[str, str]) -> Prepared:
    """The prepared tree in `folder`, made now if this commit (or this state of the files) has none yet.

    Raises ExecutorError when the root is no git repository or the commit is unknown."""
    source = _source(tree.root, environ)
    files = _files(source, environ) if tree.dirty else ()
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
        [_tool("cp", environ), "-a", "--reflink=auto", "--remove-destination", f"{prepared}/.", destination],
        env=_GIT_ENV | {"PATH": environ.get("PATH", os.defpath)},
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


def _source(root: str, environ: Mapping[str, str]) -> _Source:
    outcome = _git_raw(
        root,
        ["rev-parse", "--show-toplevel", "--show-prefix", "--git-path", "objects", "--git-path", "shallow"],
        environ,
    )  # fmt: skip
    if outcome.returncode:
        raise ExecutorError(
            f"{root} is not a git repository, so there is no tree to check out",
            hint="run `git init`, add your files and commit them",
        )
    lines = os.fsdecode(outcome.stdout).split("\n")
    top, prefix, objects, shallow = lines[0], lines[1].rstrip("/"), lines[2], lines[3]
    return _Source(
        root=root,
        top=top,
        prefix=prefix,
        objects=os.path.join(root, objects),
        shallow=os.path.join(root, shallow),
    )


def _files(source: _Source, environ: Mapping[str, str]) -> Sequence[tuple[str, os.stat_result]]:
    """Tracked files as they are, and untracked ones that are not ignored; folders are submodules."""
    listing = _git(source.root, ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], environ)
    found = []
    for path in sorted(set(os.fsdecode(listing).split("\0"))):
        first = path.partition("/")[0]
        if not path or first == STATE_FOLDER:
            continue
        try:
            info = os.lstat(f"{source.root}/{path}")
        except (FileNotFoundError, NotADirectoryError):
            continue  # Tracked, and deleted in the working tree.
        if stat.S_ISREG(info.st_mode) or stat.S_ISLNK(info.st_mode):
            if not _beneath_link(source.root, path):
                found.append((path, info))
        elif stat.S_ISDIR(info.st_mode):
            found.append((path, info))
    return found


def _beneath_link(root: str, path: str) -> bool:
    """Whether a folder of the path is a link now: what lies behind it is not the repository's."""
    folder = path.rpartition("/")[0]
    while folder:
        if os.path.islink(f"{root}/{folder}"):
            return True
        folder = folder.rpartition("/")[0]
    return False


def _key(tree: Tree, source: _Source, files: Sequence[tuple[str, os.stat_result]]) -> str:
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
    source: _Source,
    files: Sequence[tuple[str, os.stat_result]],
    target: str,
    environ: Mapping[str, str],
) -> None:
    partial = f"{target}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    os.makedirs(partial)
    try:
        _make_repository(tree, source, partial, environ)
        if tree.dirty:
            _copy_files(source.root, files, partial)
        elif tree.commit:
            _git(partial, ["checkout-index", "--all", "--force", "--quiet"], environ)
            shutil.rmtree(f"{partial}/{STATE_FOLDER}", ignore_errors=True)
        if tree.commit:
            # Makes the index know the files' times, so that no job has to compare their contents.
            _git_raw(partial, ["update-index", "-q", "--refresh"], environ)
        os.rename(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _make_repository(tree: Tree, source: _Source, folder: str, environ: Mapping[str, str]) -> None:
    git = f"{folder}/.git"
    for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info"):
        os.makedirs(f"{git}/{name}")
    _write(f"{git}/objects/info/alternates", source.objects + "\n")
    _write(f"{git}/HEAD", "ref: refs/heads/main\n")
    _write(
        f"{git}/config",
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"
        "\tlogallrefupdates = true\n"
        "\thooksPath = /dev/null\n[gc]\n\tauto = 0\n[advice]\n\tdetachedHead = false\n",
    )
    _write(f"{git}/info/exclude", f"/{STATE_FOLDER}/\n")
    if os.path.isfile(source.shallow):
        shutil.copyfile(source.shallow, f"{git}/shallow")
    if not tree.commit:
        return
    head = tree.commit
    if source.prefix:
        head = _sub_folder_commit(tree, source, folder, environ)
    else:
        refs = os.fsdecode(
            _git(
                source.root,
                ["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags"],
                environ,
            )
        )
        lines = [line.replace(" refs/heads/", " refs/remotes/origin/") for line in refs.splitlines()]
        lines.sort(key=lambda line: line.partition(" ")[2])
        _write(f"{git}/packed-refs", "# pack-refs with: sorted\n" + "".join(f"{line}\n" for line in lines))
    _write(f"{git}/HEAD", head + "\n")
    if _git_raw(folder, ["read-tree", head], environ).returncode:
        raise ExecutorError(
            f"the commit {tree.commit} is not in the repository {source.top}",
            hint="fetch it first: git fetch origin " + tree.commit,
        )


def _sub_folder_commit(tree: Tree, source: _Source, folder: str, environ: Mapping[str, str]) -> str:
    found = _git_raw(source.root, ["rev-parse", "--verify", "-q", f"{tree.commit}:{source.prefix}"], environ)
    if found.returncode:
        if tree.dirty:
            sub_tree = os.fsdecode(
                _git(folder, ["hash-object", "-w", "-t", "tree", os.devnull], environ)
            ).strip()
        else:
            raise ExecutorError(f"the commit {tree.commit} has no folder {source.prefix}")
    else:
        sub_tree = os.fsdecode(found.stdout).strip()
    facts = os.fsdecode(
        _git(source.root, ["show", "-s", "--format=%an%n%ae%n%aI%n%cn%n%ce%n%cI%n%B", tree.commit], environ)
    ).split("\n", 6)
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_DATE",
             "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "GIT_COMMITTER_DATE")  # fmt: skip
    people = dict(zip(names, facts, strict=False))
    made = _git(
        folder, ["commit-tree", sub_tree, "-m", facts[6].strip() or tree.commit], environ, extra=people
    )
    return os.fsdecode(made).strip()


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


def _write(path: str, content: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(content)


def _git(
    folder: str, arguments: Sequence[str], environ: Mapping[str, str], extra: Mapping[str, str] | None = None
) -> bytes:
    outcome = _git_raw(folder, arguments, environ, extra)
    if outcome.returncode:
        reason = outcome.stderr.decode(errors="replace").strip()
        raise ExecutorError(f"git {arguments[0]} failed in {folder}: {reason}")
    return outcome.stdout


def _git_raw(
    folder: str, arguments: Sequence[str], environ: Mapping[str, str], extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    env = {**_GIT_ENV, **(extra or {}), "PATH": environ.get("PATH", os.defpath), "HOME": "/nonexistent"}
    return subprocess.run(
        [_tool("git", environ), *_SAFE, *arguments],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


def _tool(name: str, environ: Mapping[str, str]) -> str:
    found = shutil.which(name, path=environ.get("PATH", os.defpath))
    if found is None:
        raise ExecutorError(
            f"{name} is not installed, and checking out a tree needs it", hint=f"install {name}"
        )
    return found
