"""Who reaches an environment, with what, and in whose name: through the real engine and driver."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from akashic.app.driving import _secret_source
from akashic.app.github_event import is_from_fork
from akashic.cancellation import Cancellation
from akashic.delivery.review import review_waiting, waiting
from akashic.driver.locks import FileRunLocks
from akashic.driver.runs import RunDriver
from akashic.engine.codec import decode, encode, run_stream
from akashic.engine.events import GateOpened, GateReviewed
from akashic.engine.requests import JobRequest
from akashic.errors import AkashicError, UsageError
from akashic.testing.jobs import Script, ScriptedJobs
from tests.delivery.memory_world import MemoryWorld

PATH = ".github/workflows/ci.yml"
WORKFLOW = """
on: push
jobs:
  deploy:
    environment: production
    runs-on: x
    steps: [{run: akashic deploy production}]
"""


@pytest.fixture
def world(tmp_path: Path) -> MemoryWorld:
    return MemoryWorld(tmp_path)


def begin(world: MemoryWorld, **changes: Any) -> None:
    world.run(workflow_path=PATH, sources={PATH: WORKFLOW}, **changes)


def drive(world: MemoryWorld, jobs: ScriptedJobs) -> threading.Thread:
    """The run's driver in a thread, until the run ends."""
    driver = RunDriver(
        journal=world.journal,
        job_port=jobs,
        gate_port=world.gates,
        clock=world.clock,
        locks=FileRunLocks(world.folder / "locks"),
    )
    thread = threading.Thread(target=lambda: driver.drive("7", Cancellation()), daemon=True)
    thread.start()
    return thread


def until(world: MemoryWorld, kind: str) -> Any:
    position = 0
    for _ in range(200):
        for record in world.journal.read(run_stream("7")):
            event = decode(record)
            if type(event).__name__ == kind:
                return event
        position = world.journal.head()
        world.journal.wait(after_position=position, timeout_s=0.05)
    raise AssertionError(f"no {kind} came")


def approve(world: MemoryWorld, by: str) -> None:
    (one,) = waiting(world.journal, world.deployments)
    review_waiting(world.journal, world.deployments, world.clock, one, by=by, approved=True, comment="seen")


# Attack 8: "pwn requests".


def pull_request(head: str | None) -> dict[str, Any]:
    repo = None if head is None else {"full_name": head}
    return {"pull_request": {"head": {"repo": repo}, "base": {"repo": {"full_name": "o/r"}}}}


@pytest.mark.parametrize("event", ["pull_request", "pull_request_target"])
@pytest.mark.parametrize("head", ["mallory/r", "", None])
def test_attack_8_a_privileged_trigger_about_a_fork_is_the_forks(event: str, head: str | None) -> None:
    assert is_from_fork(event, pull_request(head))
    assert not is_from_fork(event, pull_request("O/R"))


@pytest.mark.parametrize("event", ["pull_request", "pull_request_target"])
def test_attack_8_a_forks_run_never_reaches_an_environment(world: MemoryWorld, event: str) -> None:
    begin(world, trust="fork", event_name=event)
    jobs = ScriptedJobs()
    drive(world, jobs).join(20)
    assert jobs.started == []
    finished = until(world, "RunFinished")
    assert finished.conclusion == "failure"
    assert waiting(world.journal, world.deployments) == []


def test_attack_8_a_forks_step_that_deploys_never_reaches_a_target(
    world: MemoryWorld,
) -> None:
    begin(world, trust="fork")
    # What a step says about itself does not matter: the run's first record does.
    found = world.deploy(world.release(run_id="7"), "staging", run_id="7", job="deploy", trust="trusted")
    assert (found.status, found.reason) == ("rejected", "the environment staging refuses runs of forks")
    assert world.target.calls == []


# Attack 9: secrets handed to fork builds.


def test_attack_9_a_forks_deployment_has_an_empty_secret_set(world: MemoryWorld) -> None:
    asked: list[str] = []

    def secrets(environment: str) -> dict[str, str]:
        asked.append(environment)
        return {"TOKEN": "canary"}

    world.restart(secrets=secrets)
    begin(world, trust="fork")
    found = world.deploy(world.release(run_id="7"), "staging", run_id="7", job="deploy")
    plan = world.deployments.port._plan(found)
    with pytest.raises(AkashicError, match="is not set"):
        plan.secrets("TOKEN")
    assert asked == []


def test_attack_9_the_secrets_of_a_job_are_empty_for_a_fork_whatever_is_given(tmp_path: Path) -> None:
    class Parts:
        def secrets_of(self, environment: str) -> dict[str, str]:
            raise AssertionError("the secrets file was opened for a fork")

    source = _secret_source(Parts(), {"GIVEN": "canary"})  # type: ignore[arg-type]
    for environment in ("", "production"):
        assert source(environment, "fork") == {}


def test_attack_10_one_approval_is_for_one_deployment(world: MemoryWorld) -> None:
    release = world.release()
    assert world.approve(world.deploy(release, "production")).status == "promoted"
    assert world.deploy(release, "production").status == "waiting"


# Attacks 10 and 11: one approval for ever; approve A, run B.


def test_attack_10_an_approved_gate_is_for_that_run_and_that_build(
    world: MemoryWorld,
) -> None:
    begin(world)
    release = world.release(run_id="7")
    deployed: list[Any] = []

    def step(request: JobRequest) -> None:
        deployed.append(world.deploy(release, "production", run_id="7", job=request.key))

    thread = drive(world, ScriptedJobs({"deploy": Script(before=step)}))
    until(world, "GateOpened")
    approve(world, "ann")
    thread.join(20)
    assert [(d.status, d.approved_by) for d in deployed] == [("promoted", ("ann",))]


def test_attack_11_approve_a_build_b_asks_again(world: MemoryWorld) -> None:
    """What was approved is not what the job then deploys: a build came in between."""
    begin(world)
    world.release("1.0", run_id="7")
    deployed: list[Any] = []

    def step(request: JobRequest) -> None:
        other = world.release("2.0", run_id="7")
        deployed.append(world.deploy(other, "production", run_id="7", job=request.key))

    thread = drive(world, ScriptedJobs({"deploy": Script(before=step)}))
    until(world, "GateOpened")
    approve(world, "ann")
    thread.join(20)
    (found,) = deployed
    assert (found.status, found.gate.reason) == ("waiting", "the gate was for another build")
    assert world.target.calls == []


def test_attack_11_a_push_in_between_is_another_run_and_asks_again(world: MemoryWorld) -> None:
    begin(world)
    release = world.release(run_id="7")
    thread = drive(world, ScriptedJobs())
    until(world, "GateOpened")
    approve(world, "ann")
    thread.join(20)
    pushed = "d" * 40
    github = {"ref": "refs/heads/main", "sha": pushed, "actor": "eve"}
    world.run("8", workflow_path=PATH, sources={PATH: WORKFLOW}, commit=pushed, github=github)
    later = world.release("2.0", run_id="8", commit=pushed)
    for built, run_id in ((later, "8"), (later, "7"), (release, "8")):
        found = world.deploy(built, "production", run_id=run_id, job="deploy")
        assert found.status == "waiting", (built.version, run_id)


def test_attack_11_a_review_of_what_has_changed_since_is_refused(world: MemoryWorld) -> None:
    begin(world)
    thread = drive(world, ScriptedJobs())
    until(world, "GateOpened")
    (seen,) = waiting(world.journal, world.deployments)
    stale = msgspec.structs.replace(
        seen, binding=msgspec.structs.replace(seen.binding, artifact_digest="sha256:" + "0" * 64)
    )
    with pytest.raises(AkashicError, match="has changed"):
        review_waiting(
            world.journal, world.deployments, world.clock, stale, by="ann", approved=True, comment=""
        )
    approve(world, "ann")
    thread.join(20)


def test_attack_11_a_review_that_was_written_past_the_checks_counts_for_nothing(world: MemoryWorld) -> None:
    """A forged record: of another binding, of somebody who is no reviewer, of the author."""
    begin(world)
    jobs = ScriptedJobs()
    thread = drive(world, jobs)
    gate = until(world, "GateOpened")
    assert isinstance(gate, GateOpened)
    other = msgspec.structs.replace(gate.binding, commit="d" * 40)
    for by, binding in (("ann", other), ("mallory", gate.binding), ("eve", gate.binding)):
        review = GateReviewed(key="deploy", by=by, approved=True, binding=binding)
        world.journal.append(run_stream("7"), [encode(review)], at=2.0, expected_version=None)
    assert [one.key for one in waiting(world.journal, world.deployments)] == ["deploy"]
    assert jobs.started == []
    approve(world, "bob")
    thread.join(20)
    assert [request.key for request in jobs.started] == ["deploy"]


# Attack 13: in whose name.


def test_attack_13_the_actor_of_a_deployment_is_who_triggered_the_run(world: MemoryWorld) -> None:
    begin(world)
    found = world.deploy(world.release(run_id="7"), "staging", run_id="7", job="deploy", by="root")
    assert found.request.by == "eve"
    assert world.messages[-1].who == "eve"


def test_attack_13_who_triggered_a_run_may_not_approve_it_under_another_name(
    world: MemoryWorld,
) -> None:
    text = """
environments:
  production:
    target: {type: memory}
    approvals: {reviewers: [eve, ann], author_may_approve: false}
"""
    own = MemoryWorld(world.folder / "own", text)
    begin(own)
    found = own.deploy(own.release(run_id="7"), "production", run_id="7", job="deploy", by="ann")
    with pytest.raises(UsageError, match="Eve started this deployment and may not approve it"):
        own.approve(found, "Eve")
