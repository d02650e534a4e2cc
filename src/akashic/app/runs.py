"""Runs: which workflows an event triggers, the record that begins a run, and the driver that moves it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from akashic.app.application import Application
from akashic.app.github_event import (
    build_payload,
    complete_payload,
    event_ref,
    github_context,
    is_from_fork,
)
from akashic.app.identity import new_run_id
from akashic.app.repository import Repository, changed_files
from akashic.app.workflows import LoadedWorkflow, RemoteReader, WorkflowTree, load, select_paths
from akashic.engine.codec import encode
from akashic.engine.events import JobFilter, RunCreated
from akashic.errors import AkashicError, UsageError
from akashic.journal.protocol import Conflict, NewRecord

if TYPE_CHECKING:
    from akashic.workflow.triggers import TriggerEvent

RUNS_COUNTER = "counter/runs"
ID_ATTEMPTS_MAX = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asks for with `akashic run`, `plan` or `up`.

    `event_name` "" means push, or the only event that the workflows know. `payload` is what the user gave;
    the rest is made up from git. `from_commit` takes the workflow files and the tree from the commit, not
    from the working tree. `branch` stands in for the one that is checked out."""

    event_name: str = ""
    payload: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    vars: Mapping[str, str] = field(default_factory=dict)
    workflows: Sequence[str] = ()
    filter: JobFilter = field(default_factory=JobFilter)
    actor: str = ""
    branch: str = ""
    from_commit: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    jobs_max: int = 0
    executor: str = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class Triggered:
    """A workflow that the event triggers, ready to become a run."""

    loaded: LoadedWorkflow
    event_name: str
    payload: dict[str, Any]
    inputs: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The workflows that an event triggers, and for each other one why not."""

    event_name: str
    triggered: tuple[Triggered, ...]
    passed_over: tuple[tuple[str, str], ...]
    repository: Repository


def select(application: Application, request: Request, *, cwd: Path, remote: RemoteReader) -> Selection:
    """Read the workflow files and match them with the event. Raises UsageError (InvalidInput with every
    problem of the first broken file) and changes nothing."""
    from akashic.workflow.triggers import match

    repository = _with_branch(application.repository, request.branch)
    tree = WorkflowTree(repository, from_commit=request.from_commit)
    paths = select_paths(tree, request.workflows, application.root, cwd)
    if not paths:
        raise UsageError(
            f"{application.root}: no workflow files",
            hint="workflows are .yml or .yaml files in .github/workflows",
        )
    loaded = [load(tree, path, remote) for path in paths]
    event_name = request.event_name or _only_event(loaded)
    actor = request.actor or application.user
    made = build_payload(event_name, repository, actor, request.inputs)
    payload = complete_payload(event_name, made, request.payload)
    event = _event(event_name, payload, repository, request, _has_path_filters(loaded))
    triggered: list[Triggered] = []
    passed_over: list[tuple[str, str]] = []
    for item in loaded:
        found = match(item.workflow, event)
        if found.matched:
            if event_name == "workflow_dispatch":
                payload = payload | {"inputs": found.inputs, "workflow": item.workflow.path}
            triggered.append(
                Triggered(loaded=item, event_name=event_name, payload=payload, inputs=found.inputs)
            )
        else:
            passed_over.append((item.workflow.path, found.reason))
    return Selection(
        event_name=event_name,
        triggered=tuple(triggered),
        passed_over=tuple(passed_over),
        repository=repository,
    )


def create(application: Application, request: Request, selection: Selection, triggered: Triggered) -> str:
    """Append a run's first record; returns its id."""
    journal, clock = application.journal, application.clock
    workflow = triggered.loaded.workflow
    path = workflow.path
    config = application.config
    number = _count(application, f"counter/{path}")
    sequence = _count(application, RUNS_COUNTER)
    actor = request.actor or application.user
    trust = "fork" if is_from_fork(triggered.event_name, triggered.payload) else "trusted"
    for _ in range(ID_ATTEMPTS_MAX):
        run_id = new_run_id(clock.now())
        created = RunCreated(
            run_id=run_id,
            number=number,
            sequence=sequence,
            repository=selection.repository.name,
            repository_root=str(application.root),
            commit=selection.repository.commit,
            dirty=selection.repository.dirty and not request.from_commit,
            workflow_path=path,
            workflow_sha256=workflow_digest(triggered.loaded),
            sources=triggered.loaded.sources,
            event_name=triggered.event_name,
            actor=actor,
            trust=trust,  # type: ignore[arg-type]
            github=github_context(
                event_name=triggered.event_name,
                payload=triggered.payload,
                repository=selection.repository,
                actor=actor,
                run_id=run_id,
                run_number=number,
                workflow_name=workflow.title,
                workflow_path=path,
            ),
            inputs=dict(triggered.inputs),
            vars={**config.vars, **request.vars},
            environment_vars={name: dict(env.vars) for name, env in config.environments.items() if env.vars},
            filter=request.filter,
            executor=request.executor,
            options=dict(request.options),
            jobs_max=request.jobs_max,
        )
        try:
            journal.append(f"run/{run_id}", [encode(created)], at=clock.now(), expected_version=0)
        except Conflict:
            continue
        return run_id
    raise AkashicError("could not find a free run id")


def workflow_digest(loaded: LoadedWorkflow) -> str:
    """SHA-256 over the workflow and all that it calls: what an approval of a run is bound to."""
    digest = hashlib.sha256()
    for name, text in sorted(loaded.sources.items()):
        for part in (name, text):
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()


def no_remote(reference: str) -> str:
    """A RemoteReader for where nothing is fetched."""
    raise AkashicError(
        f"{reference}: a reusable workflow of another repository is needed",
        hint="name a local copy with --local-repository owner/repo@ref=PATH",
    )


def find_run(application: Application, word: str) -> str:
    """A run's id from what people type: an id, a run's number in this repository, or "" for the newest.

    Raises UsageError when there is none."""
    streams = application.journal.streams("run/", newest_first=True, streams_max=1_000_000)
    ids = [stream.removeprefix("run/") for stream in streams]
    if not word or word in ("last", "latest"):
        if ids:
            return ids[0]
        raise UsageError("there is no run yet", hint="akashic run starts one")
    if word in ids:
        return word
    if word.lstrip("#").isdigit():
        found = _by_sequence(application, ids, int(word.lstrip("#")))
        if found:
            return found
    raise UsageError(f"there is no run {word}", hint="akashic runs lists them")


def _by_sequence(application: Application, ids: Sequence[str], sequence: int) -> str:
    from akashic.engine.codec import decode

    # Newest first, and numbers only fall: what people ask for is nearly always among the last few.
    for run_id in ids:
        first = application.journal.read(f"run/{run_id}")[0]
        created = decode(first)
        if isinstance(created, RunCreated) and created.sequence == sequence:
            return run_id
    return ""


def _with_branch(repository: Repository, branch: str) -> Repository:
    from dataclasses import replace

    return replace(repository, branch=branch, tag="") if branch else repository


def _count(application: Application, stream: str) -> int:
    """The next number of a counter: the version that an append to its stream gets."""
    records = application.journal.append(
        stream, [NewRecord("Counted", b"{}")], at=application.clock.now(), expected_version=None
    )
    return records[0].version


def _only_event(loaded: Sequence[LoadedWorkflow]) -> str:
    """The event when the user named none: push where a workflow has it, else the only one there is."""
    events = {trigger.event for item in loaded for trigger in item.workflow.triggers} - {"workflow_call"}
    if "push" in events or not events:
        return "push"
    if len(events) == 1:
        return next(iter(events))
    names = ", ".join(sorted(events))
    raise UsageError(
        "no workflow is triggered by push: which event is meant?", hint=f"akashic run EVENT, of: {names}"
    )


def _event(
    event_name: str, payload: Mapping[str, Any], repository: Repository, request: Request, with_paths: bool
) -> TriggerEvent:
    from akashic.workflow.triggers import TriggerEvent

    pull_request = payload.get("pull_request")
    base = pull_request.get("base", {}) if isinstance(pull_request, Mapping) else {}
    return TriggerEvent(
        name=event_name,
        action=str(payload.get("action") or ""),
        ref=event_ref(event_name, payload, repository),
        base_ref=f"refs/heads/{base['ref']}" if base.get("ref") else "",
        changed_files=changed_files(repository) if with_paths else None,
        inputs=dict(request.inputs),
        cron=str(payload.get("schedule") or ""),
        deleted=bool(payload.get("deleted")),
    )


def _has_path_filters(loaded: Sequence[LoadedWorkflow]) -> bool:
    return any(
        trigger.filters.paths is not None or trigger.filters.paths_ignore is not None
        for item in loaded
        for trigger in item.workflow.triggers
    )
