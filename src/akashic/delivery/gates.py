"""The protection rules of environments, from `akashic.yaml`: for jobs of runs, and for deployments made by
hand.

Source of the rules: GitHub's "Deployments and environments". An environment that nobody configured has none,
as on GitHub; it is said, not refused. A fork's run never reaches an environment.
"""

from __future__ import annotations

from typing import Any

import msgspec

from akashic.delivery.config import Config, EnvironmentConfig
from akashic.delivery.releases import Releases, short_ref
from akashic.driver.ports import Clock
from akashic.engine.codec import decode, run_stream
from akashic.engine.deployment import Deployment
from akashic.engine.deployment_events import (
    BACK,
    AnyDeploymentEvent,
    DeploymentGateOpened,
    DeploymentGatePassed,
    DeploymentRejected,
)
from akashic.engine.events import (
    GateOpened,
    GatePassed,
    GateReopened,
    JobFinished,
    JobInterrupted,
    RunCreated,
    RunFinished,
)
from akashic.engine.requests import GateBinding, JobRequest
from akashic.errors import AkashicError
from akashic.journal.protocol import Journal
from akashic.workflow.globs import matches

SECONDS_PER_MINUTE = 60.0


class EnvironmentGates:
    """Implements driver.ports.GatePort, and the rules half of the deployments' port."""

    def __init__(self, *, config: Config, journal: Journal, releases: Releases, clock: Clock) -> None:
        self.config = config
        self.journal = journal
        self.releases = releases
        self.clock = clock

    def open(self, request: JobRequest, now: float) -> GateOpened | str:
        """The rules for a job instance right now, or why the environment refuses it."""
        name, found = self.config.find(request.environment)
        environment = found or EnvironmentConfig()
        refusal = refusal_of(name, environment, trust=request.trust, ref=ref_of(request.github))
        if refusal:
            return refusal
        release = self.releases.latest_for_run(request.run_id)
        created = self.run_created(request.run_id)
        approvals = environment.approvals
        return GateOpened(
            key=request.key,
            environment=name,
            binding=GateBinding(
                run_id=request.run_id,
                commit=str(request.github.get("sha", "")),
                workflow_sha256=created.workflow_sha256,
                environment=name,
                artifact_digest=release.digest if release is not None else "",
            ),
            reviewers=approvals.reviewers if approvals else (),
            approvals_needed=approvals.count if approvals else 0,
            self_review=approvals.author_may_approve if approvals else True,
            wait_until=_wait_until(environment, now),
            author=created.started_by or created.actor,
        )

    def rules(self, deployment: Deployment, now: float) -> AnyDeploymentEvent:
        """The rules for a deployment: passed, when there are none, when the gate of the run's job covers
        exactly this, or when it goes back to what was here before; else a gate of its own.

        The branch policy is about where the release was built, and in a run about the run's ref too. It is
        not asked for a way back: that release passed it when it was promoted here.
        """
        request = deployment.request
        environment = self.config.environment(request.environment) or EnvironmentConfig()
        going_back = request.kind in BACK
        policy = msgspec.structs.replace(environment, branches=()) if going_back else environment
        for ref in (request.ref, request.release_ref):
            if ref is None:
                continue
            refusal = refusal_of(request.environment, policy, trust=request.trust, ref=ref)
            if refusal:
                return DeploymentRejected(deployment=deployment.id, by="akashic", reason=refusal)
        if going_back:
            # What served here was approved for here; going back to it must not wait for anybody.
            return DeploymentGatePassed(deployment=deployment.id, source="it served here before")
        approvals = environment.approvals
        needed = approvals.count if approvals else 0
        reason = ""
        if request.run_id:
            passed, reason = self._run_gate(deployment)
            if passed is not None:
                return DeploymentGatePassed(
                    deployment=deployment.id,
                    approved_by=passed.approved_by,
                    source=f"the gate of {request.job} in run {request.run_id}",
                )
        wait_until = _wait_until(environment, now)
        if not needed and wait_until <= now:
            return DeploymentGatePassed(deployment=deployment.id)
        return DeploymentGateOpened(
            deployment=deployment.id,
            binding=request.binding,
            reviewers=approvals.reviewers if approvals else (),
            approvals_needed=needed,
            self_review=approvals.author_may_approve if approvals else True,
            wait_until=wait_until,
            author=request.by,
            reason=reason,
        )

    def _run_gate(self, deployment: Deployment) -> tuple[GatePassed | None, str]:
        """The passed gate of the job that deploys, when it is bound to exactly what is deployed; else why it
        does not count. The job must still run: a gate dies with its job."""
        request = deployment.request
        opened: GateOpened | None = None
        binding: GateBinding | None = None
        passed: GatePassed | None = None
        for record in self.journal.read(run_stream(request.run_id)):
            event = decode(record)
            if isinstance(event, RunFinished):
                return None, "the run is over"
            if getattr(event, "key", None) != request.job:
                continue
            match event:
                case GateOpened():
                    opened, binding, passed = event, event.binding, None
                case GateReopened():
                    binding, passed = event.binding, None
                case GatePassed():
                    passed = event
                case JobInterrupted():
                    # The next attempt must pass the same gate again; nobody is asked twice for the same.
                    passed = None
                case JobFinished():
                    opened, binding, passed = None, None, None
        if opened is None or binding is None or passed is None:
            return None, "the job has passed no gate"
        return _covers(passed, opened, binding, request.binding)

    def run_created(self, run_id: str) -> RunCreated:
        """The first event of a run. Raises AkashicError when there is none."""
        records = self.journal.read(run_stream(run_id))
        event = decode(records[0]) if records else None
        if not isinstance(event, RunCreated):
            raise AkashicError(f"there is no run {run_id}")
        return event


def refusal_of(name: str, environment: EnvironmentConfig, *, trust: str, ref: str) -> str:
    """Why an environment refuses a ref; empty when it does not."""
    if trust == "fork":
        return f"the environment {name} refuses runs of forks"
    if environment.branches and not matches(environment.branches, ref):
        allowed = ", ".join(environment.branches)
        return f"the environment {name} refuses {ref or 'a commit without a branch'!r}: it takes {allowed}"
    return ""


def ref_of(github: dict[str, Any]) -> str:
    """The branch or tag that a run is about: for a pull request its merge ref, which no branch pattern of a
    protected environment matches by accident."""
    return short_ref(str(github.get("ref", "")))


def _covers(
    passed: GatePassed, opened: GateOpened, binding: GateBinding, wanted: GateBinding
) -> tuple[GatePassed | None, str]:
    if binding.environment.casefold() != wanted.environment.casefold():
        return None, f"the job's gate is that of {binding.environment}"
    if binding.commit != wanted.commit:
        return None, f"the gate was for commit {binding.commit[:12]}, the release is of {wanted.commit[:12]}"
    if wanted.workflow_sha256 and binding.workflow_sha256 != wanted.workflow_sha256:
        return None, "the gate was for another version of the workflow"
    if binding.artifact_digest and binding.artifact_digest != wanted.artifact_digest:
        return None, "the gate was for another build"
    if opened.approvals_needed and not binding.artifact_digest:
        return None, "the approvers did not see this build: there was none yet"
    return passed, ""


def _wait_until(environment: EnvironmentConfig, now: float) -> float:
    minutes = environment.wait_timer_minutes
    return now + minutes * SECONDS_PER_MINUTE if minutes else 0.0
