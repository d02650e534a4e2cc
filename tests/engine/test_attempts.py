"""An attempt starts at most once, whatever the journal holds twice."""

from __future__ import annotations

from akashic.engine.commands import StartJob
from akashic.engine.decide import decide
from akashic.engine.events import JobInterrupted, JobStarted
from tests.engine.scenario import Scenario, created

WORKFLOW = "on: push\njobs:\n  a:\n    runs-on: x\n    steps: [{run: echo}]\n"


def test_an_attempt_that_was_interrupted_does_not_start_a_second_time() -> None:
    scenario = Scenario(workflow=WORKFLOW)
    scenario.state = scenario.append(None, created(WORKFLOW))
    for command in decide(scenario.state, scenario.now):
        scenario.append(scenario.state, scenario.answer(command))
    [command] = decide(scenario.state, scenario.now)
    assert isinstance(command, StartJob)
    scenario.start(command.request)
    scenario.append(scenario.state, JobInterrupted(key="a", attempt=1, reason="died"))
    late = JobStarted(key="a", attempt=1, idempotency_key="RUN/a/1", executor="test")
    scenario.append(scenario.state, late)
    assert not scenario.state.running
    [again] = decide(scenario.state, scenario.now)
    assert isinstance(again, StartJob) and again.request.attempt == 2
