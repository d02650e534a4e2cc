"""Deployments as commands see them: ask for one, watch it to its end, go back, look."""

from __future__ import annotations

import secrets as chance
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from akashic.cancellation import Cancellation
from akashic.delivery.config import Config, DockerTarget, EnvironmentConfig, LocalTarget, MemoryTarget, Target
from akashic.delivery.effects import DeploymentEffects
from akashic.delivery.gates import EnvironmentGates, ref_of
from akashic.delivery.releases import Release, Releases, short_ref
from akashic.delivery.targets import MemoryTarget as MemoryTargetPort
from akashic.delivery.targets import Target as TargetPort
from akashic.delivery.targets import TargetStatus
from akashic.driver.deployments import DeploymentDriver
from akashic.driver.ports import Clock
from akashic.engine.deployment import Deployment, EnvironmentState
from akashic.engine.deployment_codec import PREFIX
from akashic.engine.deployment_events import (
    AnyDeploymentEvent,
    DeploymentRequested,
    DeploymentReviewed,
    Kind,
)
from akashic.engine.events import RunCreated
from akashic.engine.requests import GateBinding, Trust
from akashic.errors import AkashicError, UsageError
from akashic.journal.protocol import Journal
from akashic.notify.message import Message
from akashic.workflow.globs import matches

MANUAL = "manual"
ENVIRONMENTS_MAX = 1000


class Origin(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks: a person at a terminal, or a step of a job (`run_id`, `job` and its `attempt` are set)."""

    by: str
    run_id: str = ""
    job: str = ""
    attempt: int = 1
    trust: Trust = "trusted"


class Deployments:
    """The deployments of one repository."""

    def __init__(
        self,
        *,
        config: Config,
        journal: Journal,
        releases: Releases,
        gates: EnvironmentGates,
        clock: Clock,
        state_dir: Path,
        secrets: Callable[[str], Mapping[str, str]],
        notify: Callable[[Message], None] = lambda message: None,
        notify_only: Callable[[Message, tuple[str, ...]], None] | None = None,
        progress: Callable[[str, str], None] = lambda environment, text: None,
        targets: Mapping[type, TargetPort] | None = None,
    ) -> None:
        """`secrets` gives the secrets of an environment, `notify` gets a message, `notify_only` also the
        names of its receivers, `progress` gets (environment, line). `targets` is for tests: an implementation
        for a kind of target."""
        self.config = config
        self.journal = journal
        self.releases = releases
        self.gates = gates
        self.clock = clock
        self.state_dir = state_dir
        self.notify = notify
        self.notify_only = notify_only
        self.progress = progress
        self._targets: dict[type, TargetPort] = dict(targets or {})
        self.port = DeploymentEffects(
            gates=gates,
            target=self.target,
            layout=releases.layout,
            secrets=secrets,
            tell=self._tell,
            # Looked up each time: a command sets its own.
            progress=lambda environment, text: self.progress(environment, text),
        )
        self.driver = DeploymentDriver(
            journal=journal, port=self.port, clock=clock, locks=state_dir / "environments" / "_locks"
        )

    # Asking.

    def request(
        self,
        environment: str,
        release: Release,
        origin: Origin,
        *,
        kind: Kind = "deploy",
        restores: str = "",
        promoted_from: str = "",
        reason: str = "",
        spec: dict[str, Any] | None = None,
    ) -> str:
        """Ask for a deployment; its id. `spec` is the environment's configuration (none: as it is now). The
        same job attempt asking again for the same gets the same one.

        Raises UsageError for an environment that `akashic.yaml` does not have, or another branch's preview.
        """
        name, config = self._environment(environment)
        key = f"{origin.run_id}/{origin.job}/{origin.attempt}/{release.id}" if origin.run_id else ""
        workflow = self.gates.run_created(origin.run_id) if origin.run_id else None
        id_ = f"{int(self.clock.now() * 1000):013d}{chance.token_hex(3)}"
        ref, release_ref = self._refs(release, config, workflow)
        found: list[str] = []

        def make(state: EnvironmentState) -> AnyDeploymentEvent | None:
            found.clear()
            _same_branch(name, config, state, ref)
            for old in state.deployments.values():
                if key and old.request.request_key == key and old.request.kind == kind:
                    found.append(old.id)
                    return None
            return DeploymentRequested(
                deployment=id_,
                number=len(state.deployments) + 1,
                environment=name,
                kind=kind,
                release=release.reference,
                by=(workflow.started_by or workflow.actor) if workflow else origin.by,
                binding=GateBinding(
                    run_id=origin.run_id,
                    commit=release.commit,
                    workflow_sha256=workflow.workflow_sha256 if workflow else MANUAL,
                    environment=name,
                    artifact_digest=release.digest,
                ),
                spec=msgspec.to_builtins(config) if spec is None else spec,
                request_key=key,
                run_id=origin.run_id,
                job=origin.job,
                trust=workflow.trust if workflow else origin.trust,
                ref=ref,
                release_ref=release_ref,
                restores=restores,
                promoted_from=promoted_from,
                reason=reason,
            )

        self.driver.request(name, id_, make)
        return found[0] if found else id_

    def request_promotion(self, source: str, destination: str, origin: Origin) -> str:
        """Ask for what `source` serves in `destination`. Raises UsageError when that is nothing, or not
        allowed."""
        source, _ = self._environment(source)
        destination, config = self._environment(destination)
        allowed = [name.casefold() for name in config.promote_from]
        if allowed and source.casefold() not in allowed:
            raise UsageError(
                f"{destination} takes releases from {', '.join(config.promote_from)}, not from {source}"
            )
        serving = self.state(source).serving()
        if serving is None:
            raise UsageError(f"{source} serves nothing that could be promoted")
        release = self._release(serving)
        return self.request(destination, release, origin, kind="promote", promoted_from=source)

    def request_rollback(self, environment: str, origin: Origin, *, to: str = "", reason: str = "") -> str:
        """Ask to go back to the release before, or to the one that `to` names among those that served here.

        Raises UsageError when there is none.
        """
        name, _ = self._environment(environment)
        state = self.state(name)
        if to:
            wanted = self.releases.find(to)
            served = [state.deployments[id_] for id_ in state.stack]
            served += [d for d in state.deployments.values() if d.status == "promoted"]
            back = next((d for d in reversed(served) if d.request.release.id == wanted.id), None)
            if back is None:
                raise UsageError(
                    f"the release {wanted.version} never served in {name}",
                    hint=f"akashic deploy {name} --release {wanted.id}",
                )
        else:
            back = state.before_current()
            if back is None:
                raise UsageError(f"{name} has no release before the current one to go back to")
        release = self._release(back)
        return self.request(name, release, origin, kind="rollback", restores=back.id, reason=reason)

    def request_start(self, environment: str, origin: Origin) -> str:
        """Ask to start what serves in `environment` again, with the settings that it was promoted with.

        Raises UsageError when nothing was deployed there.
        """
        name, _ = self._environment(environment)
        serving = self.state(name).serving()
        if serving is None:
            raise UsageError(f"nothing was deployed to {name} yet", hint=f"akashic deploy {name}")
        return self.request(
            name,
            self._release(serving),
            origin,
            kind="start",
            restores=serving.id,
            spec=serving.request.spec,
        )

    def runs(self, environment: str) -> bool:
        """Whether the release that was promoted last is running in order."""
        status = self.status(environment)
        return status.reachable and bool(status.serving) and not status.problems

    def review(
        self,
        environment: str,
        deployment: str,
        *,
        by: str,
        approved: bool,
        comment: str,
        binding: GateBinding,
    ) -> None:
        """Approve or reject a deployment that waits, having seen `binding`.

        Raises UsageError when it does not wait, when what is asked for changed, or when `by` may not.
        """

        def make(state: EnvironmentState) -> AnyDeploymentEvent:
            found = state.deployments.get(deployment)
            if found is None or found.status != "waiting" or found.gate is None:
                raise UsageError(f"the deployment {deployment} does not wait for approval")
            gate = found.gate
            if gate.binding != binding:
                raise AkashicError("what is to be approved has changed: look at it again")
            reviewers = {name.casefold() for name in gate.reviewers}
            if reviewers and by.casefold() not in reviewers:
                raise UsageError(f"{by} is not a reviewer of {environment}: {', '.join(gate.reviewers)}")
            if approved and not gate.self_review and by.casefold() == gate.author.casefold():
                raise UsageError(f"{by} started this deployment and may not approve it")
            return DeploymentReviewed(
                deployment=deployment, by=by, approved=approved, comment=comment, binding=binding
            )

        self.driver.append(environment, make)

    # Driving.

    def follow(
        self,
        environment: str,
        deployment: str,
        cancellation: Cancellation,
        *,
        waiting: Callable[[Deployment, EnvironmentState], bool] | None = None,
    ) -> Deployment:
        """Drive a deployment to its end (or watch it, when another process does)."""
        return self.driver.drive(environment, deployment, cancellation, waiting=waiting)

    def recover(self, cancellation: Cancellation | None = None) -> list[Deployment]:
        """Take on what dead processes left, in every environment; those that changed."""
        for config in {type(e.target): e.target for e in self.config.environments.values()}.values():
            self.target(config).wake()
        changed: list[Deployment] = []
        for name in self.known():
            changed += self.driver.recover(name, cancellation or Cancellation())
        return changed

    # Looking.

    def known(self) -> list[str]:
        """The environments of `akashic.yaml`, then those that only the journal knows."""
        names = {name.casefold(): name for name in self.config.environments}
        streams = self.journal.streams(PREFIX, newest_first=False, streams_max=ENVIRONMENTS_MAX)
        for stream in streams:
            folded = stream.removeprefix(PREFIX)
            state = self.state(folded)
            if folded not in names and not state.removed_at:
                names[folded] = state.name
        return list(names.values())

    def state(self, environment: str) -> EnvironmentState:
        return self.driver.state(environment)

    def history(self, environment: str) -> list[Deployment]:
        """An environment's deployments, the newest first."""
        return list(reversed(self.state(environment).deployments.values()))

    def status(self, environment: str) -> TargetStatus:
        """What the target says. Never raises for a target that does not answer."""
        config = self.config.environment(environment) or EnvironmentConfig()
        try:
            return self.target(config.target).status(environment)
        except AkashicError as error:
            return TargetStatus(reachable=False, problems=(error.message,))

    def waiting(self) -> list[Deployment]:
        """Deployments that wait for an approval, in every environment."""
        return [d for name in self.known() for d in self.state(name).open() if d.status == "waiting"]

    def stop(self, environment: str) -> None:
        """Stop what an environment runs; its data is kept."""
        config = self.config.environment(environment) or EnvironmentConfig()
        self.target(config.target).stop(environment, progress=lambda text: self.progress(environment, text))

    def remove(self, environment: str) -> None:
        """Stop what an environment runs and remove its data."""
        config = self.config.environment(environment) or EnvironmentConfig()
        self.target(config.target).remove(environment, progress=lambda text: self.progress(environment, text))

    def ref_for(self, release: Release, origin: Origin) -> str:
        """The branch or tag that a deployment is about: that of the run that asks, else the release's."""
        if origin.run_id:
            return ref_of(self.gates.run_created(origin.run_id).github)
        return (self.releases.refs(release.id) or (short_ref(release.ref),))[0]

    def target(self, config: Target) -> TargetPort:
        """The implementation of a kind of target."""
        kind = type(config)
        if kind not in self._targets:
            if kind is MemoryTarget:
                self._targets[kind] = MemoryTargetPort()
            else:
                assert kind in (LocalTarget, DockerTarget), kind
                from akashic.delivery.local.target import LocalTarget as LocalTargetPort

                self._targets[kind] = LocalTargetPort(self.state_dir)
        return self._targets[kind]

    def _tell(self, message: Message, receivers: tuple[str, ...]) -> None:
        if receivers and self.notify_only is not None:
            self.notify_only(message, receivers)
        else:
            self.notify(message)

    def _environment(self, name: str) -> tuple[str, EnvironmentConfig]:
        known, found = self.config.find(name)
        if found is not None:
            if found.preview is not None and "/" not in known:
                raise UsageError(
                    f"{known} has an environment for each branch", hint=f"name it: {known}/BRANCH"
                )
            return known, found
        import difflib  # only on the way out

        names = list(self.config.environments)
        near = difflib.get_close_matches(name, names, 1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise UsageError(
            f"akashic.yaml has no environment {name!r}",
            hint=f"{guess}it has: {', '.join(names) or 'none yet'}; add it under environments:",
        )

    def _refs(
        self, release: Release, config: EnvironmentConfig, workflow: RunCreated | None
    ) -> tuple[str, str | None]:
        """The refs that the branch policy judges: where the release was built, and the run's where a run
        asks. What is checked out here says nothing about a release."""
        built = self.releases.refs(release.id) or (short_ref(release.ref),)
        fitting = (ref for ref in built if not config.branches or matches(config.branches, ref))
        judged = next(fitting, built[0])
        if workflow is None:
            return judged, None
        own = self.releases.built_by(release.id, workflow.run_id)
        return ref_of(workflow.github), None if own else judged

    def _release(self, deployment: Deployment) -> Release:
        release = self.releases.get(deployment.request.release.id)
        if release is None:
            raise AkashicError(f"the release {deployment.request.release.id} is not kept any more")
        return release


def _same_branch(name: str, config: EnvironmentConfig, state: EnvironmentState, ref: str) -> None:
    """A preview is of one branch; another one with the same slug must not take it. Raises UsageError."""
    last = next(reversed(state.deployments.values()), None)
    if config.preview is None or last is None or state.removed_at or last.request.ref == ref:
        return
    raise UsageError(
        f"{name} is the preview of the branch {last.request.ref}, not of {ref}",
        hint=f"rename one of the branches, or remove the preview: akashic preview rm {name}",
    )
