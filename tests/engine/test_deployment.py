"""Invariants of deployments, over generated histories with failures and crashes at any point."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from akashic.engine.deployment import HOLDING, TRANSITIONS, EnvironmentState, Status, allowed, apply, fold
from akashic.engine.deployment_codec import decode, encode
from akashic.engine.deployment_decide import ROLLBACK_ATTEMPTS_MAX, LookUp, Perform, Record, decide
from akashic.engine.deployment_events import (
    AnyDeploymentEvent,
    DeploymentApplied,
    DeploymentGateOpened,
    DeploymentGatePassed,
    DeploymentPrepared,
    DeploymentPromoted,
    DeploymentRequested,
    DeploymentReviewed,
    DeploymentRolledBack,
    DeploymentSettled,
    DeploymentVerified,
    EffectForgotten,
    EffectIntended,
    ReleaseRef,
    RollbackFailed,
    RollbackStarted,
)
from akashic.engine.requests import GateBinding

DONE = {
    "prepare": DeploymentPrepared,
    "apply": DeploymentApplied,
    "verify": DeploymentVerified,
    "settle": DeploymentSettled,
    "promote": DeploymentPromoted,
    "rollback": DeploymentRolledBack,
}


def requested(id_: str, number: int = 1, release: str = "r1", **more) -> DeploymentRequested:
    reference = ReleaseRef(id=release, version=release, commit="c" * 40, digest=f"sha256:{release}")
    binding = GateBinding(
        run_id="",
        commit="c" * 40,
        workflow_sha256="manual",
        environment="prod",
        artifact_digest=reference.digest,
    )
    return DeploymentRequested(
        deployment=id_,
        number=number,
        environment="prod",
        kind=more.pop("kind", "deploy"),
        release=reference,
        by="eve",
        binding=binding,
        spec={},
        **more,
    )


class Simulation:
    """Carries commands out with outcomes that a history chooses; a crash is an intent without an outcome."""

    def __init__(self) -> None:
        self.events: list[tuple[AnyDeploymentEvent, float]] = []
        self.state = EnvironmentState(name="prod")
        self.now = 0.0
        self.performed: list[str] = []

    def add(self, event: AnyDeploymentEvent) -> None:
        assert allowed(self.state, event), event
        self.now += 1
        self.events.append((event, self.now))
        self.state = apply(self.state, event, self.now)
        self.check()

    def check(self) -> None:
        holding = [d for d in self.state.deployments.values() if d.status in HOLDING]
        assert len(holding) <= 1
        assert self.state.active == (holding[0].id if holding else "")
        if self.state.current:
            assert self.state.deployments[self.state.current].status is Status.PROMOTED

    def step(self, choice: int) -> bool:
        """Carry out one command; False when there is none. Drivers of several deployments take turns."""
        commands = decide(self.state, self.now)
        for command in commands:
            assert not isinstance(command, Record) or allowed(self.state, command.event), command
        for command in commands[choice // 4 % len(commands) :] if commands else ():
            id_ = command.deployment
            match command:
                case Record(event=event):
                    self.add(event)
                case Perform(effect=effect, key=key):
                    assert key not in self.performed, "an effect was started twice under one key"
                    self.performed.append(key)
                    self.add(EffectIntended(deployment=id_, effect=effect, key=key))
                    if choice % 4 == 0:
                        return True  # the driver dies here
                    self.outcome(effect, id_, failed=choice % 4 == 1)
                case LookUp(effect=effect, key=key):
                    if choice % 3 == 0 or (effect == "rollback" and choice % 3 == 1):
                        self.add(EffectForgotten(deployment=id_, effect=effect, key=key))
                    elif choice % 3 == 1:
                        self.add(RollbackStarted(deployment=id_, reason="unknown"))
                    else:
                        self.outcome(effect, id_, failed=False)
                case _:
                    self.add(DeploymentGatePassed(deployment=id_))
            return True
        return False

    def outcome(self, effect: str, id_: str, *, failed: bool) -> None:
        if not failed:
            self.add(DONE[effect](deployment=id_))
        elif effect == "rollback":
            self.add(RollbackFailed(deployment=id_, reason="no"))
        else:
            self.add(RollbackStarted(deployment=id_, reason="no"))


@settings(max_examples=150, deadline=None)
@given(count=st.integers(1, 4), choices=st.lists(st.integers(0, 11), max_size=60))
def test_every_history_ends_with_one_holder_at_a_time_and_replays_to_the_same_state(count, choices):
    simulation = Simulation()
    for number in range(count):
        simulation.add(requested(f"d{number}", number + 1, f"r{number}"))
    for choice in choices:
        simulation.step(choice)
    for _ in range(200):
        if not simulation.step(2):
            break
    assert all(d.ended for d in simulation.state.deployments.values())
    assert fold("prod", simulation.events) == simulation.state
    started = [d.started_at for d in simulation.state.deployments.values() if d.started_at]
    assert started == sorted(started), "the queue is served in order"


@given(data=st.data())
def test_an_event_that_cannot_happen_changes_nothing(data):
    state = fold("prod", [(requested("d"), 1.0)])
    kinds = list(DONE.values())
    event = data.draw(st.sampled_from(kinds))(deployment=data.draw(st.sampled_from(["d", "unknown"])))
    assert apply(state, event, 2.0) == state


def test_no_transition_leaves_an_end():
    ends = {Status.PROMOTED, Status.ROLLED_BACK, Status.REJECTED, Status.CANCELLED, Status.FAILED}
    assert not [key for key in TRANSITIONS if key[0] in ends]


def test_a_rollback_that_never_succeeds_ends_failed_after_its_attempts():
    simulation = Simulation()
    simulation.add(requested("d"))
    simulation.step(2)
    simulation.step(2)
    simulation.step(1)
    for _ in range(ROLLBACK_ATTEMPTS_MAX):
        simulation.step(1)
    simulation.step(2)
    assert simulation.state.deployments["d"].status is Status.FAILED
    assert "could not be rolled back" in simulation.state.deployments["d"].reason


def promote(simulation: Simulation, event: DeploymentRequested) -> None:
    simulation.add(event)
    while simulation.step(2):
        pass


def test_a_second_rollback_goes_further_back():
    simulation = Simulation()
    for number, release in enumerate(["r1", "r2", "r3"], 1):
        promote(simulation, requested(f"d{number}", number, release))
    back = simulation.state.before_current()
    assert back is not None and back.id == "d2"
    promote(simulation, requested("d4", 4, "r2", kind="rollback", restores="d2"))
    back = simulation.state.before_current()
    assert back is not None and back.id == "d1"


def gate(binding: GateBinding, **more) -> DeploymentGateOpened:
    return DeploymentGateOpened(deployment="d", binding=binding, approvals_needed=1, author="eve", **more)


def waiting(**more) -> tuple[Simulation, GateBinding]:
    simulation = Simulation()
    event = requested("d")
    simulation.add(event)
    simulation.add(gate(event.binding, **more))
    return simulation, event.binding


def test_an_approval_of_something_else_does_not_count():
    simulation, binding = waiting()
    for name in ("commit", "workflow_sha256", "artifact_digest", "environment", "run_id"):
        other = msgspec.structs.replace(binding, **{name: "other"})
        simulation.add(DeploymentReviewed(deployment="d", by="ann", approved=True, binding=other))
        assert decide(simulation.state, 1.0) == ()
    simulation.add(DeploymentReviewed(deployment="d", by="ann", approved=True, binding=binding))
    assert isinstance(decide(simulation.state, 1.0)[0], Record)


def test_the_author_does_not_count_where_that_is_forbidden():
    simulation, binding = waiting(self_review=False)
    simulation.add(DeploymentReviewed(deployment="d", by="Eve", approved=True, binding=binding))
    assert decide(simulation.state, 1.0) == ()


def test_who_is_no_reviewer_does_not_count():
    simulation, binding = waiting(reviewers=("ann",))
    simulation.add(DeploymentReviewed(deployment="d", by="bob", approved=True, binding=binding))
    assert decide(simulation.state, 1.0) == ()


def test_one_reviewer_is_not_two():
    simulation, binding = waiting(reviewers=("ann", "bob"))
    two = msgspec.structs.replace(gate(binding, reviewers=("ann", "bob")), approvals_needed=2)
    simulation.add(two)
    for _ in range(2):
        simulation.add(DeploymentReviewed(deployment="d", by="ann", approved=True, binding=binding))
    assert decide(simulation.state, 1.0) == ()


def test_every_event_survives_the_journal():
    from akashic.journal.protocol import Record as Kept

    event = requested("d")
    new = encode(event)
    kept = Kept(
        position=1,
        stream="environment/prod",
        version=1,
        at=0.0,
        type=new.type,
        data=new.data,
        previous_hash="",
        hash="",
    )
    assert decode(kept) == event
