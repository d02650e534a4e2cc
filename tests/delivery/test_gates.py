"""What the rules of environments say: for the jobs of runs, and for deployments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from akashic.delivery.service import Origin
from akashic.engine.events import GateOpened, GatePassed, JobFinished, RunFinished
from akashic.engine.requests import GateBinding, JobRequest, JobResult
from akashic.errors import AkashicError, UsageError
from akashic.workflow.parse import parse_workflow
from tests.delivery.memory_world import MemoryWorld

WORKFLOW = b"on: push\njobs:\n  deploy:\n    runs-on: x\n    steps: [{run: echo}]\n"


@pytest.fixture
def world(tmp_path: Path) -> MemoryWorld:
    return MemoryWorld(tmp_path)


def job(environment: str = "production", *, ref: str = "refs/heads/main", **changes: Any) -> JobRequest:
    parsed = parse_workflow(WORKFLOW, ".github/workflows/ci.yml")
    values: dict[str, Any] = {
        "run_id": "7",
        "key": "deploy",
        "attempt": 1,
        "idempotency_key": "7/deploy/1",
        "name": "deploy",
        "job": parsed.jobs["deploy"],
        "workflow_path": ".github/workflows/ci.yml",
        "github": {"sha": "c" * 40, "actor": "eve", "ref": ref},
        "environment": environment,
    }
    return JobRequest(**{**values, **changes})


def opened(world: MemoryWorld, request: JobRequest, now: float = 100.0) -> GateOpened:
    gate = world.gates.open(request, now)
    assert isinstance(gate, GateOpened), gate
    return gate


def test_a_gate_carries_the_rules_of_its_environment(world: MemoryWorld) -> None:
    world.run()
    gate = opened(world, job())
    assert (gate.key, gate.environment, gate.author) == ("deploy", "production", "eve")
    assert (gate.reviewers, gate.approvals_needed, gate.self_review) == (("ann", "bob"), 1, False)
    assert gate.wait_until == 0.0


def test_a_gate_is_bound_to_run_commit_workflow_environment_and_the_runs_latest_build(
    world: MemoryWorld,
) -> None:
    world.run()
    world.release("1.0", run_id="7")
    latest = world.release("1.1", run_id="7")
    world.release("9.9", run_id="8")
    assert opened(world, job()).binding == GateBinding(
        run_id="7",
        commit="c" * 40,
        workflow_sha256="w1",
        environment="production",
        artifact_digest=latest.digest,
    )


def test_the_workflow_of_a_binding_is_that_of_the_run_and_never_empty(world: MemoryWorld) -> None:
    world.run(workflow_sha256="the-run's")
    assert opened(world, job()).binding.workflow_sha256 == "the-run's"


def test_without_a_build_the_binding_says_so(world: MemoryWorld) -> None:
    world.run()
    assert opened(world, job()).binding.artifact_digest == ""


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/heads/release/2"])
def test_the_branch_policy_lets_its_branches_in(world: MemoryWorld, ref: str) -> None:
    world.run(ref=ref)
    assert opened(world, job(ref=ref)).environment == "production"


@pytest.mark.parametrize(
    "ref", ["refs/heads/feature/x", "refs/pull/3/merge", "refs/heads/mainly", "refs/heads/release/a/b", ""]
)
def test_the_branch_policy_refuses_the_others_by_name(world: MemoryWorld, ref: str) -> None:
    world.run(ref=ref)
    refused = world.gates.open(job(ref=ref), 100.0)
    assert isinstance(refused, str)
    assert "takes main, release/*" in refused


@pytest.mark.parametrize("environment", ["production", "staging", "unheard-of"])
def test_a_fork_is_refused_by_every_environment(world: MemoryWorld, environment: str) -> None:
    world.run(trust="fork")
    refused = world.gates.open(job(environment, trust="fork"), 100.0)
    assert refused == f"the environment {environment} refuses runs of forks"


def test_an_environment_that_nobody_configured_has_no_rules(world: MemoryWorld) -> None:
    world.run()
    gate = opened(world, job("preview"))
    assert (gate.reviewers, gate.approvals_needed, gate.self_review, gate.wait_until) == ((), 0, True, 0.0)


def test_a_wait_timer_counts_from_now(tmp_path: Path) -> None:
    timed = MemoryWorld(tmp_path, "environments: {staging: {target: {type: memory}, wait_timer_minutes: 2}}")
    timed.run()
    assert opened(timed, job("staging"), 100.0).wait_until == 220.0


def test_a_gate_of_a_run_that_is_not_there_is_an_error(world: MemoryWorld) -> None:
    with pytest.raises(AkashicError, match="there is no run 7"):
        world.gates.open(job(), 100.0)


# The rules for a deployment.


def pass_gate(world: MemoryWorld, **changes: Any) -> None:
    release = world.release(run_id="7")
    binding = GateBinding(
        run_id="7",
        commit="c" * 40,
        workflow_sha256="w1",
        environment="production",
        artifact_digest=release.digest,
    )
    gate = GateOpened(
        key="deploy",
        environment="production",
        binding=msgspec.structs.replace(binding, **changes),
        approvals_needed=1,
    )
    world.say(gate, GatePassed(key="deploy", approved_by=("ann",)))


def deploy_of_run(world: MemoryWorld, **origin: Any) -> Any:
    return world.deploy(world.releases.all()[0], "production", run_id="7", job="deploy", **origin)


def test_the_gate_of_the_job_that_deploys_is_enough(world: MemoryWorld) -> None:
    world.run()
    pass_gate(world)
    found = deploy_of_run(world)
    assert (found.status, found.approved_by) == ("promoted", ("ann",))
    assert found.approval_source == "the gate of deploy in run 7"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"commit": "d" * 40}, "the gate was for commit dddd"),
        ({"workflow_sha256": "w2"}, "another version of the workflow"),
        ({"workflow_sha256": ""}, "another version of the workflow"),
        ({"artifact_digest": "sha256:" + "0" * 64}, "another build"),
        ({"artifact_digest": ""}, "did not see this build"),
        ({"environment": "staging"}, "that of staging"),
    ],
)
def test_a_gate_for_anything_else_asks_again_and_says_why(
    world: MemoryWorld, change: dict[str, str], why: str
) -> None:
    world.run()
    pass_gate(world, **change)
    found = deploy_of_run(world)
    assert found.status == "waiting"
    assert why in found.gate.reason


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (
            JobFinished(key="deploy", attempt=1, result=JobResult(conclusion="success")),
            "the job has passed no gate",
        ),
        (RunFinished(conclusion="success"), "the run is over"),
    ],
)
def test_a_gate_dies_with_its_job_and_its_run(world: MemoryWorld, event: Any, why: str) -> None:
    world.run()
    pass_gate(world)
    world.say(event)
    found = deploy_of_run(world)
    assert (found.status, found.gate.reason) == ("waiting", why)


def test_the_gate_of_another_job_gives_nothing(world: MemoryWorld) -> None:
    world.run()
    pass_gate(world)
    found = world.deploy(world.releases.all()[0], "production", run_id="7", job="other")
    assert found.status == "waiting"


def test_a_deployment_by_hand_asks_the_reviewers(world: MemoryWorld) -> None:
    found = world.deploy(world.release(), "production")
    assert found.status == "waiting"
    assert found.gate is not None
    assert found.gate.binding.workflow_sha256 == "manual"
    assert (found.gate.approvals_needed, found.gate.author) == (1, "eve")


def test_an_environment_without_rules_asks_nobody(world: MemoryWorld) -> None:
    found = world.deploy(world.release())
    assert (found.status, found.gate, found.approved_by) == ("promoted", None, ())


def test_a_rollback_waits_for_nobody(world: MemoryWorld) -> None:
    for version in ("1.0", "2.0"):
        world.approve(world.deploy(world.release(version), "production"))
    found = world.rollback("production")
    assert (found.status, found.request.release.version) == ("promoted", "1.0")
    assert found.approval_source == "it served here before"


def test_one_person_in_two_spellings_is_one_approval(tmp_path: Path) -> None:
    text = (
        "environments: {p: {target: {type: memory}, strategy: {settle_s: 0}, "
        "approvals: {reviewers: [ann, bob], count: 2}}}"
    )
    world = MemoryWorld(tmp_path, text)
    found = world.approve(world.deploy(world.release(), "p"), "ann")
    found = world.approve(found, "ANN")
    assert found.status == "waiting"
    assert world.approve(found, "bob").status == "promoted"


def test_a_wait_timer_holds_a_deployment_after_its_approval(tmp_path: Path) -> None:
    text = "environments: {p: {target: {type: memory}, strategy: {settle_s: 0}, wait_timer_minutes: 5}}"
    world = MemoryWorld(tmp_path, text)
    found = world.deploy(world.release(), "p")
    assert found.status == "waiting"
    world.clock.advance(301)
    assert world.follow("p", found.id).status == "promoted"


def test_by_hand_the_branch_policy_judges_where_the_release_was_built(world: MemoryWorld) -> None:
    found = world.deploy(world.release("2.0", ref="refs/heads/feature/x"), "production")
    assert found.status == "rejected"
    assert "refuses 'feature/x': it takes main, release/*" in found.reason
    assert world.deploy(world.release("3.0", ref="refs/heads/release/3"), "production").status == "waiting"


def test_a_release_built_on_two_branches_may_go_where_either_may(world: MemoryWorld) -> None:
    world.release("2.0", ref="refs/heads/main")
    again = world.release("2.0", ref="refs/heads/feature/x")
    assert world.deploy(again, "production").status == "waiting"


def test_a_run_of_main_does_not_deploy_what_another_branch_built(world: MemoryWorld) -> None:
    world.run("7", ref="refs/heads/main")
    other = world.release("2.0", ref="refs/heads/feature/x", run_id="6")
    found = world.deploy(other, "production", run_id="7", job="deploy")
    assert found.status == "rejected"
    assert "feature/x" in found.reason


def test_a_rollback_to_what_was_promoted_here_asks_no_branch_policy(world: MemoryWorld) -> None:
    for version in ("1.0", "2.0"):
        world.approve(world.deploy(world.release(version), "production"))
    production = world.config.environments["production"]
    stricter = msgspec.structs.replace(production, branches=("release/*",))
    world.config.environments["production"] = stricter
    assert world.deploy(world.release("3.0"), "production").status == "rejected"
    assert world.rollback("production").status == "promoted"
    assert world.deployments.state("production").serving().request.release.version == "1.0"


def test_starting_again_asks_nobody_and_nothing(world: MemoryWorld) -> None:
    served = world.approve(world.deploy(world.release("1.0"), "production"))
    production = world.config.environments["production"]
    world.config.environments["production"] = msgspec.structs.replace(production, branches=("release/*",))
    id_ = world.deployments.request_start("production", Origin(by="eve"))
    found = world.follow("production", id_)
    assert (found.status, found.request.kind) == ("promoted", "start")
    assert found.request.spec == served.request.spec
    assert world.deployments.state("production").before_current() is None
    with pytest.raises(UsageError, match="nothing was deployed to staging yet"):
        world.deployments.request_start("staging", Origin(by="eve"))
