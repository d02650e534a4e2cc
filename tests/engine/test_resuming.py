"""Taking a failed job up: what a corrected workflow may change, and what the next attempt is told."""

from __future__ import annotations

import pytest

from akashic.engine.commands import StartJob
from akashic.engine.decide import decide
from akashic.engine.events import (
    JobExpanded,
    JobFinished,
    JobInstance,
    JobStarted,
    RunEvent,
    RunFinished,
    RunResumed,
)
from akashic.engine.requests import JobResult, Resumption
from akashic.engine.resuming import check_sources
from akashic.engine.runstate import RunState
from akashic.engine.state import apply, fold
from akashic.errors import UsageError
from tests.engine.scenario import PATH, Scenario, created

TEXT = """
on: push
env: {A: b}
jobs:
  build:
    runs-on: ubuntu-latest
    env: {position: here}
    steps:
      - run: one
      - run: two
      - run: three
  after:
    needs: build
    runs-on: ubuntu-latest
    steps: [{run: later}]
"""
AT_TWO = {"build": Resumption(attempt=1, first_step=1)}


def failed() -> RunState:
    events: list[RunEvent] = [
        created(TEXT),
        JobExpanded(job="build", instances=(JobInstance(key="build", name="build"),)),
        JobStarted(key="build", attempt=1, idempotency_key="k", executor="host"),
        JobFinished(key="build", attempt=1, result=JobResult(conclusion="failure")),
        RunFinished(conclusion="failure"),
    ]
    return fold((event, float(at)) for at, event in enumerate(events))


def started(state: RunState) -> StartJob:
    while True:
        for command in decide(state, 100.0):
            if isinstance(command, StartJob):
                return command
            apply(state, command.event, 100.0)  # type: ignore[attr-defined]


def test_the_next_attempt_is_told_where_to_begin_and_only_the_next() -> None:
    state = apply(failed(), RunResumed(by="me", jobs=("build",), resumptions=AT_TWO), 9.0)
    request = started(state).request
    assert (request.attempt, request.resumption) == (2, AT_TWO["build"])
    apply(state, JobStarted(key="build", attempt=2, idempotency_key="k2", executor="host"), 10.0)
    assert state.resumptions_due == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("run: two", "run: second"),
        ("- run: three", "- run: three\n      - run: four"),
        ("on: push", "name: other\n# a line more\non: push"),
        ("run: later", "run: sooner"),
    ],
)
def test_what_has_not_run_may_change_and_does(old: str, new: str) -> None:
    state = failed()
    sources = {PATH: TEXT.replace(old, new)}
    check_sources(state, sources, AT_TWO)
    event = RunResumed(by="me", jobs=("build",), resumptions=AT_TWO, sources=sources, workflow_sha256="new")
    state = apply(state, event, 9.0)
    assert state.created.sources == sources and state.created.workflow_sha256 == "new"
    scripts = [step.run.value for step in started(state).request.job.steps if step.run is not None]
    assert scripts[0] == "one" and len(scripts) == sources[PATH].count("- run:")
    assert scripts[1] == ("second" if new == "run: second" else "two")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("run: one", "run: 1", "step 1 of job build"),
        ("A: b", "A: c", "`env` of"),
        ("position: here", "position: there", "`env` of job build"),
        ("needs: build", "needs: []", "`needs` of job after"),
        ("  after:", "  before:", "the jobs of"),
        ("      - run: two\n      - run: three\n", "", "has no step 2 any more"),
        ("ubuntu-latest\n    env", "ubuntu-22.04\n    env", "`runs-on` of job build"),
    ],
)
def test_what_has_shaped_the_past_may_not_change(old: str, new: str, what: str) -> None:
    assert old in TEXT
    with pytest.raises(UsageError, match=what):
        check_sources(failed(), {PATH: TEXT.replace(old, new)}, AT_TWO)


def test_a_history_with_a_broken_text_still_folds() -> None:
    event = RunResumed(by="me", jobs=("build",), resumptions=AT_TWO, sources={PATH: "jobs: ["})
    state = apply(failed(), event, 9.0)
    assert started(state).request.job.steps[1].run is not None


def test_a_run_without_changes_ends_as_ever() -> None:
    assert Scenario(workflow=TEXT).run().conclusion == "success"
