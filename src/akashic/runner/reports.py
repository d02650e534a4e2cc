"""Test results, coverage and findings that steps left in the workspace: recognised, summarised, kept."""

from __future__ import annotations

from collections.abc import Callable

from akashic.runner.state import JobState


def collect_reports(state: JobState, say: Callable[[str], None]) -> None:
    """Look at the files written since the job began."""
