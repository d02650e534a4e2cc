"""Workflow files: found in the working tree or in the commit, with every reusable workflow that they call."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from akashic.app.repository import Repository
from akashic.errors import UsageError
from akashic.source.position import InvalidInput, Position, Problem
from akashic.workflow.model import Workflow
from akashic.workflow.parse import parse_workflow

FOLDER = ".github/workflows"
CALL_DEPTH_MAX = 10
"""GitHub: a top-level caller and up to nine levels of reusable workflows."""

RemoteReader = Callable[[str], str]
"""`owner/repo/.github/workflows/file.yml@ref` to the file's text; raises AkashicError when it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedWorkflow:
    """A workflow and the texts that a run of it depends on, itself (by path) and its calls (by `uses:`)."""

    workflow: Workflow
    sources: dict[str, str]


class WorkflowTree:
    """The files of a repository's tree: as they are on disk (`dirty`), or as the commit has them."""

    def __init__(self, repository: Repository, *, from_commit: bool) -> None:
        self._repository = repository
        self._from_commit = from_commit

    def names(self) -> list[str]:
        """Paths of all workflow files, relative to the root, in order."""
        if self._from_commit:
            listing = self._git("ls-tree", "-z", "--name-only", f"{self._commit_path(FOLDER)}")
            names = [name for name in listing.decode("utf-8", "surrogateescape").split("\0") if name]
        else:
            folder = self._repository.root / FOLDER
            names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        return sorted(f"{FOLDER}/{name}" for name in names if name.endswith((".yml", ".yaml")))

    def read(self, path: str) -> str:
        """A file's text. Raises UsageError when there is none or it is not UTF-8."""
        try:
            if self._from_commit:
                return self._git("show", self._commit_path(path)).decode()
            return (self._repository.root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: not valid UTF-8 at byte {error.start}") from None
        except (FileNotFoundError, IsADirectoryError):
            raise UsageError(f"{path}: no such file in the repository") from None

    def _commit_path(self, path: str) -> str:
        prefix = f"{self._repository.prefix}/" if self._repository.prefix else ""
        return f"{self._repository.commit}:{prefix}{path}"

    def _git(self, *argv: str) -> bytes:
        result = subprocess.run(
            ("git", "-C", str(self._repository.top), *argv), capture_output=True, check=False
        )
        if result.returncode != 0:
            raise FileNotFoundError(argv[-1])
        return result.stdout


def select_paths(tree: WorkflowTree, wanted: Iterable[str], root: Path, cwd: Path) -> list[str]:
    """The workflow files to look at: all, or those that the user named by path, folder or file name.

    Raises UsageError for a name that fits none.
    """
    names = tree.names()
    chosen: list[str] = []
    for want in wanted:
        absolute = (cwd / want).resolve()
        relative = absolute.relative_to(root).as_posix() if absolute.is_relative_to(root) else ""
        fits = [
            name
            for name in names
            if relative in (name, FOLDER, ".github") or Path(name).name == want or Path(name).stem == want
        ]
        if not fits and relative and absolute.is_file():
            fits = [relative]
        if not fits:
            known = ", ".join(Path(name).name for name in names) or "none"
            raise UsageError(f"{want}: no such workflow", hint=f"workflows here: {known}")
        chosen += [name for name in fits if name not in chosen]
    return chosen or ([] if list(wanted) else names)


def load(tree: WorkflowTree, path: str, remote: RemoteReader) -> LoadedWorkflow:
    """Parse a workflow and everything it calls. Raises InvalidInput with all problems of the first file that
    has any."""
    text = tree.read(path)
    workflow = parse_workflow(text, path)
    sources = {path: text}
    _collect_calls(workflow, tree, remote, sources, chain=(path,))
    return LoadedWorkflow(workflow=workflow, sources=sources)


def _collect_calls(
    workflow: Workflow,
    tree: WorkflowTree,
    remote: RemoteReader,
    sources: dict[str, str],
    chain: tuple[str, ...],
) -> None:
    for job in workflow.jobs.values():
        if not job.uses:
            continue
        if job.uses in chain:
            raise InvalidInput([_problem(job.position, f"`{job.uses}` calls itself: {' → '.join(chain)}")])
        if len(chain) >= CALL_DEPTH_MAX:
            raise InvalidInput(
                [_problem(job.position, f"more than {CALL_DEPTH_MAX} levels of reusable workflows")]
            )
        if job.uses not in sources:
            local = job.uses.startswith("./")
            sources[job.uses] = tree.read(job.uses.removeprefix("./")) if local else remote(job.uses)
        called = parse_workflow(sources[job.uses], job.uses.removeprefix("./"))
        _collect_calls(called, tree, remote, sources, (*chain, job.uses))


def _problem(position: Position, message: str) -> Problem:
    return Problem(position=position, message=message, rule="reusable-workflow")
