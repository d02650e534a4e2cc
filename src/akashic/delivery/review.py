"""Reviews: what waits for one, and how one is written down, for gates of runs and for deployments alike."""

from __future__ import annotations

import msgspec

from akashic.delivery.service import Deployments
from akashic.driver.ports import Clock
from akashic.engine.codec import decode, encode, run_stream
from akashic.engine.deployment import Deployment
from akashic.engine.events import GateReviewed
from akashic.engine.gates import refusal_of, verdict
from akashic.engine.requests import GateBinding
from akashic.engine.runstate import Gate, RunState
from akashic.engine.state import apply
from akashic.errors import AkashicError, UsageError
from akashic.journal.protocol import Conflict, Journal

RUNS_LOOKED_AT_MAX = 200
ATTEMPTS_MAX = 50


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """Something that waits for a review: the gate of a job (`run_id`, `key`), or a deployment (`found`)."""

    environment: str
    binding: GateBinding
    reviewers: tuple[str, ...]
    approvals_needed: int
    author: str
    since: float = 0.0
    run_id: str = ""
    run_sequence: int = 0
    key: str = ""
    deployment: str = ""
    found: Deployment | None = None


def waiting(journal: Journal, deployments: Deployments) -> list[Waiting]:
    """Everything that waits for a review, the oldest run first, then deployments."""
    found: list[Waiting] = []
    for stream in journal.streams("run/", newest_first=True, streams_max=RUNS_LOOKED_AT_MAX):
        state, _ = _run(journal, stream.removeprefix("run/"))
        if state is None or state.finished:
            continue
        for key, gate in _gates(state).items():
            check = verdict(gate, float("inf"))
            if check.missing and not check.rejected:
                found.append(_of_gate(state, key, gate))
    found.reverse()
    for deployment in deployments.waiting():
        gate_opened = deployment.gate
        assert gate_opened is not None
        found.append(
            Waiting(
                environment=deployment.request.environment,
                binding=gate_opened.binding,
                reviewers=gate_opened.reviewers,
                approvals_needed=gate_opened.approvals_needed,
                author=gate_opened.author,
                since=deployment.requested_at,
                deployment=deployment.id,
                found=deployment,
            )
        )
    return found


def review_waiting(
    journal: Journal,
    deployments: Deployments,
    clock: Clock,
    what: Waiting,
    *,
    by: str,
    approved: bool,
    comment: str,
) -> None:
    """Write a review down. It holds for exactly what `what` showed: raises AkashicError when that has
    changed,
    UsageError when it waits no longer or `by` may not."""
    if what.deployment:
        deployments.review(
            what.environment, what.deployment, by=by, approved=approved, comment=comment, binding=what.binding
        )
        return
    for _ in range(ATTEMPTS_MAX):
        state, version = _run(journal, what.run_id)
        gate = _gates(state).get(what.key) if state is not None and not state.finished else None
        if gate is None:
            raise UsageError(f"{what.key} of run {what.run_sequence or what.run_id} waits no longer")
        event = GateReviewed(key=what.key, by=by, approved=approved, comment=comment, binding=what.binding)
        refusal = refusal_of(gate, event)
        if refusal and gate.binding != what.binding:
            raise AkashicError(f"{refusal}: look at it again")
        if refusal:
            raise UsageError(refusal)
        try:
            journal.append(run_stream(what.run_id), [encode(event)], at=clock.now(), expected_version=version)
        except Conflict:
            continue
        return
    raise AkashicError("the run changes too fast to be reviewed; try again")


def _of_gate(state: RunState, key: str, gate: Gate) -> Waiting:
    return Waiting(
        environment=gate.opened.environment,
        binding=gate.binding,
        reviewers=gate.opened.reviewers,
        approvals_needed=gate.opened.approvals_needed,
        author=gate.opened.author,
        since=state.instances[key].created_at,
        run_id=state.run_id,
        run_sequence=state.created.sequence,
        key=key,
    )


def _run(journal: Journal, run_id: str) -> tuple[RunState | None, int]:
    """A run as the journal has it now, and the stream's version."""
    state: RunState | None = None
    version = 0
    for record in journal.read(run_stream(run_id)):
        state = apply(state, decode(record), record.at)
        version = record.version
    return state, version


def _gates(state: RunState) -> dict[str, Gate]:
    """The gates that are open, by the job instance that waits there."""
    return {
        key: instance.gate
        for key, instance in state.instances.items()
        if instance.gate is not None and not instance.gate.passed
    }
