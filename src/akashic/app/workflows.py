"""Workflow files: found in the working tree or in the commit, with every reusable workflow that they call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import msgspec

from akashic.app.repository import Repository
from akashic.engine.agenda import jobs_wanted
from akashic.errors import AkashicError, UsageError
from akashic.git import git_output
from akashic.source.position import InvalidInput, Position, Problem
from akashic.workflow.model import Workflow
from akashic.workflow.parse import parse_workflow

FOLDER = ".github/workflows"
CALL_DEPTH_MAX = 10
"""GitHub: a top-level caller and up to nine levels of reusable workflows."""

FILE_BYTES_MAX = 8 * 1024 * 1024
"""Far above what any parser of workflows takes."""

RemoteReader = Callable[[str], str]
"""`owner/repo/.github/workflows/file.yml@ref` to the file's text; raises AkashicError when it has none."""


class LoadedWorkflow(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow and the texts that a run of it depends on, itself (by path) and its calls (by `uses:`)."""

    workflow: Workflow
    sources: dict[str, str]


class WorkflowTree:
    """The files of a repository's tree below `root`: as they are on disk, or as the commit has them; only
    then `repository` is asked for."""

    def __init__(
        self,
        root: Path,
        repository: Callable[[], Repository],
        *,
        from_commit: bool,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._root = root
        self._repository = repository
        self._from_commit = from_commit
        self._environ = environ

    def names(self, in_folder: str = FOLDER) -> list[str]:
        """Paths of all workflow files of a folder, relative to the root, in order."""
        if self._from_commit:
            listing = self._git("ls-tree", "-z", "--name-only", self._commit_path(in_folder)) or b""
            names = [name for name in listing.decode("utf-8", "surrogateescape").split("\0") if name]
        else:
            folder = self._root / in_folder
            # Only files: reading a pipe or a device would never end.
            names = [one.name for one in folder.iterdir() if one.is_file()] if folder.is_dir() else []
        return sorted(f"{in_folder}/{name}" for name in names if name.endswith((".yml", ".yaml")))

    def read(self, path: str) -> str:
        """A file's text. Raises UsageError when there is none in the tree or it is not UTF-8."""
        content = self._from_git(path) if self._from_commit else self._from_disk(path)
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise UsageError(f"{path}: not valid UTF-8 at byte {error.start}") from None

    def _from_git(self, path: str) -> bytes:
        content = self._git("cat-file", "blob", self._commit_path(path))
        if content is None:
            raise UsageError(f"{path}: no such file in commit {self._repository().commit[:7]}")
        return content

    def _from_disk(self, path: str) -> bytes:
        file = (self._root / path).resolve()
        if not file.is_relative_to(self._root.resolve()):
            raise UsageError(f"{path}: leads out of the repository, to {file}")
        if not file.is_file():
            raise UsageError(f"{path}: no such file in the repository")
        try:
            with file.open("rb") as stream:
                content = stream.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
        if len(content) > FILE_BYTES_MAX:
            raise UsageError(f"{path}: larger than {FILE_BYTES_MAX} bytes")
        return content

    def _commit_path(self, path: str) -> str:
        repository = self._repository()
        prefix = f"{repository.prefix}/" if repository.prefix else ""
        return f"{repository.commit}:{prefix}{path}"

    def _git(self, *argv: str) -> bytes | None:
        return git_output(self._repository().top, self._environ, *argv)


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
        if not fits and relative not in ("", "."):
            # As with act: a folder that GitHub would not look into may be named.
            fits = tree.names(relative)
        if not fits:
            known = ", ".join(Path(name).name for name in names) or "none"
            raise UsageError(f"{want}: no such workflow", hint=f"workflows here: {known}")
        chosen += [name for name in fits if name not in chosen]
    return chosen or ([] if list(wanted) else names)


def load(tree: WorkflowTree, path: str, remote: RemoteReader) -> LoadedWorkflow:
    """Parse a workflow and everything it calls. Raises InvalidInput with all problems of the first file that
    has any."""
    return with_calls(load_alone(tree, path), tree, remote)


def load_alone(tree: WorkflowTree, path: str) -> LoadedWorkflow:
    """Parse a workflow without what it calls. Raises InvalidInput with all its problems."""
    text = tree.read(path)
    return LoadedWorkflow(workflow=parse_workflow(text, path), sources={path: text})


def with_calls(
    loaded: LoadedWorkflow,
    tree: WorkflowTree,
    remote: RemoteReader,
    jobs: Iterable[str] = (),
    unread: Callable[[str], None] | None = None,
) -> LoadedWorkflow:
    """The workflow with everything that it calls; with `jobs` only what they and their needs call. Raises
    InvalidInput with all problems of the first file that has any; with `unread`, what another repository's
    workflow cannot be read for is told there instead."""
    workflow = loaded.workflow
    calls = _Calls(tree=tree, remote=remote, sources=dict(loaded.sources), unread=unread)
    calls.levels_below(workflow, "", (f"./{workflow.path}",), jobs_wanted(workflow, jobs))
    return LoadedWorkflow(workflow=workflow, sources=calls.sources)


class _Calls(msgspec.Struct, kw_only=True):
    """The reusable workflows that a workflow calls, directly or not; each is read and parsed once."""

    tree: WorkflowTree
    remote: RemoteReader
    sources: dict[str, str]
    unread: Callable[[str], None] | None
    levels: dict[str, int] = msgspec.field(default_factory=dict)

    def levels_below(
        self, workflow: Workflow, source: str, chain: tuple[str, ...], jobs: Iterable[str] | None = None
    ) -> int:
        """How many levels of calls stand below a workflow (below `jobs` of it). `source` is its reference, ""
        for one of this repository."""
        deepest = 0
        for job in workflow.jobs.values() if jobs is None else (workflow.jobs[name] for name in jobs):
            if not job.uses:
                continue
            reference = reference_of(source, job.uses)
            if reference in chain:
                steps = " → ".join((*chain[chain.index(reference) :], reference))
                raise InvalidInput([_problem(job.position, f"the workflow calls itself: {steps}")])
            if reference not in self.levels and len(chain) < CALL_DEPTH_MAX:
                called = self._parse(reference, job.uses, job.position)
                inner = reference if not reference.startswith("./") else ""
                below = self.levels_below(called, inner, (*chain, reference)) if called is not None else 0
                self.levels[reference] = below
            below = 1 + self.levels.get(reference, 0)
            if len(chain) + below > CALL_DEPTH_MAX:
                message = f"more than {CALL_DEPTH_MAX} levels of reusable workflows"
                raise InvalidInput([_problem(job.position, message)])
            deepest = max(deepest, below)
        return deepest

    def _parse(self, reference: str, uses: str, position: Position) -> Workflow | None:
        try:
            text = (
                self.tree.read(reference.removeprefix("./"))
                if reference.startswith("./")
                else self.remote(reference)
            )
        except AkashicError as error:
            # Messages of a reader begin with the reference already.
            reason = error.message.removeprefix(f"{uses}: ")
            if self.unread is not None and not reference.startswith("./"):
                self.unread(f"note: {position}: `{uses}` is not looked into: {reason}")
                return None
            raise InvalidInput([_problem(position, f"cannot call `{uses}`: {reason}", error.hint)]) from None
        self.sources[reference] = text
        return parse_workflow(text, reference.removeprefix("./"))


def reference_of(source: str, uses: str) -> str:
    """A call's full reference: a local path inside a workflow of another repository means that repository, at
    the same ref."""
    if not source or not uses.startswith("./"):
        return uses
    place, _, ref = source.partition("@")
    return f"{'/'.join(place.split('/')[:2])}/{uses.removeprefix('./')}@{ref}"


def _problem(position: Position, message: str, hint: str = "") -> Problem:
    return Problem(position=position, message=message, rule="reusable-workflow", hint=hint)
