"""Which workflows an event triggers: a request, the workflow files it is about, the event made up for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from akashic.app.application import Application
from akashic.app.github_event import build_payload, complete_payload, event_ref, value_at
from akashic.app.repository import Repository, changed_files
from akashic.app.workflows import (
    LoadedWorkflow,
    RemoteReader,
    WorkflowTree,
    load,
    load_alone,
    select_paths,
    with_calls,
)
from akashic.engine.events import JobFilter
from akashic.errors import AkashicError, UsageError

if TYPE_CHECKING:
    from akashic.workflow.triggers import TriggerEvent


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asks for with `akashic run`, `plan` or `up`.

    `event_name` "" means push, or the only event that the workflows know. `payload` is what the user gave;
    the rest is made up from git. `from_commit` takes the workflow files and the tree from the commit, not
    from the working tree. `branch` stands in for the one that is checked out."""

    event_name: str = ""
    payload: Mapping[str, Any] = msgspec.field(default_factory=dict)
    inputs: Mapping[str, str] = msgspec.field(default_factory=dict)
    vars: Mapping[str, str] = msgspec.field(default_factory=dict)
    workflows: Sequence[str] = ()
    filter: JobFilter = msgspec.field(default_factory=JobFilter)
    actor: str = ""
    branch: str = ""
    tag: str = ""
    """Stands in for the branch: as if this tag were pushed."""
    default_branch: str = ""
    """Stands in for the one that git knows of."""
    first_event: bool = False
    """Whether the event that stands first in the first workflow is meant, when none is named."""
    from_commit: bool = False
    options: Mapping[str, Any] = msgspec.field(default_factory=dict)
    jobs_max: int = 0
    executor: str = "host"
    changed: tuple[str, ...] | None = None
    """Paths that stand in for what git says has changed; None: ask git."""
    ignore_paths: bool = False
    """Whether path filters hold whatever has changed."""


class Triggered(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow that the event triggers, ready to become a run."""

    loaded: LoadedWorkflow
    event_name: str
    payload: dict[str, Any]
    inputs: dict[str, Any]


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The workflows that an event triggers, and for each other one why not."""

    event_name: str
    triggered: tuple[Triggered, ...]
    passed_over: tuple[tuple[str, str], ...]
    repository: Repository
    loaded: tuple[LoadedWorkflow, ...] = ()
    """All that were looked at."""


def select(
    application: Application,
    request: Request,
    *,
    cwd: Path,
    remote: RemoteReader,
    unread: Callable[[str], None] | None = None,
) -> Selection:
    """Read the workflow files and match them with the event; what they call is read for those that it
    triggers. Raises UsageError (InvalidInput with every problem of the first broken file) and changes
    nothing. `unread`: see `with_calls`."""
    from akashic.source.data import did_you_mean
    from akashic.workflow.events import EVENTS
    from akashic.workflow.triggers import match

    if request.event_name and request.event_name not in EVENTS:
        hint = did_you_mean(request.event_name, EVENTS) or "https://docs.github.com/actions lists the events"
        raise UsageError(f"there is no event `{request.event_name}`", hint=hint)
    application.look_at_repository()
    tree = _tree(application, request)
    everything = [load_alone(tree, path) for path in _paths(application, request, tree, cwd)]
    repository = _with_branches(application.repository, request)
    loaded, without_job = _with_jobs(everything, request.filter.jobs)
    _check_matrix(loaded, request.filter.matrix)
    event_name = request.event_name or (
        _first_event(loaded) if request.first_event else only_event(loaded, chosen=bool(request.workflows))
    )
    actor = request.actor or application.user
    made = build_payload(event_name, repository, actor, request.inputs)
    payload = complete_payload(made, request.payload)
    event = _event(event_name, payload, repository, request, loaded)
    triggered: list[Triggered] = []
    passed_over = [
        (item.workflow.path, "it has none of the jobs that were asked for") for item in without_job
    ]
    for item in loaded:
        found = match(item.workflow, event)
        if found.matched:
            own = payload
            if event_name == "workflow_dispatch":
                own = payload | {"inputs": _as_sent(found.inputs), "workflow": item.workflow.path}
            elif event_name == "schedule" and not payload.get("schedule"):
                own = payload | {"schedule": _first_schedule(item)}
            whole = with_calls(item, tree, remote, request.filter.jobs, unread)
            triggered.append(Triggered(loaded=whole, event_name=event_name, payload=own, inputs=found.inputs))
        else:
            passed_over.append((item.workflow.path, found.reason))
    return Selection(
        event_name=event_name,
        triggered=tuple(triggered),
        passed_over=tuple(passed_over),
        repository=repository,
        loaded=(*loaded, *without_job),
    )


def load_workflows(
    application: Application, request: Request, *, cwd: Path, remote: RemoteReader
) -> list[LoadedWorkflow]:
    """The workflow files that a request is about, whatever triggers them, with what they call. Raises
    UsageError."""
    tree = _tree(application, request)
    return [load(tree, path, remote) for path in _paths(application, request, tree, cwd)]


def load_listed(application: Application, request: Request, *, cwd: Path) -> list[LoadedWorkflow]:
    """The same without what they call. Raises UsageError."""
    tree = _tree(application, request)
    return [load_alone(tree, path) for path in _paths(application, request, tree, cwd)]


def _tree(application: Application, request: Request) -> WorkflowTree:
    return WorkflowTree(
        application.root,
        lambda: application.repository,
        from_commit=request.from_commit,
        environ=application.environ,
    )


def _paths(application: Application, request: Request, tree: WorkflowTree, cwd: Path) -> list[str]:
    paths = select_paths(tree, request.workflows, application.root, cwd)
    if not paths:
        raise UsageError(
            f"{application.root}: no workflow files",
            hint="workflows are .yml or .yaml files in .github/workflows",
        )
    return paths


def no_remote(reference: str) -> str:
    """A RemoteReader for where nothing is fetched."""
    raise AkashicError(
        f"{reference}: a reusable workflow of another repository is needed",
        hint="name a local copy with --local-repository owner/repo@ref=PATH",
    )


def _with_branches(repository: Repository, request: Request) -> Repository:
    if request.branch:
        repository = replace(repository, branch=request.branch, tag="")
    if request.tag:
        repository = replace(repository, branch="", tag=request.tag)
    if request.default_branch:
        repository = replace(repository, default_branch=request.default_branch)
    return repository


def _first_event(loaded: Sequence[LoadedWorkflow]) -> str:
    events = (trigger.event for item in loaded for trigger in item.workflow.triggers)
    return next((event for event in events if event != "workflow_call"), "push")


def _check_matrix(loaded: Sequence[LoadedWorkflow], wanted: Mapping[str, Sequence[str]]) -> None:
    """A value of `--matrix` that no job has would run nothing and look like success. Raises UsageError."""
    if not wanted:
        return
    from akashic.app.matrix_values import matrix_values  # rare

    known = matrix_values([item.workflow for item in loaded])
    if known is None:
        return
    for name, values in wanted.items():
        if name not in known:
            hint = f"known: {', '.join(known)}" if known else "no job has a matrix"
            raise UsageError(f"--matrix {name}: no job has this in its matrix", hint=hint)
        for value in values:
            if value not in known[name]:
                raise UsageError(
                    f"--matrix {name}:{value}: no job has this value in its matrix",
                    hint=f"values of {name}: {', '.join(known[name])}",
                )


def only_event(loaded: Sequence[LoadedWorkflow], *, chosen: bool) -> str:
    """The event when the user named none: push where a workflow has it; else the only one there is; else, of
    workflows that the user chose by name or of a single one, a manual run. Raises UsageError when it is
    anyone's guess."""
    by_path = {
        item.workflow.path: [t.event for t in item.workflow.triggers if t.event != "workflow_call"]
        for item in loaded
    }
    events = {event for names in by_path.values() for event in names}
    if "push" in events or not events:
        return "push"
    if len(events) == 1:
        return next(iter(events))
    manual = [path for path, names in by_path.items() if "workflow_dispatch" in names]
    if manual and (chosen or len([names for names in by_path.values() if names]) == 1):
        return "workflow_dispatch"
    known = "; ".join(f"{path} runs on {', '.join(names)}" for path, names in by_path.items() if names)
    raise UsageError(
        f"no workflow is triggered by push, so name the event that is meant: {known}",
        hint=f"akashic run EVENT, for example: akashic run {min(events)}",
    )


def _first_schedule(item: LoadedWorkflow) -> str:
    """What `github.event.schedule` says when nobody told which schedule is meant."""
    crons = (cron for one in item.workflow.triggers if one.event == "schedule" for cron in one.crons)
    return next(crons, "")


def _as_sent(inputs: Mapping[str, Any]) -> dict[str, str]:
    """`github.event.inputs`: GitHub's "Workflow syntax" says that only the `inputs` context has Booleans."""
    from akashic.workflow.expressions.coercion import to_string

    return {name: to_string(value) for name, value in inputs.items()}


def _with_jobs(
    loaded: Sequence[LoadedWorkflow], jobs: Sequence[str]
) -> tuple[list[LoadedWorkflow], list[LoadedWorkflow]]:
    """The workflows that have one of the jobs that were asked for (all when none was), and the others."""
    known = [job for item in loaded for job in item.workflow.jobs]
    for job in jobs:
        if job not in known:
            from akashic.source.data import did_you_mean

            near = did_you_mean(job, known)
            raise UsageError(f"there is no job `{job}`", hint=near or f"jobs here: {', '.join(known)}")
    having = [item for item in loaded if not jobs or any(job in item.workflow.jobs for job in jobs)]
    return having, [item for item in loaded if item not in having]


def _event(
    event_name: str,
    payload: Mapping[str, Any],
    repository: Repository,
    request: Request,
    loaded: Sequence[LoadedWorkflow],
) -> TriggerEvent:
    from akashic.workflow.triggers import TriggerEvent

    base_ref, followed = (
        value_at(payload, "pull_request", "base", "ref"),
        value_at(payload, "workflow_run", "name"),
    )
    inputs = payload.get("inputs") if event_name == "workflow_dispatch" else None
    if inputs is not None and not isinstance(inputs, Mapping):
        raise UsageError("the event payload's `inputs` must be an object")
    changed = None if request.ignore_paths else request.changed
    if changed is None and not request.ignore_paths and _has_path_filters(loaded):
        changed = changed_files(
            repository, against_default=event_name in ("pull_request", "pull_request_target")
        )
    return TriggerEvent(
        name=event_name,
        action=str(payload.get("action") or ""),
        ref=event_ref(event_name, payload, repository),
        base_ref=f"refs/heads/{base_ref}" if base_ref else "",
        changed_files=changed,
        inputs={**(inputs or {}), **request.inputs},
        cron=str(payload.get("schedule") or ""),
        workflow=str(followed or ""),
        deleted=bool(payload.get("deleted")),
    )


def _has_path_filters(loaded: Sequence[LoadedWorkflow]) -> bool:
    return any(
        trigger.filters.paths is not None or trigger.filters.paths_ignore is not None
        for item in loaded
        for trigger in item.workflow.triggers
    )
