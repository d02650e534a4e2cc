"""What waits for a review, and how one is written down."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from akashic.app.reviews import approve
from akashic.cancellation import Cancellation
from akashic.delivery.review import Waiting, review_waiting, waiting
from akashic.driver.locks import FileRunLocks
from akashic.driver.runs import RunDriver
from akashic.engine.codec import decode, run_stream
from akashic.engine.events import GateOpened, GateReviewed
from akashic.errors import AkashicError, UsageError
from akashic.testing.jobs import ScriptedJobs
from tests.delivery.memory_world import MemoryWorld

PATH = ".github/workflows/ci.yml"
WORKFLOW = """
on: push
jobs:
  deploy:
    environment: production
    runs-on: x
    steps: [{run: echo}]
"""


class Desk:
    """A world whose run 7 waits at the gate of production, in the hands of a driver that lives."""

    def __init__(self, folder: Path) -> None:
        self.world = MemoryWorld(folder)
        self.world.run(workflow_path=PATH, sources={PATH: WORKFLOW}, sequence=4)
        self.cancellation = Cancellation()
        driver = RunDriver(
            journal=self.world.journal,
            job_port=ScriptedJobs(),
            gate_port=self.world.gates,
            clock=self.world.clock,
            locks=FileRunLocks(folder / "locks"),
        )
        self.thread = threading.Thread(target=lambda: driver.drive("7", self.cancellation), daemon=True)
        self.thread.start()
        position = 0
        while not self.waiting():
            self.world.journal.wait(after_position=position, timeout_s=1)
            position = self.world.journal.head()

    def waiting(self) -> list[Waiting]:
        return waiting(self.world.journal, self.world.deployments)

    def review(self, what: Waiting, by: str = "ann", *, approved: bool = True) -> None:
        world = self.world
        review_waiting(
            world.journal, world.deployments, world.clock, what, by=by, approved=approved, comment="why"
        )

    def events(self) -> list[Any]:
        return [decode(record) for record in self.world.journal.read(run_stream("7"))]


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.cancellation.cancel(source="test", reason="over")
    made.thread.join(20)
    assert not made.thread.is_alive()


def test_gates_and_deployments_wait_in_one_list(desk: Desk) -> None:
    found = desk.world.deploy(desk.world.release(), "production")
    gate, deployment = desk.waiting()
    assert (gate.key, gate.run_id, gate.run_sequence, gate.author) == ("deploy", "7", 4, "eve")
    assert (gate.reviewers, gate.approvals_needed) == (("ann", "bob"), 1)
    assert (deployment.deployment, deployment.environment, deployment.author) == (
        found.id,
        "production",
        "eve",
    )


def test_a_review_is_written_with_what_was_seen_and_why(desk: Desk) -> None:
    (one,) = desk.waiting()
    desk.review(one)
    desk.thread.join(20)
    (said,) = [event for event in desk.events() if isinstance(event, GateReviewed)]
    assert said == GateReviewed(key="deploy", by="ann", approved=True, comment="why", binding=one.binding)
    assert desk.waiting() == []
    with pytest.raises(UsageError, match="deploy of run 4 waits no longer"):
        desk.review(one, "bob")


@pytest.mark.parametrize(
    ("by", "why"), [("mallory", "mallory is not a reviewer of production"), ("eve", "eve is not a reviewer")]
)
def test_who_may_not_is_told_and_nothing_is_written(desk: Desk, by: str, why: str) -> None:
    (one,) = desk.waiting()
    with pytest.raises(UsageError, match=why):
        desk.review(one, by)
    assert not any(isinstance(event, GateReviewed) for event in desk.events())


def test_what_has_changed_must_be_looked_at_again(desk: Desk) -> None:
    (one,) = desk.waiting()
    stale = msgspec.structs.replace(one, binding=msgspec.structs.replace(one.binding, commit="d" * 40))
    with pytest.raises(AkashicError, match="look at it again"):
        desk.review(stale)
    assert desk.waiting() == [one]


def test_a_rejection_ends_the_job(desk: Desk) -> None:
    (one,) = desk.waiting()
    desk.review(one, approved=False)
    desk.thread.join(20)
    assert desk.waiting() == []
    assert desk.events()[-1].conclusion == "failure"


def test_a_deployment_is_reviewed_in_the_same_way(desk: Desk) -> None:
    found = desk.world.deploy(desk.world.release(), "production")
    (one,) = [one for one in desk.waiting() if one.deployment]
    desk.review(one, "bob")
    assert desk.world.follow("production", found.id).approved_by == ("bob",)
    with pytest.raises(UsageError, match="does not wait for approval"):
        desk.review(one)


def test_up_tells_at_once_who_may_not_approve(desk: Desk) -> None:
    (one,) = desk.waiting()
    (opened,) = [event for event in desk.events() if isinstance(event, GateOpened)]
    world = desk.world

    def application(user: str) -> Any:
        return SimpleNamespace(
            journal=world.journal, deployments=world.deployments, clock=world.clock, user=user
        )

    with pytest.raises(UsageError, match="mallory is not a reviewer of production"):
        approve(application("mallory"), "7", opened, one.binding, "akashic up --approve")
    assert not any(isinstance(event, GateReviewed) for event in desk.events())
    approve(application("ann"), "7", opened, one.binding, "akashic up --approve")
    desk.thread.join(20)
    assert [event.by for event in desk.events() if isinstance(event, GateReviewed)] == ["ann"]
