"""Whole jobs, from the first step to the last."""

from __future__ import annotations

from typing import Any


def test_a_run_step_prints_and_the_job_succeeds(house: Any) -> None:
    outcome = house.run("- run: echo hello $((1+1))")
    assert outcome.result.conclusion == "success"
    assert "hello 2" in outcome.log.splitlines()
    assert outcome.names == ["Set up job", "Run echo hello $((1+1))", "Complete job"]
