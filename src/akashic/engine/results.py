"""Conclusions: how those of instances, jobs and calls combine, and how contexts show them.

Source: GitHub's "Contexts" (`needs.<job_id>.result`) and "Evaluate expressions" (status functions).
"""

from __future__ import annotations

from collections.abc import Iterable

from akashic.engine.requests import Conclusion

FAILURES: frozenset[Conclusion] = frozenset({"failure", "timed_out", "interrupted"})
"""What makes a run fail."""

_SHOWN: dict[Conclusion, str] = {
    "success": "success",
    "failure": "failure",
    "cancelled": "cancelled",
    "skipped": "skipped",
    # GitHub cancels a job at its own timeout.
    "timed_out": "cancelled",
    "interrupted": "failure",
}


def shown(conclusion: Conclusion) -> str:
    """The conclusion of a job as `needs.<job>.result` shows it: one of GitHub's four."""
    return _SHOWN[conclusion]


def combined(conclusions: Iterable[Conclusion]) -> Conclusion:
    """The conclusion of several as one: the worst; skipped only when all are. Success for none."""
    seen = set(conclusions)
    for worst in ("failure", "timed_out", "interrupted", "cancelled"):
        if worst in seen:
            return worst
    return "skipped" if seen == {"skipped"} else "success"
