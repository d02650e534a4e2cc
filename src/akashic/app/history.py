"""Past and present runs: their states, and what can be asked of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from akashic.app.application import Application
from akashic.driver.locks import FileRunLocks
from akashic.engine.codec import decode, encode, run_stream
from akashic.engine.events import CancelRequested, RunEvent, RunResumed
from akashic.engine.rerun import all_jobs, failed_jobs
from akashic.engine.runstate import RunState
from akashic.engine.state import NoRun, apply
from akashic.errors import UsageError


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
    for job in jobs:
        if job not in state.jobs and job not in state.instances:
            known = ", ".join(state.jobs)
            raise UsageError(f"run {state.created.sequence} has no job {job}", hint=f"its jobs: {known}")
    names = tuple(jobs) or (failed_jobs(state) if failed else all_jobs(state))
    if not names:
        raise UsageError(f"no job of run {state.created.sequence} failed: there is nothing to run again")
    _append(application, run_id, RunResumed(by=application.user, jobs=names))


def _append(application: Application, run_id: str, event: RunEvent) -> None:
    application.journal.append(
        run_stream(run_id), [encode(event)], at=application.clock.now(), expected_version=None
    )
