"""What git says of the repository that a command was called in: one look, a few fast calls side by side."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import msgspec

from akashic.app.commit_memory import CommitMemory, commit_guess, marks_of
from akashic.delivery import CONFIG_NAME
from akashic.errors import UsageError
from akashic.git import git_output, git_start

_REMOTE = re.compile(r"[:/](?P<owner>[^/:]+)/(?P<name>[^/]+?)(?:\.git)?/?$")
_ZERO = "0" * 40


class Repository(msgspec.Struct, frozen=True, kw_only=True):
    """The repository that a run is about. `root` is the folder with `.github/workflows` or `akashic.yaml`,
    which may lie below `top`, the checkout's top; then `prefix` is the way from top to root."""

    root: Path
    top: Path
    prefix: str
    name: str
    commit: str
    parent: str
    branch: str
    tag: str
    dirty: bool
    default_branch: str
    author: str
    author_email: str
    committed_at: str
    message: str
    remote_url: str

    @property
    def ref(self) -> str:
        """The full ref that is checked out, as `github.ref` shows it."""
        if self.branch:
            return f"refs/heads/{self.branch}"
        return f"refs/tags/{self.tag}" if self.tag else f"refs/heads/{self.default_branch}"

    @property
    def owner(self) -> str:
        return self.name.split("/", 1)[0]


def find_root(cwd: Path) -> tuple[Path, Path]:
    """The repository's root and the git checkout's top for a folder.

    Raises UsageError when `cwd` lies in no git checkout, or its path cannot be written down as text.
    """
    try:
        str(cwd).encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"{os.fsencode(cwd).decode('utf-8', 'backslashreplace')}: this path is no UTF-8",
            hint="rename the folder, or call akashic in a checkout elsewhere",
        ) from None
    top = next((folder for folder in (cwd, *cwd.parents) if (folder / ".git").exists()), None)
    if top is None:
        if (cwd / "HEAD").is_file() and (cwd / "objects").is_dir():
            raise UsageError(
                f"{cwd}: a bare repository has no files to run workflows from",
                hint="clone it, or make a checkout of it: git worktree add",
            )
        raise UsageError(
            f"{cwd}: not a git repository, nor is any folder above it",
            hint="run akashic inside a git checkout, or name one with -C; `git init` makes one",
        )
    for folder in (cwd, *cwd.parents):
        if (folder / ".github" / "workflows").is_dir() or (folder / CONFIG_NAME).is_file():
            return folder, top
        if folder == top:
            break
    return top, top


def read_repository(cwd: Path, environ: Mapping[str, str]) -> Repository:
    """Look at the repository around `cwd`. Raises UsageError outside a git checkout or without a commit."""
    return Look(cwd, environ).result()


_ASKED = ("remote.origin.url", "init.defaultbranch")
_TRACE = {
    "GIT_TRACE2_EVENT": "2",
    "GIT_TRACE2_EVENT_BRIEF": "1",
    "GIT_TRACE2_CONFIG_PARAMS": ",".join(_ASKED),
}
"""Has any git command tell these settings on its way, as JSON lines on stderr: one process less, which is a
millisecond of every run (https://git-scm.com/docs/api-trace2, since git 2.22)."""


class Look:
    """A look at the repository around `cwd` that has begun: git works while the caller does something else.
    `memory` spares it from being asked again about the commit of the last look. Raises UsageError outside a
    git checkout."""

    def __init__(self, cwd: Path, environ: Mapping[str, str], memory: CommitMemory | None = None) -> None:
        self._root, self._top = find_root(cwd)
        self._environ = environ
        self._memory = memory
        self._status = git_start(
            self._root,
            environ,
            *("status", "--porcelain=v2", "--branch", "--untracked-files=normal", "--", "."),
            settings=_TRACE,
        )
        self._known: str | None = None
        if memory is not None:
            folders = _git_folders(self._top)
            self._marks = marks_of(folders[1])
            # A guess is enough to go without asking: `status` tells the truth, and then there is time to ask.
            self._known = memory.recall(commit_guess(folders), self._marks)
        self._log = None if self._known else self._ask()

    def result(self) -> Repository:
        """What git found; call it once. Raises UsageError without a commit."""
        status, said = _finish(self._status)
        settings, complaint = _told(said)
        if self._status.returncode != 0:
            if self._log is not None:
                _finish(self._log)
            raise _unreadable(self._root, complaint)
        if settings is None:
            pattern = "^(" + "|".join(re.escape(name) for name in _ASKED) + ")$"
            output = git_output(self._root, self._environ, "config", "--get-regexp", pattern) or b""
            lines = output.decode("utf-8", "replace").splitlines()
            settings = dict(line.split(" ", 1) for line in lines if " " in line)
        return _from_output(self._root, self._top, status, self._commit(status), settings)

    def _ask(self) -> subprocess.Popen[bytes]:
        # "%cI" and its like are asked for by name: the user's own formats change nothing.
        return git_start(
            self._root, self._environ, "log", "-1", "--format=%H%x00%P%x00%an%x00%ae%x00%cI%x00%D%x00%B"
        )

    def _commit(self, status: str) -> str:
        """What `git log` says, or has said, of the commit that `status` names."""
        lines = status.splitlines()
        if self._known is not None and "# branch.head (detached)" not in lines:
            commit, _, _ = self._known.partition("\0")
            if f"# branch.oid {commit}" in lines:
                return self._known
        log, complaint = _finish(child := self._log or self._ask())
        if child.returncode != 0:
            raise _unreadable(self._root, complaint.strip())
        if self._memory is not None:
            self._memory.remember(log, self._marks)
        return log


def _finish(child: subprocess.Popen[bytes]) -> tuple[str, str]:
    with child:
        output, complaint = child.communicate()
    return output.decode("utf-8", "replace"), complaint.decode("utf-8", "replace")


def _told(said: str) -> tuple[dict[str, str] | None, str]:
    """From stderr: the settings that were asked for (None when this git tells none), and the rest."""
    settings: dict[str, str] | None = None
    complaint = []
    for line in said.splitlines():
        if not line.startswith('{"event":'):
            complaint.append(line)
        elif settings is None:
            settings = {}
        if line.startswith('{"event":"def_param"'):
            event = json.loads(line)
            settings = (settings or {}) | {event["param"]: event["value"]}
    return settings, "\n".join(complaint).strip()


def _unreadable(root: Path, complaint: str) -> UsageError:
    """Why git cannot show the last commit, in words."""
    if "dubious ownership" in complaint:
        return UsageError(
            f"{root}: the repository belongs to another user, so git does not read it",
            hint=f"if you trust it: git config --global --add safe.directory {root}",
        )
    if "does not have any commits" in complaint or "bad default revision" in complaint:
        return UsageError(f"{root}: the repository has no commit yet", hint="make one: `git commit`")
    reason = complaint.splitlines()[-1] if complaint else "git log failed"
    return UsageError(f"{root}: git cannot read the repository: {reason}", hint="`git fsck` looks closer")


def _from_output(root: Path, top: Path, status: str, log: str, settings: Mapping[str, str]) -> Repository:
    commit, parents, author, email, committed_at, decoration, message = log.split("\0", 6)
    branch = ""
    dirty = False
    for line in status.splitlines():
        if line.startswith("# branch.head "):
            branch = line.removeprefix("# branch.head ")
        elif not line.startswith("#"):
            dirty = True
    if branch == "(detached)":
        branch = ""
    tags = [name.removeprefix("tag: ") for name in decoration.split(", ") if name.startswith("tag: ")]
    remote_url = settings.get("remote.origin.url", "")
    return Repository(
        root=root,
        top=top,
        prefix="" if root == top else root.relative_to(top).as_posix(),
        name=_repository_name(root, top, remote_url),
        commit=commit,
        parent=parents.split(" ")[0] or _ZERO,
        branch=branch,
        tag=tags[0] if tags and not branch else "",
        dirty=dirty,
        default_branch=_default_branch(top, branch, settings.get("init.defaultbranch", "")),
        author=author,
        author_email=email,
        committed_at=committed_at,
        message=message.strip("\n"),
        remote_url=_without_credentials(remote_url),
    )


def _repository_name(root: Path, top: Path, remote_url: str) -> str:
    match = _REMOTE.search(remote_url)
    owner = match["owner"] if match else "local"
    if root != top or match is None:
        return f"{owner}/{re.sub(r'[^A-Za-z0-9._-]', '-', root.name) or 'repository'}"
    return f"{owner}/{match['name']}"


def _default_branch(top: Path, branch: str, configured: str) -> str:
    """The remote's HEAD where it is known; else `main` or `master` where one exists; else the current one."""
    _, git = _git_folders(top)
    head = git / "refs" / "remotes" / "origin" / "HEAD"
    if head.is_file():
        return head.read_text().strip().removeprefix("ref: refs/remotes/origin/")
    packed = (git / "packed-refs").read_text() if (git / "packed-refs").is_file() else ""
    for name in ("main", "master"):
        if (git / "refs" / "heads" / name).is_file() or f" refs/heads/{name}\n" in packed:
            return name
    return branch or configured or "main"


def _git_folders(top: Path) -> tuple[Path, Path]:
    """Where a checkout keeps its HEAD, and where its refs: both `.git`, but for a linked worktree."""
    git = top / ".git"
    if not git.is_file():
        return git, git
    git = top / git.read_text(encoding="utf-8", errors="replace").strip().removeprefix("gitdir: ")
    common = git / "commondir"
    if not common.is_file():
        return git, git
    return git, git / common.read_text(encoding="utf-8", errors="replace").strip()


def _without_credentials(url: str) -> str:
    """A remote's address with no user or token in it: it is shown and stored."""
    return re.sub(r"(?<=://)[^/]*@", "", url)


def changed_files(
    repository: Repository, *, against_default: bool = False, environ: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Paths below the root that the last commit changed, or with `against_default` all commits since the
    default branch was left (GitHub's three dots for pull requests); and those with uncommitted changes."""

    def names(*argv: str) -> list[str]:
        output = git_output(repository.root, environ, *argv, "--", ".")
        return [name for name in (output or b"").decode("utf-8", "replace").split("\0") if name]

    shape = ("-r", "-z", "--name-only", "--relative")
    base = _merge_base(repository, environ) if against_default else ""
    if base and base != repository.commit:
        committed = names("diff-tree", *shape, base, repository.commit)
    else:
        committed = names("diff-tree", "--root", "--no-commit-id", *shape, repository.commit)
    edited: list[str] = []
    if repository.dirty:
        edited = names("diff", "--no-ext-diff", "-z", "--name-only", "--relative", "HEAD")
        edited += names("ls-files", "-z", "--others", "--exclude-standard")
    return tuple(dict.fromkeys((*committed, *edited)))


def _merge_base(repository: Repository, environ: Mapping[str, str]) -> str:
    for name in (
        f"refs/remotes/origin/{repository.default_branch}",
        f"refs/heads/{repository.default_branch}",
    ):
        found = git_output(repository.root, environ, "merge-base", name, repository.commit)
        if found:
            return found.decode().strip()
    return ""


def state_folder(root: Path, environ: Mapping[str, str], *, make: bool = True) -> Path:
    """Where everything about this repository is kept: AKASHIC_STATE, or `.akashic` in the root.

    The folder is made on first use and hides itself from git. Raises UsageError when it cannot be made.
    """
    folder = Path(environ["AKASHIC_STATE"]) if environ.get("AKASHIC_STATE") else root / ".akashic"
    ignore = folder / ".gitignore"
    if not make or ignore.exists():
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        ignore.write_text("*\n")
    except OSError as error:
        raise UsageError(
            f"{folder}: cannot keep state here: {error.strerror}",
            hint="make the folder writable, or name another one with AKASHIC_STATE",
        ) from None
    return folder
