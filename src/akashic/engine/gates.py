"""Whether an environment's protection rules hold for a job instance.

An approval counts only for the binding that the reviewer saw, which must be the gate's binding now: what runs
is what was approved. Source of the rules: GitHub's "Deployments and environments" (required reviewers, wait
timer, prevent self-review).
"""

from __future__ import annotations

import msgspec

from akashic.engine.events import GateReviewed
from akashic.engine.runstate import Gate


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a gate says at one moment: `rejected` holds the sentence of a rejection, `wake_at` is when the
    wait timer ends (0: it is no reason to wait), `missing` counts the approvals that are still needed."""

    passes: bool
    rejected: str = ""
    missing: int = 0
    wake_at: float = 0.0
    approved_by: tuple[str, ...] = ()


def verdict(gate: Gate, now: float) -> Verdict:
    """What the gate says now."""
    approvals: dict[str, str] = {}
    for review in gate.reviews:
        if not counts(gate, review):
            continue
        if not review.approved:
            comment = f": {review.comment}" if review.comment else ""
            return Verdict(passes=False, rejected=f"rejected by {review.by}{comment}")
        approvals.setdefault(review.by.casefold(), review.by)
    missing = max(0, gate.opened.approvals_needed - len(approvals))
    wake_at = gate.opened.wait_until if gate.opened.wait_until > now else 0.0
    return Verdict(
        passes=not missing and not wake_at,
        missing=missing,
        wake_at=wake_at,
        approved_by=tuple(approvals.values()),
    )


def counts(gate: Gate, review: GateReviewed) -> bool:
    """Whether a review is one that the rules ask for, of what would run now."""
    return not refusal_of(gate, review)


def refusal_of(gate: Gate, review: GateReviewed) -> str:
    """Why a review does not count; empty when it does."""
    if review.binding != gate.binding:
        return "what would run has changed since it was reviewed"
    reviewers = {name.casefold() for name in gate.opened.reviewers}
    if reviewers and review.by.casefold() not in reviewers:
        return f"{review.by} is not a reviewer of {gate.opened.environment}"
    is_author = bool(gate.opened.author) and review.by.casefold() == gate.opened.author.casefold()
    if review.approved and is_author and not gate.opened.self_review:
        return f"{review.by} may not approve their own run"
    return ""


def needs_nothing(gate: Gate) -> bool:
    """Whether the environment has no rule that somebody or something must meet."""
    return not gate.opened.approvals_needed and not gate.opened.wait_until
