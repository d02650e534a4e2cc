"""Past and present runs: abandoned ones, cancelling, running again."""

from __future__ import annotations

from pathlib import Path

import pytest

from akashic.app.application import Application
from akashic.app.driving import DriveOptions, drive
from akashic.app.history import (
    abandoned_runs,
    is_driven,
    load_state,
    newest_states,
    request_cancel,
    request_rerun,
)
from akashic.app.runs import create
from akashic.app.selection import Request, no_remote, select
from akashic.cancellation import Cancellation
from akashic.driver.locks import FileRunLocks
from akashic.engine.events import RunCreated
from akashic.engine.runstate import RunState
from akashic.engine.state import NoRun
from akashic.engine.view import view_of
from akashic.errors import UsageError
from akashic.testing.jobs import RuledGates, Script, ScriptedJobs

FLOW = """
on: push
jobs:
  build: {runs-on: x, steps: [{run: echo}]}
  test: {needs: build, runs-on: x, steps: [{run: echo}]}
  lint: {runs-on: x, steps: [{run: echo}]}
"""


@pytest.fixture
def three_jobs(application: Application) -> Application:
    (application.root / ".github" / "workflows" / "ci.yml").write_text(FLOW)
    return application


def begin(application: Application) -> str:
    selection = select(application, Request(), cwd=application.root, remote=no_remote)
    return create(application, Request(), selection, selection.triggered[0])


def finish(application: Application, run_id: str, jobs: ScriptedJobs) -> RunState:
    from akashic.driver.runs import RunDriver

    driver = RunDriver(
        journal=application.journal,
        job_port=jobs,
        gate_port=RuledGates(),
        clock=application.clock,
        locks=FileRunLocks(Path(application.state_dir) / "locks"),
    )
    return driver.drive(run_id, Cancellation())


def test_a_run_that_nobody_drives_is_abandoned(application: Application) -> None:
    ended, first, second, driven = (begin(application) for _ in range(4))
    finish(application, ended, ScriptedJobs())
    lock = FileRunLocks(Path(application.state_dir) / "locks").acquire(driven)
    try:
        assert is_driven(application, driven)
        assert abandoned_runs(application) == [first, second]
    finally:
        lock.release()
    assert abandoned_runs(application) == [first, second, driven]


def test_the_newest_runs_come_first(application: Application) -> None:
    ids = [begin(application) for _ in range(3)]
    assert [state.run_id for state in newest_states(application, 2)] == ids[:0:-1]


def test_there_is_no_state_of_no_run(application: Application) -> None:
    with pytest.raises(NoRun, match="there is no run"):
        load_state(application, "123")


def test_a_cancelled_run_says_who_and_why(application: Application) -> None:
    run_id = begin(application)
    assert request_cancel(application, run_id, reason="a mistake", force=False)
    state = finish(application, run_id, ScriptedJobs())
    assert (state.conclusion, state.cancelled_by) == ("cancelled", application.user)
    assert state.cancel_reason == "a mistake"
    assert not request_cancel(application, run_id, reason="again", force=False)


def test_a_rerun_runs_everything_again_and_counts_its_own_time(three_jobs: Application) -> None:
    run_id = begin(three_jobs)
    first = finish(three_jobs, run_id, ScriptedJobs())
    request_rerun(three_jobs, run_id, failed=False, jobs=())
    begun = load_state(three_jobs, run_id)
    assert not begun.finished and begun.attempt == 2
    assert view_of(begun, begun.last_at + 5).duration_s == pytest.approx(5)
    jobs = ScriptedJobs()
    state = finish(three_jobs, run_id, jobs)
    assert [(one.key, one.attempt) for one in jobs.started] == [("build", 2), ("lint", 2), ("test", 2)]
    whole = state.finished_at - first.created_at
    assert view_of(state, state.finished_at).duration_s < whole


def test_a_rerun_of_what_failed_takes_along_what_needs_it(three_jobs: Application) -> None:
    run_id = begin(three_jobs)
    assert (
        finish(three_jobs, run_id, ScriptedJobs({"build": Script(conclusion="failure")})).conclusion
        == "failure"
    )
    request_rerun(three_jobs, run_id, failed=True, jobs=())
    jobs = ScriptedJobs()
    assert finish(three_jobs, run_id, jobs).conclusion == "success"
    assert [one.key for one in jobs.started] == ["build", "test"]


def test_one_job_can_run_again(three_jobs: Application) -> None:
    run_id = begin(three_jobs)
    finish(three_jobs, run_id, ScriptedJobs())
    request_rerun(three_jobs, run_id, failed=False, jobs=["lint"])
    jobs = ScriptedJobs()
    finish(three_jobs, run_id, jobs)
    assert [one.key for one in jobs.started] == ["lint"]


def test_what_cannot_run_again_is_refused(three_jobs: Application) -> None:
    run_id = begin(three_jobs)
    with pytest.raises(UsageError, match="has not ended yet"):
        request_rerun(three_jobs, run_id, failed=False, jobs=())
    finish(three_jobs, run_id, ScriptedJobs())
    with pytest.raises(UsageError, match="no job of run 1 failed"):
        request_rerun(three_jobs, run_id, failed=True, jobs=())
    with pytest.raises(UsageError, match="has no job deploy") as caught:
        request_rerun(three_jobs, run_id, failed=False, jobs=["deploy"])
    assert "build" in caught.value.hint


def test_a_broken_view_does_not_stop_a_run_and_a_gone_reader_is_no_error(application: Application) -> None:
    class Gone:
        def event(self, *_: object) -> None:
            raise BrokenPipeError

        job_ready = step_started = line = event

    run_id = begin(application)
    created = load_state(application, run_id).created
    assert isinstance(created, RunCreated)
    state = drive(application, created, DriveOptions(), [Gone()], Cancellation())
    assert state.conclusion == "success"
