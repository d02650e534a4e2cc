"""The repository behind a job's workspace: what git knows of the user's, and the small one made from it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Mapping, Sequence

import msgspec

from akashic.executors.protocol import ExecutorError, Tree
from akashic.git import SAFE

STATE_FOLDER = ".akashic"
GIT_ENV = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
_SAFE = (*SAFE, "-c", "safe.directory=*", "-c", "core.attributesFile=/dev/null")


class Source(msgspec.Struct, frozen=True):
    """The user's repository: the root of the work, the checkout's top, the way from top to root, and where
    its objects and its list of shallow commits lie."""

    root: str
    top: str
    prefix: str
    objects: str
    shallow: str


def find_source(root: str, environ: Mapping[str, str]) -> Source:
    """The repository around a folder. Raises ExecutorError when there is none."""
    questions = (
        ("--show-toplevel",), ("--show-prefix",), ("--git-path", "objects"), ("--git-path", "shallow")
    )  # fmt: skip
    # git ends each answer by a line's end, which a path may hold: then it is asked one by one.
    calls = questions if "\n" in root else (tuple(word for words in questions for word in words),)
    answers: list[str] = []
    for words in calls:
        outcome = try_git(root, ["rev-parse", *words], environ)
        if outcome.returncode:
            raise ExecutorError(
                f"{root} is not a git repository, so there is no tree to check out",
                hint="run `git init`, add your files and commit them",
            )
        text = os.fsdecode(outcome.stdout).removesuffix("\n")
        answers += [text] if len(calls) > 1 else text.split("\n")
    top, prefix, objects, shallow = answers
    return Source(
        root=root,
        top=top,
        prefix=prefix.rstrip("/"),
        objects=os.path.join(root, objects),
        shallow=os.path.join(root, shallow),
    )


def files_of(source: Source, environ: Mapping[str, str]) -> Sequence[tuple[str, os.stat_result]]:
    """Tracked files as they are, and untracked ones that are not ignored; folders are submodules."""
    listing = run_git(source.root, ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], environ)
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


def make_repository(tree: Tree, source: Source, folder: str, environ: Mapping[str, str]) -> None:
    """A `.git` in `folder` with the tree's commit as its HEAD and index, and the objects of `source`. Raises
    ExecutorError when the commit is unknown."""
    git = f"{folder}/.git"
    for name in ("objects/info", "objects/pack", "refs/heads", "refs/tags", "info"):
        os.makedirs(f"{git}/{name}")
    _write(f"{git}/objects/info/alternates", _quoted(source.objects) + "\n")
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
            run_git(
                source.root,
                ["for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags"],
                environ,
            )
        )
        lines = [line.replace(" refs/heads/", " refs/remotes/origin/") for line in refs.splitlines()]
        lines.sort(key=lambda line: line.partition(" ")[2])
        _write(f"{git}/packed-refs", "# pack-refs with: sorted\n" + "".join(f"{line}\n" for line in lines))
    _write(f"{git}/HEAD", head + "\n")
    if try_git(folder, ["read-tree", head], environ).returncode:
        raise ExecutorError(
            f"the commit {tree.commit} is not in the repository {source.top}",
            hint="fetch it first: git fetch origin " + tree.commit,
        )


def _sub_folder_commit(tree: Tree, source: Source, folder: str, environ: Mapping[str, str]) -> str:
    found = try_git(source.root, ["rev-parse", "--verify", "-q", f"{tree.commit}:{source.prefix}"], environ)
    if found.returncode:
        if tree.dirty:
            sub_tree = os.fsdecode(
                run_git(folder, ["hash-object", "-w", "-t", "tree", os.devnull], environ)
            ).strip()
        else:
            raise ExecutorError(f"the commit {tree.commit} has no folder {source.prefix}")
    else:
        sub_tree = os.fsdecode(found.stdout).strip()
    facts = os.fsdecode(
        run_git(
            source.root, ["show", "-s", "--format=%an%n%ae%n%aI%n%cn%n%ce%n%cI%n%B", tree.commit], environ
        )
    ).split("\n", 6)
    names = ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_AUTHOR_DATE",
             "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "GIT_COMMITTER_DATE")  # fmt: skip
    people = dict(zip(names, facts, strict=False))
    made = run_git(
        folder, ["commit-tree", sub_tree, "-m", facts[6].strip() or tree.commit], environ, extra=people
    )
    return os.fsdecode(made).strip()


def _quoted(path: str) -> str:
    """A path as git reads it in a list of lines: in C's quotes where a line could not hold it."""
    if "\n" not in path and not path.startswith('"'):
        return path
    for letter, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n")):
        path = path.replace(letter, escaped)
    return f'"{path}"'


def _write(path: str, content: str) -> None:
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(content)


def run_git(
    folder: str, arguments: Sequence[str], environ: Mapping[str, str], extra: Mapping[str, str] | None = None
) -> bytes:
    outcome = try_git(folder, arguments, environ, extra)
    if outcome.returncode:
        reason = outcome.stderr.decode(errors="replace").strip()
        raise ExecutorError(f"git {arguments[0]} failed in {folder}: {reason}")
    return outcome.stdout


def try_git(
    folder: str, arguments: Sequence[str], environ: Mapping[str, str], extra: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """How git ended; nothing of the user\'s configuration is read and nothing is asked."""
    env = {**GIT_ENV, **(extra or {}), "PATH": environ.get("PATH", os.defpath), "HOME": "/nonexistent"}
    return subprocess.run(
        [find_tool("git", environ), *_SAFE, *arguments],
        cwd=folder,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )


def find_tool(name: str, environ: Mapping[str, str]) -> str:
    """Where a program is. Raises ExecutorError when it is not installed."""
    found = shutil.which(name, path=environ.get("PATH", os.defpath))
    if found is None:
        raise ExecutorError(
            f"{name} is not installed, and checking out a tree needs it", hint=f"install {name}"
        )
    return found
