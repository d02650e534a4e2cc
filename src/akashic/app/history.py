"""Past and present runs: their states, and what can be asked of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from akashic.app.application import Application
from akashic.app.driving import executor_of
from akashic.app.runs import workflow_digest
from akashic.app.workflows import RemoteReader, WorkflowTree, load_alone, with_calls
from akashic.driver.locks import FileRunLocks
from akashic.engine.codec import decode, encode, run_stream
from akashic.engine.events import CancelRequested, RunEvent, RunResumed
from akashic.engine.requests import Resumption
from akashic.engine.rerun import all_jobs, failed_jobs
from akashic.engine.resuming import check_sources
from akashic.engine.runstate import RunState
from akashic.engine.state import NoRun, apply
from akashic.errors import UsageError
from akashic.executors.protocol import KeepingExecutor
from akashic.runner.keeping import first_step_of


def load_state(application: Application, run_id: str) -> RunState:
    """A run's state now. Raises NoRun."""
    state: RunState | None = None
    for record in application.journal.read(run_stream(run_id)):
        state = apply(state, decode(record), record.at)
    if state is None:
        raise NoRun(f"there is no run {run_id}", hint="akashic runs lists them")
    return state


def newest_states(application: Application, runs_max: int) -> Iterator[RunState]:
    """States of the newest runs, newest first."""
    for stream in application.journal.streams("run/", newest_first=True, streams_max=runs_max):
        yield load_state(application, stream.removeprefix("run/"))


def is_driven(application: Application, run_id: str) -> bool:
    """Whether a living process drives the run."""
    return FileRunLocks(Path(application.state_dir) / "locks").is_driven(run_id)


def abandoned_runs(application: Application, runs_max: int = 200) -> list[str]:
    """Runs that have not ended and that no process drives, oldest first: their driver was killed."""
    found = [
        state.run_id
        for state in newest_states(application, runs_max)
        if not state.finished and not is_driven(application, state.run_id)
    ]
    return found[::-1]


def request_cancel(application: Application, run_id: str, *, reason: str, force: bool) -> bool:
    """Ask a run to end; false when it has ended already. A run that nobody drives is ended by `resume`."""
    if load_state(application, run_id).finished:
        return False
    _append(application, run_id, CancelRequested(by=application.user, reason=reason, force=force))
    return True


def request_rerun(application: Application, run_id: str, *, failed: bool, jobs: Sequence[str]) -> None:
    """Make jobs of an ended run due again: those named, the failed ones, or all; `drive` then runs them.

    Raises UsageError when the run has not ended, a job is unknown, or nothing failed.
    """
    state = load_state(application, run_id)
    if not state.finished:
        raise UsageError(
            f"run {state.created.sequence} has not ended yet",
            hint=f"akashic resume {state.created.sequence} takes it on, akashic cancel ends it",
        )
    asked = [_job_named(state, job) for job in jobs]
    names = tuple(asked) or (failed_jobs(state) if failed else all_jobs(state))
    if not names:
        raise UsageError(f"no job of run {state.created.sequence} failed: there is nothing to run again")
    _append(application, run_id, RunResumed(by=application.user, jobs=names))


def _job_named(state: RunState, job: str) -> str:
    """The path or key of a job from what people type: either of them, or the name that is shown. Raises
    UsageError."""
    if job in state.jobs or job in state.instances:
        return job
    for instance in state.instances.values():
        if instance.name == job:
            return instance.key
    known = [path for path in state.jobs if len(state.jobs[path].instances) < 2]
    known += [one.name for one in state.instances.values() if one.key != one.path]
    raise UsageError(
        f"run {state.created.sequence} has no job {job}", hint=f"its jobs: {', '.join(known) or 'none'}"
    )


def resumable(application: Application, state: RunState) -> dict[str, Resumption]:
    """The failed job instances of an ended run whose workspace is kept, and where each can be taken up."""
    executor = executor_of(application, state.created)
    found = {}
    if state.finished and isinstance(executor, KeepingExecutor):
        for key in failed_jobs(state):
            instance = state.instances.get(key)
            kept = executor.kept_state(state.run_id, key, instance.attempt) if instance is not None else None
            if instance is not None and kept is not None:
                found[key] = Resumption(attempt=instance.attempt, first_step=first_step_of(kept))
    return found


def request_resumption(application: Application, run_id: str, remote: RemoteReader) -> None:
    """Make the failed jobs of an ended run due again, each at the step that failed where its workspace is
    kept, with the workflow files as they are now.

    Raises UsageError when no workspace is kept, or when the files changed in what has run already.
    """
    state = load_state(application, run_id)
    number = state.created.sequence
    resumptions = resumable(application, state)
    if not resumptions:
        raise UsageError(
            f"run {number} cannot be taken up where it failed: none of its workspaces is kept",
            hint=f"akashic rerun {number} --failed runs the failed jobs from their beginning",
        )
    tree = WorkflowTree(
        application.root, lambda: application.repository, from_commit=False, environ=application.environ
    )
    alone = load_alone(tree, state.created.workflow_path)
    loaded = with_calls(alone, tree, remote, state.created.filter.jobs)
    changed = loaded.sources != state.created.sources
    if changed:
        check_sources(state, loaded.sources, resumptions)
    event = RunResumed(
        by=application.user,
        jobs=failed_jobs(state),
        resumptions=resumptions,
        sources=loaded.sources if changed else {},
        workflow_sha256=workflow_digest(loaded) if changed else "",
    )
    _append(application, run_id, event)


def _append(application: Application, run_id: str, event: RunEvent) -> None:
    application.journal.append(
        run_stream(run_id), [encode(event)], at=application.clock.now(), expected_version=None
    )
