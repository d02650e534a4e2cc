"""A repository's delivery whose targets start nothing, with a clock that tests move and runs they write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from akashic.cancellation import Cancellation
from akashic.delivery.config import MemoryTarget as MemoryTargetConfig
from akashic.delivery.config_file import parse_config
from akashic.delivery.gates import EnvironmentGates
from akashic.delivery.releases import Release, ReleaseRegistered, Releases
from akashic.delivery.service import Deployments, Origin
from akashic.delivery.targets import MemoryTarget
from akashic.driver.deployment_ports import EffectOutcome
from akashic.engine.codec import encode, run_stream
from akashic.engine.deployment import Deployment
from akashic.engine.events import RunCreated, RunEvent
from akashic.journal.protocol import NewRecord
from akashic.notify.message import Message
from akashic.testing.clock import ManualClock
from akashic.testing.journal import MemoryJournal

TEXT = """
environments:
  staging:
    target: {type: memory}
    strategy: {settle_s: 0}
  production:
    target: {type: memory}
    strategy: {settle_s: 0}
    approvals: {reviewers: [ann, bob], author_may_approve: false}
    branches: [main, 'release/*']
    promote_from: [staging]
"""


class MemoryWorld:
    """`target` survives its drivers: `restart` makes the parts anew, as the next process would."""

    def __init__(self, folder: Path, text: str = TEXT) -> None:
        import msgspec

        self.msgspec = msgspec
        self.folder = folder
        self.clock = ManualClock(step_s=0.001)
        self.journal = MemoryJournal()
        self.target = MemoryTarget()
        self.messages: list[Message] = []
        self.secrets: dict[str, str] = {}
        self.config = parse_config(text)
        self.restart()

    def restart(self, **changes: Any) -> None:
        if hasattr(self, "deployments"):
            self.deployments.driver.let_go()  # The kernel does it for a process that ends.
        self.releases = Releases(journal=self.journal, folder=self.folder / "releases", clock=self.clock)
        self.gates = EnvironmentGates(
            config=self.config, journal=self.journal, releases=self.releases, clock=self.clock
        )
        parts: dict[str, Any] = {
            "config": self.config,
            "journal": self.journal,
            "releases": self.releases,
            "gates": self.gates,
            "clock": self.clock,
            "state_dir": self.folder,
            "secrets": lambda environment: self.secrets,
            "notify": self.messages.append,
            "targets": {MemoryTargetConfig: self.target},
        }
        self.deployments = Deployments(**{**parts, **changes})

    def release(
        self, version: str = "1.0", *, run_id: str = "", commit: str = "c" * 40, ref: str = "refs/heads/main"
    ) -> Release:
        """A release that the journal knows; nothing is built."""
        letter = format(sum(version.encode()) % 16, "x")
        release = Release(
            id=f"r-{version}",
            version=version,
            commit=commit,
            digest="sha256:" + letter * 64,
            created_by="eve",
            created_at=self.clock.now(),
            run_id=run_id,
            ref=ref,
        )
        record = NewRecord("ReleaseRegistered", self.msgspec.json.encode(ReleaseRegistered(release=release)))
        self.journal.append(f"release/{release.id}", [record], at=release.created_at, expected_version=None)
        return release

    def run(self, run_id: str = "7", *, ref: str = "refs/heads/main", **changes: Any) -> None:
        """A run's first event."""
        values: dict[str, Any] = {
            "run_id": run_id,
            "number": 1,
            "repository": "o/r",
            "repository_root": "/",
            "commit": "c" * 40,
            "workflow_path": "ci.yml",
            "workflow_sha256": "w1",
            "sources": {},
            "event_name": "push",
            "actor": "eve",
            "github": {"ref": ref, "sha": "c" * 40, "actor": "eve"},
        }
        self.say(RunCreated(**{**values, **changes}), run_id=run_id)

    def say(self, *events: RunEvent, run_id: str = "7") -> None:
        records = [encode(event) for event in events]  # type: ignore[arg-type]
        self.journal.append(run_stream(run_id), records, at=self.clock.now(), expected_version=None)

    def start(self, release: Release, environment: str = "staging", **origin: Any) -> str:
        asked = Origin(**{"by": "eve", **origin})
        return self.deployments.request(environment, release, asked)

    def follow(self, environment: str, id_: str) -> Deployment:
        """Drive it as far as it comes without anybody's help."""
        return self.deployments.follow(environment, id_, Cancellation(), waiting=lambda *_: False)

    def deploy(self, release: Release, environment: str = "staging", **origin: Any) -> Deployment:
        return self.follow(environment, self.start(release, environment, **origin))

    def approve(self, found: Deployment, by: str = "ann", *, approved: bool = True) -> Deployment:
        assert found.gate is not None
        name = found.request.environment
        self.deployments.review(
            name, found.id, by=by, approved=approved, comment="", binding=found.gate.binding
        )
        return self.follow(name, found.id)

    def rollback(self, environment: str = "staging", **options: Any) -> Deployment:
        id_ = self.deployments.request_rollback(environment, Origin(by="eve"), **options)
        return self.follow(environment, id_)

    def kinds(self) -> list[str]:
        return [message.kind for message in self.messages]


class Killed(BaseException):
    """Stands for `kill -9`: nothing may catch it."""


class Dying(MemoryTarget):
    """A target whose caller is killed around one effect: before it, or before its outcome is known."""

    def __init__(self, effect: str, *, after: bool, fail: Mapping[str, str] | None = None) -> None:
        super().__init__(fail=fail)
        self.effect, self.after, self.armed = effect, after, True

    def _once(self, effect: str, *arguments: Any) -> EffectOutcome:
        dies = self.armed and effect == self.effect
        if dies and not self.after:
            self.armed = False
            raise Killed
        outcome = super()._once(effect, *arguments)
        if dies:
            self.armed = False
            raise Killed
        return outcome
