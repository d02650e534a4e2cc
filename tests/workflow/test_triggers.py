"""Which events start a workflow, and with which inputs."""

from typing import Any

import pytest

from akashic.workflow.parse import parse_workflow
from akashic.workflow.triggers import TriggerEvent, match

JOBS = "\njobs: {a: {runs-on: x, steps: [{run: x}]}}\n"


def matched(on: str, **event: Any) -> bool:
    result = match(parse_workflow(f"on: {on}{JOBS}", "w.yml"), TriggerEvent(**event))
    assert result.reason
    return result.matched


@pytest.mark.parametrize(
    ("on", "event", "expected"),
    [
        ("push", {"name": "push", "ref": "refs/heads/x"}, True),
        ("push", {"name": "pull_request"}, False),
        ("push", {"name": "push", "ref": "refs/heads/x", "deleted": True}, False),
        ("[push, fork]", {"name": "fork"}, True),
        ("{push: {branches: [main]}}", {"name": "push", "ref": "refs/heads/main"}, True),
        ("{push: {branches: [main]}}", {"name": "push", "ref": "refs/heads/x"}, False),
        ("{push: {branches: [main]}}", {"name": "push", "ref": "refs/tags/main"}, False),
        ("{push: {tags: [v*]}}", {"name": "push", "ref": "refs/tags/v1"}, True),
        ("{push: {tags: [v*]}}", {"name": "push", "ref": "refs/heads/v1"}, False),
        ("{push: {branches-ignore: [x]}}", {"name": "push", "ref": "refs/heads/x"}, False),
        ("{push: {tags-ignore: [v*]}}", {"name": "push", "ref": "refs/tags/v1"}, False),
        ("{push: {paths: ['**.js']}}", {"name": "push", "changed_files": ("a.js", "b")}, True),
        ("{push: {paths: ['**.js']}}", {"name": "push", "changed_files": ("b",)}, False),
        ("{push: {paths: ['**.js']}}", {"name": "push", "changed_files": None}, True),
        ("{push: {paths-ignore: [docs/**]}}", {"name": "push", "changed_files": ("docs/a",)}, False),
        ("{push: {paths-ignore: [docs/**]}}", {"name": "push", "changed_files": ("docs/a", "b")}, True),
        ("pull_request", {"name": "pull_request", "action": "opened"}, True),
        ("pull_request", {"name": "pull_request", "action": "closed"}, False),
        ("{pull_request: {types: [closed]}}", {"name": "pull_request", "action": "closed"}, True),
        ("{pull_request: {branches: [main]}}", {"name": "pull_request", "base_ref": "main"}, True),
        ("{pull_request: {branches: [main]}}", {"name": "pull_request", "base_ref": "x"}, False),
        ("issues", {"name": "issues", "action": "labeled"}, True),
        ("{repository_dispatch: {types: [go]}}", {"name": "repository_dispatch", "action": "go"}, True),
        ("{repository_dispatch: {types: [go]}}", {"name": "repository_dispatch", "action": "no"}, False),
        ("{schedule: [{cron: '1 2 * * *'}]}", {"name": "schedule", "cron": "1 2 * * *"}, True),
        ("{schedule: [{cron: '1 2 * * *'}]}", {"name": "schedule", "cron": "2 2 * * *"}, False),
        ("{workflow_run: {workflows: [CI]}}", {"name": "workflow_run", "workflow": "CI"}, True),
        ("{workflow_run: {workflows: [CI]}}", {"name": "workflow_run", "workflow": "CD"}, False),
    ],
)
def test_an_event_starts_a_workflow_or_says_why_not(on: str, event: dict[str, Any], expected: bool) -> None:
    assert matched(on, **event) is expected
