"""Nothing runs without the concurrency groups that it wants, however it came to be without them."""

from __future__ import annotations

from akashic.engine.commands import AcquireGroup, ReleaseGroup, StartJob
from akashic.engine.decide import decide
from akashic.engine.events import (
    ConcurrencyAcquired,
    ConcurrencyReleased,
    ConcurrencyWaiting,
    JobInterrupted,
    RunFinished,
    RunResumed,
)
from akashic.engine.requests import JobResult
from akashic.engine.rerun import failed_jobs
from akashic.testing.jobs import Script
from tests.engine.scenario import Scenario, cancel, created

CLEAN_UP = """
on: push
concurrency: production
jobs:
  clean:
    if: always()
    runs-on: x
    steps: [{run: echo}]
"""
CALLING = """
on: push
jobs:
  roll-out:
    concurrency: production
    uses: ./.github/workflows/called.yml
"""
CALLED = """
on: workflow_call
jobs:
  first: {runs-on: x, steps: [{run: echo}]}
  second: {needs: first, runs-on: x, steps: [{run: echo}]}
  clean: {needs: second, if: always(), runs-on: x, steps: [{run: echo}]}
"""
CALLS = {"./.github/workflows/called.yml": CALLED}


def starts(scenario: Scenario) -> list[str]:
    found = decide(scenario.state, scenario.now)
    return [command.request.key for command in found if isinstance(command, StartJob)]


def asked_for(scenario: Scenario) -> list[str]:
    found = decide(scenario.state, scenario.now)
    return [command.key for command in found if isinstance(command, AcquireGroup)]


def test_a_run_that_is_cancelled_while_it_waits_for_its_group_starts_nothing() -> None:
    scenario = Scenario(workflow=CLEAN_UP)
    scenario.state = scenario.append(None, created(CLEAN_UP))
    scenario.append(scenario.state, ConcurrencyWaiting(key="", group="production"))
    scenario.append(scenario.state, cancel())
    scenario.play()
    assert scenario.started == [] and scenario.state.conclusion == "cancelled"


def with_a_call_under_way() -> Scenario:
    """The call holds its group and its first job runs."""
    scenario = Scenario(workflow=CALLING, calls=CALLS)
    scenario.state = scenario.append(None, created(CALLING, calls=CALLS))
    while not (requests := [c for c in decide(scenario.state, scenario.now) if isinstance(c, StartJob)]):
        for command in decide(scenario.state, scenario.now):
            scenario.append(scenario.state, scenario.answer(command))
    scenario.start(requests[0].request)
    return scenario


def with_a_call_that_lost_its_group() -> Scenario:
    """Its driver died, and another run took the group."""
    scenario = with_a_call_under_way()
    scenario.append(scenario.state, JobInterrupted(key="roll-out/first", attempt=1, reason="died"))
    scenario.append(scenario.state, ConcurrencyReleased(key="roll-out", group="production"))
    return scenario


def test_a_call_that_lost_its_group_starts_nothing_until_it_holds_it_again() -> None:
    scenario = with_a_call_that_lost_its_group()
    assert starts(scenario) == [] and asked_for(scenario) == ["roll-out"]
    scenario.append(scenario.state, ConcurrencyWaiting(key="roll-out", group="production"))
    assert starts(scenario) == [] and asked_for(scenario) == ["roll-out"]
    scenario.append(scenario.state, ConcurrencyAcquired(key="roll-out", group="production"))
    assert starts(scenario) == ["roll-out/first"] and asked_for(scenario) == []
    assert scenario.play().conclusion == "success"


def test_a_call_that_lost_its_group_and_is_cancelled_starts_nothing() -> None:
    for event in (cancel(), cancel(key="roll-out")):
        scenario = with_a_call_that_lost_its_group()
        scenario.append(scenario.state, event)
        assert scenario.play().conclusion == "cancelled"
        assert [request.key for request in scenario.started] == ["roll-out/first"]


def test_jobs_of_a_call_that_run_again_wait_for_the_group_of_the_call() -> None:
    scenario = Scenario(workflow=CALLING, calls=CALLS, jobs={"roll-out/second": Script(conclusion="failure")})
    assert scenario.run().conclusion == "failure" and not scenario.state.instances["roll-out"].groups
    scenario.jobs = {}
    again = failed_jobs(scenario.state)
    assert again == ("roll-out/second",)
    scenario.append(scenario.state, RunResumed(by="me", jobs=again))
    while not asked_for(scenario):
        assert not starts(scenario), "a job runs and its call does not hold its group"
        for command in decide(scenario.state, scenario.now):
            scenario.append(scenario.state, scenario.answer(command))
    scenario.append(scenario.state, ConcurrencyAcquired(key="roll-out", group="production"))
    assert scenario.play().conclusion == "success" and not scenario.state.instances["roll-out"].groups


def test_a_place_that_is_given_to_one_that_has_ended_is_given_back() -> None:
    workflow = CALLING.replace("uses: ./.github/workflows/called.yml", "runs-on: x\n    steps: [{run: echo}]")
    scenario = Scenario(workflow=workflow)
    scenario.state = scenario.append(None, created(workflow))
    for command in decide(scenario.state, scenario.now):
        scenario.append(scenario.state, scenario.answer(command))
    scenario.append(scenario.state, cancel(key="roll-out"))
    [ending] = decide(scenario.state, scenario.now)
    scenario.append(scenario.state, scenario.answer(ending))
    scenario.append(scenario.state, ConcurrencyWaiting(key="roll-out", group="production"))
    assert ReleaseGroup(key="roll-out", group="production") in decide(scenario.state, scenario.now)


def test_a_run_that_has_ended_is_not_cancelled_any_more() -> None:
    scenario = Scenario(workflow=CLEAN_UP)
    assert scenario.run().conclusion == "success"
    scenario.append(scenario.state, cancel())
    assert not scenario.state.cancelled and scenario.state.conclusion == "success"
    assert isinstance(scenario.history[-2][0], RunFinished)
    scenario.append(scenario.state, RunResumed(by="me", jobs=("clean",)))
    assert scenario.play().conclusion == "success"
    assert scenario.state.instances["clean"].result == JobResult(conclusion="success")
