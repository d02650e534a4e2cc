"""What git says of the repository that a command was called in: one look, a few fast calls side by side."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from akashic.errors import UsageError

_REMOTE = re.compile(r"[:/](?P<owner>[^/:]+)/(?P<name>[^/]+?)(?:\.git)?/?$")
_ZERO = "0" * 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Repository:
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

    Raises UsageError when `cwd` lies in no git checkout.
    """
    top = next((folder for folder in (cwd, *cwd.parents) if (folder / ".git").exists()), None)
    if top is None:
        raise UsageError(
            f"{cwd}: not a git repository, nor is any folder above it",
            hint="run akashic inside a git checkout, or name one with -C; `git init` makes one",
        )
    for folder in (cwd, *cwd.parents):
        if (folder / ".github" / "workflows").is_dir() or (folder / "akashic.yaml").is_file():
            return folder, top
        if folder == top:
            break
    return top, top


def read_repository(cwd: Path, environ: Mapping[str, str]) -> Repository:
    """Look at the repository around `cwd`. Raises UsageError outside a git checkout or without a commit."""
    root, top = find_root(cwd)
    # Settings of a surrounding git (a hook that calls us) must not point us at another repository.
    env = {key: value for key, value in environ.items() if not key.startswith("GIT_")}
    env["GIT_OPTIONAL_LOCKS"] = "0"

    def start(*argv: str) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                ("git", "-C", str(root), *argv),
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                stdin=subprocess.DEVNULL,
                env=env,
            )
        except FileNotFoundError:
            raise UsageError("git is not on PATH", hint="install git") from None

    children = {
        "status": start("status", "--porcelain=v2", "--branch", "--untracked-files=normal", "--", "."),
        "log": start("log", "-1", "--format=%H%x00%P%x00%an%x00%ae%x00%cI%x00%D%x00%B"),
        "config": start("config", "--get-regexp", r"^(remote\.origin\.url|init\.defaultbranch)$"),
    }
    output = {name: child.communicate()[0].decode("utf-8", "replace") for name, child in children.items()}
    if children["log"].returncode != 0:
        raise UsageError(f"{root}: the repository has no commit yet", hint="make one: `git commit`")
    return _from_output(root, top, output["status"], output["log"], output["config"])


def _from_output(root: Path, top: Path, status: str, log: str, config: str) -> Repository:
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
    settings = dict(line.split(" ", 1) for line in config.splitlines() if " " in line)
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
    git = top / ".git"
    head = git / "refs" / "remotes" / "origin" / "HEAD"
    if head.is_file():
        return head.read_text().strip().removeprefix("ref: refs/remotes/origin/")
    packed = (git / "packed-refs").read_text() if (git / "packed-refs").is_file() else ""
    for name in ("main", "master"):
        if (git / "refs" / "heads" / name).is_file() or f" refs/heads/{name}\n" in packed:
            return name
    return branch or configured or "main"


def _without_credentials(url: str) -> str:
    """A remote's address with no user or token in it: it is shown and stored."""
    return re.sub(r"(?<=://)[^/@]*@", "", url)


def changed_files(repository: Repository) -> tuple[str, ...]:
    """Paths below the root that the last commit changed, and those with uncommitted changes."""

    def lines(*argv: str) -> list[str]:
        result = subprocess.run(
            ("git", "-C", str(repository.root), *argv, "--", "."), capture_output=True, check=False
        )
        return [name for name in result.stdout.decode("utf-8", "replace").split("\0") if name]

    committed = lines(
        "diff-tree", "--root", "--no-commit-id", "-r", "-z", "--name-only", "--relative", repository.commit
    )
    edited = lines("diff", "-z", "--name-only", "--relative", "HEAD") if repository.dirty else []
    return tuple(dict.fromkeys((*committed, *edited)))


def state_folder(root: Path, environ: Mapping[str, str]) -> Path:
    """Where everything about this repository is kept: AKASHIC_STATE, or `.akashic` in the root.

    The folder is made on first use and hides itself from git. Raises UsageError when it cannot be made.
    """
    folder = Path(environ["AKASHIC_STATE"]) if environ.get("AKASHIC_STATE") else root / ".akashic"
    ignore = folder / ".gitignore"
    if ignore.exists():
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
