"""An approval holds for what was seen, and for nothing else; what is refused never reaches a target."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from akashic.cancellation import Cancellation
from akashic.delivery.config_file import parse_config
from akashic.delivery.gates import EnvironmentGates
from akashic.delivery.releases import Release, Releases
from akashic.delivery.service import Deployments, Origin
from akashic.engine.codec import encode, run_stream
from akashic.engine.events import (
    GateOpened,
    GatePassed,
    GateReopened,
    JobFinished,
    JobInterrupted,
    RunCreated,
    RunFinished,
)
from akashic.engine.requests import GateBinding, JobResult
from akashic.errors import AkashicError, UsageError
from akashic.journal.sqlite import SqliteJournal

TEXT = """
environments:
  production:
    target: {type: memory}
    strategy: {settle_s: 0}
    approvals: {reviewers: [ann], author_may_approve: false}
    branches: [main]
"""
RELEASE = Release(
    id="r1",
    version="1.0",
    commit="c" * 40,
    digest="sha256:" + "a" * 64,
    created_by="eve",
    created_at=0.0,
    run_id="7",
    ref="refs/heads/main",
)


class Still:
    def now(self) -> float:
        return 1000.0


class World:
    def __init__(self, folder: Path) -> None:
        self.journal = SqliteJournal(folder / "journal.db")
        config = parse_config(TEXT)
        releases = Releases(journal=self.journal, folder=folder / "releases", clock=Still())
        self.gates = EnvironmentGates(config=config, journal=self.journal, releases=releases, clock=Still())
        self.deployments = Deployments(
            config=config,
            journal=self.journal,
            releases=releases,
            gates=self.gates,
            clock=Still(),
            state_dir=folder,
            secrets=lambda name: {},
        )

    def run(self, *, trust: str = "trusted", ref: str = "refs/heads/main") -> None:
        created = RunCreated(
            run_id="7",
            number=1,
            repository="o/r",
            repository_root="/",
            commit="c" * 40,
            workflow_path="ci.yml",
            workflow_sha256="w1",
            sources={},
            event_name="push",
            actor="eve",
            trust=trust,
            github={"ref": ref, "sha": "c" * 40},
        )
        self.say(created)

    def say(self, *events) -> None:
        self.journal.append(
            run_stream("7"), [encode(event) for event in events], at=1.0, expected_version=None
        )

    def gate(self, **changes) -> None:
        binding = msgspec.structs.replace(BINDING, **changes)
        self.say(
            GateOpened(key="deploy", environment="production", binding=binding, approvals_needed=1),
            GatePassed(key="deploy", approved_by=("ann",)),
        )

    def deploy(self):
        """The deployment as far as it comes without anybody's help."""
        id_ = self.deployments.request("production", RELEASE, Origin(by="mallory", run_id="7", job="deploy"))
        return self.deployments.follow(
            "production", id_, Cancellation(), waiting=lambda found, state: found.status != "waiting"
        )


BINDING = GateBinding(
    run_id="7",
    commit="c" * 40,
    workflow_sha256="w1",
    environment="production",
    artifact_digest=RELEASE.digest,
)


@pytest.fixture
def world(tmp_path: Path):
    made = World(tmp_path)
    yield made
    made.journal.close()


def test_the_gate_of_the_job_covers_exactly_what_was_approved(world):
    world.run()
    world.gate()
    found = world.deploy()
    assert found.status == "promoted"
    assert found.approved_by == ("ann",)


@pytest.mark.parametrize(
    "change",
    [
        {"commit": "d" * 40},
        {"workflow_sha256": "w2"},
        {"artifact_digest": "sha256:" + "b" * 64},
        {"artifact_digest": ""},
        {"environment": "staging"},
    ],
)
def test_approve_a_deploy_b_asks_again(world, change):
    world.run()
    world.gate(**change)
    found = world.deploy()
    assert found.status == "waiting"
    assert found.gate.reason


def test_an_approval_does_not_outlive_its_job(world):
    world.run()
    world.gate()
    world.say(JobFinished(key="deploy", attempt=1, result=JobResult(conclusion="success")))
    assert world.deploy().status == "waiting"


def test_an_approval_does_not_outlive_its_run(world):
    world.run()
    world.gate()
    world.say(RunFinished(conclusion="cancelled"))
    assert world.deploy().status == "waiting"


def test_an_interrupted_job_passes_its_gate_again_without_asking_twice(world):
    world.run()
    world.gate()
    world.say(JobInterrupted(key="deploy", attempt=1, reason="killed"))
    id_ = world.deployments.request("production", RELEASE, Origin(by="eve", run_id="7", job="deploy"))
    waits = world.deployments.follow("production", id_, Cancellation(), waiting=lambda *_: False)
    assert waits.status == "waiting"
    world.say(GatePassed(key="deploy", approved_by=("ann",)))
    second = Origin(by="eve", run_id="7", job="deploy", attempt=2)
    id_ = world.deployments.request("production", RELEASE, second)
    found = world.deployments.follow("production", id_, Cancellation(), waiting=lambda *_: False)
    assert (found.status, found.approved_by) == ("promoted", ("ann",))


def test_a_gate_that_was_opened_again_has_passed_no_more(world):
    world.run()
    world.gate()
    world.say(GateReopened(key="deploy", binding=BINDING, reason="a push"))
    assert world.deploy().status == "waiting"


def test_a_claimed_run_without_a_gate_gives_nothing(world):
    world.run()
    assert world.deploy().status == "waiting"


def test_a_fork_deploys_nothing(world):
    world.run(trust="fork")
    world.gate()
    found = world.deploy()
    assert found.status == "rejected"
    assert "forks" in found.reason


def test_a_branch_that_the_environment_does_not_take_is_refused(world):
    world.run(ref="refs/heads/feature/x")
    world.gate()
    found = world.deploy()
    assert found.status == "rejected"
    assert "feature/x" in found.reason


def test_a_pull_requests_ref_is_no_branch(world):
    world.run(ref="refs/pull/1/merge")
    world.gate()
    assert world.deploy().status == "rejected"


def test_the_actor_is_who_triggered_the_run_not_who_a_step_says(world):
    world.run()
    world.gate()
    assert world.deploy().request.by == "eve"


def test_a_run_that_does_not_exist_is_an_error(world):
    with pytest.raises(AkashicError, match="no run 7"):
        world.deploy()


def waiting(world) -> tuple[str, GateBinding]:
    world.run()
    found = world.deploy()
    return found.id, found.gate.binding


def test_only_a_reviewer_may_approve(world):
    id_, binding = waiting(world)
    with pytest.raises(UsageError, match="bob is not a reviewer"):
        world.deployments.review("production", id_, by="bob", approved=True, comment="", binding=binding)


def test_a_review_of_something_else_is_refused(world):
    id_, binding = waiting(world)
    other = msgspec.structs.replace(binding, artifact_digest="sha256:" + "b" * 64)
    with pytest.raises(AkashicError, match="has changed"):
        world.deployments.review("production", id_, by="ann", approved=True, comment="", binding=other)


def test_one_approval_is_not_for_ever(world):
    id_, binding = waiting(world)
    world.deployments.review("production", id_, by="ann", approved=True, comment="", binding=binding)
    assert world.deployments.follow("production", id_, Cancellation()).status == "promoted"
    again = world.deployments.request("production", RELEASE, Origin(by="eve"))
    found = world.deployments.follow("production", again, Cancellation(), waiting=lambda *_: False)
    assert found.status == "waiting"


def test_a_rejection_ends_it(world):
    id_, binding = waiting(world)
    world.deployments.review(
        "production", id_, by="ann", approved=False, comment="not on a Friday", binding=binding
    )
    found = world.deployments.follow("production", id_, Cancellation())
    assert found.status == "rejected"
    assert found.reason == "not on a Friday"
