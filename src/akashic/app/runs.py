"""The records that runs begin with: made, counted, found again."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from akashic.app.application import Application
from akashic.app.github_event import github_context, is_from_fork
from akashic.app.identity import new_run_id
from akashic.app.selection import Request, Selection, Triggered
from akashic.app.workflows import LoadedWorkflow
from akashic.engine.codec import decode, encode
from akashic.engine.events import RunCreated
from akashic.errors import AkashicError, UsageError
from akashic.journal.protocol import Conflict, NewRecord

RUNS_COUNTER = "counter/runs"
ID_ATTEMPTS_MAX = 20
NUMBER_DIGITS_MAX = 15


def create(application: Application, request: Request, selection: Selection, triggered: Triggered) -> str:
    """Append a run's first record; returns its id. Nothing has happened yet that a loss of power could leave
    half done, so the record becomes durable with the first that says that something has begun."""
    journal, clock = application.journal, application.clock
    number = _count(application, f"counter/{triggered.loaded.workflow.path}")
    sequence = _count(application, RUNS_COUNTER)
    for _ in range(ID_ATTEMPTS_MAX):
        run_id = new_run_id(clock.now())
        created = first_record(
            application, request, selection, triggered, run_id=run_id, number=number, sequence=sequence
        )
        try:
            journal.append(
                f"run/{run_id}", [encode(created)], at=clock.now(), expected_version=0, durable=False
            )
        except Conflict:
            continue
        return run_id
    raise AkashicError("could not find a free run id")


def first_record(
    application: Application,
    request: Request,
    selection: Selection,
    triggered: Triggered,
    *,
    run_id: str,
    number: int,
    sequence: int,
) -> RunCreated:
    """What a run begins with. `number` counts its workflow's runs, `sequence` the repository's."""
    workflow = triggered.loaded.workflow
    settings = application.run_settings
    actor = request.actor or application.user
    trust = "fork" if is_from_fork(triggered.event_name, triggered.payload) else "trusted"
    return RunCreated(
        run_id=run_id,
        number=number,
        sequence=sequence,
        repository=selection.repository.name,
        repository_root=str(application.root),
        commit=selection.repository.commit,
        dirty=selection.repository.dirty and not request.from_commit,
        workflow_path=workflow.path,
        workflow_sha256=workflow_digest(triggered.loaded),
        sources=triggered.loaded.sources,
        event_name=triggered.event_name,
        actor=actor,
        started_by=application.user,
        trust=trust,  # type: ignore[arg-type]
        github=github_context(
            event_name=triggered.event_name,
            payload=triggered.payload,
            repository=selection.repository,
            actor=actor,
            run_id=run_id,
            run_number=number,
            workflow_name=workflow.title,
            workflow_path=workflow.path,
        ),
        inputs=dict(triggered.inputs),
        vars={**settings.vars, **request.vars},
        environment_vars=settings.environment_vars,
        filter=request.filter,
        executor=request.executor,
        options=dict(request.options),
        jobs_max=request.jobs_max,
    )


def workflow_digest(loaded: LoadedWorkflow) -> str:
    """SHA-256 over the workflow and all that it calls: what an approval of a run is bound to."""
    digest = hashlib.sha256()
    for name, text in sorted(loaded.sources.items()):
        for part in (name, text):
            encoded = part.encode()
            digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()


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
    number = word.removeprefix("#")
    if number.isdecimal() and len(number) <= NUMBER_DIGITS_MAX:
        found = _by_sequence(application, ids, int(number))
        if found:
            return found
    raise UsageError(f"there is no run {word}", hint="akashic runs lists them")


def number_of(application: Application, run_id: str) -> int:
    """A run's number in this repository; 0 when there is no such run."""
    records = application.journal.read(f"run/{run_id}")
    created = decode(records[0]) if records else None
    return created.sequence if isinstance(created, RunCreated) else 0


def _by_sequence(application: Application, ids: Sequence[str], wanted: int) -> str:
    """The run with a number. Numbers fall along the list without gaps, but for runs that were begun at the
    same moment: look where it should stand, then around it."""

    def number_at(index: int) -> int:
        return number_of(application, ids[index])

    if not ids or not 0 < wanted <= number_at(0) + len(ids):
        return ""
    expected = min(max(number_at(0) - wanted, 0), len(ids) - 1)
    for index in sorted(range(len(ids)), key=lambda index: abs(index - expected)):
        if number_at(index) == wanted:
            return ids[index]
    return ""


def _count(application: Application, stream: str) -> int:
    """The next number of a counter: the version that an append to its stream gets. Durable with the run that
    bears it, whose records follow."""
    records = application.journal.append(
        stream,
        [NewRecord("Counted", b"{}")],
        at=application.clock.now(),
        expected_version=None,
        durable=False,
    )
    return records[0].version
