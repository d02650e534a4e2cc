"""GitHub's documentation page by page: each line is one documented rule and what it gives."""

from typing import Any

import pytest

from akashic.source.position import InvalidInput
from akashic.workflow.contexts import AVAILABILITY
from akashic.workflow.events import EVENTS
from akashic.workflow.expressions import Scope, Status, condition, evaluate
from akashic.workflow.parse import parse_workflow

CONTEXTS: dict[str, Any] = {
    "github": {"ref": "refs/heads/main", "event": {"issue": {"labels": [{"name": "bug"}, {"name": "x"}]}}},
    "env": {"continue": "true", "time": "3"},
    "vegetables": {"scallions": {"colors": ["green", "white"], "ediblePortions": ["roots", "stalks"]}},
    "fruits": [{"name": "apple", "quantity": 1}, {"name": "orange", "quantity": 2}],
}

EXPRESSIONS = [
    # Literals.
    ("null", None),
    ("false", False),
    ("711", 711),
    ("-9.2", -9.2),
    ("0xff", 255),
    ("-2.99e-2", -0.0299),
    ("'Mona the Octocat'", "Mona the Octocat"),
    ("'It''s open source!'", "It's open source!"),
    # Operators: loose equality, case of strings ignored.
    ("null == 0", True),
    ("true == 1", True),
    ("'' == 0", True),
    ("'5' == 5", True),
    ("'x' == 0", False),
    ("'A' == 'a'", True),
    ("1 < 2 && 2 >= 2", True),
    ("null || 'default'", "default"),
    ("github.ref == 'refs/heads/main' && 'value_for_main_branch' || 'other'", "value_for_main_branch"),
    # Functions.
    ("contains('Hello world', 'llo')", True),
    ("contains(github.event.issue.labels.*.name, 'bug')", True),
    ("contains(fromJSON('[\"push\", \"pull_request\"]'), 'push')", True),
    ("startsWith('Hello world', 'He')", True),
    ("endsWith('Hello world', 'ld')", True),
    ("format('Hello {0} {1} {2}', 'Mona', 'the', 'Octocat')", "Hello Mona the Octocat"),
    ("format('{{Hello {0}}}', 'Mona')", "{Hello Mona}"),
    ("join(github.event.issue.labels.*.name, ', ')", "bug, x"),
    ("toJSON('x')", '"x"'),
    ("fromJSON(env.continue)", True),
    ("fromJSON(env.time)", 3),
    ("case(github.ref == 'x', 1, github.ref == 'refs/heads/main', 2, 3)", 2),
    # Object filters.
    ("fruits.*.name", ["apple", "orange"]),
    ("vegetables.*.ediblePortions", [["roots", "stalks"]]),
]


@pytest.mark.parametrize(("text", "value"), EXPRESSIONS)
def test_evaluate_expressions_in_workflows_and_actions(text: str, value: Any) -> None:
    result = evaluate(text, Scope(contexts=CONTEXTS))
    assert result == value and isinstance(result, bool) == isinstance(value, bool)


@pytest.mark.parametrize(
    ("text", "status", "holds"),
    [
        ("success()", Status(), True),
        ("success()", Status(success=False, failure=True), False),
        ("always()", Status(success=False, cancelled=True), True),
        ("cancelled()", Status(success=False, cancelled=True), True),
        ("failure()", Status(success=False, failure=True), True),
        ("failure() && github.ref == 'x'", Status(success=False, failure=True), False),
        ("github.ref != 'x'", Status(success=False, failure=True), False),
    ],
)
def test_status_check_functions(text: str, status: Status, holds: bool) -> None:
    assert condition(text, Scope(contexts=CONTEXTS, status=status)) is holds


@pytest.mark.parametrize(
    ("key", "available", "missing"),
    [
        ("run-name", "github inputs vars", "secrets env"),
        ("concurrency", "github inputs vars", "secrets needs"),
        ("env", "github secrets inputs vars", "env matrix"),
        ("jobs.<job_id>.if", "github needs vars inputs", "secrets matrix env"),
        ("jobs.<job_id>.runs-on", "github needs strategy matrix vars inputs", "env secrets runner"),
        ("jobs.<job_id>.env", "github needs strategy matrix vars secrets inputs", "env steps"),
        ("jobs.<job_id>.environment.url", "github needs matrix job runner env vars steps inputs", "secrets"),
        ("jobs.<job_id>.strategy", "github needs vars inputs", "matrix strategy"),
        ("jobs.<job_id>.steps.if", "github needs matrix job runner env vars steps inputs", "secrets"),
        ("jobs.<job_id>.steps.run", "github needs matrix job runner env vars secrets steps inputs", "jobs"),
        ("jobs.<job_id>.with.<with_id>", "github needs strategy matrix inputs vars", "secrets env"),
        ("on.workflow_call.outputs.<output_id>.value", "github jobs vars inputs", "needs"),
    ],
)
def test_context_availability(key: str, available: str, missing: str) -> None:
    contexts = AVAILABILITY[key].contexts
    assert set(available.split()) <= contexts and contexts.isdisjoint(missing.split())


@pytest.mark.parametrize(
    ("event", "types"),
    [
        ("branch_protection_rule", "created edited deleted"),
        ("check_run", "created rerequested completed requested_action"),
        ("label", "created edited deleted"),
        ("milestone", "created closed opened edited deleted"),
        ("pull_request_review", "submitted edited dismissed"),
        ("registry_package", "published updated"),
        ("release", "published unpublished created edited deleted prereleased released"),
        ("watch", "started"),
        ("workflow_run", "completed requested in_progress"),
    ],
)
def test_events_that_trigger_workflows(event: str, types: str) -> None:
    assert set(EVENTS[event].types or ()) == set(types.split())


def test_pull_requests_run_by_default_when_opened_synchronized_or_reopened() -> None:
    assert EVENTS["pull_request"].defaults == ("opened", "synchronize", "reopened")


JOB = "jobs: {a: {runs-on: x, steps: [{run: x}]}}\n"


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("on: push\n" + JOB, True),
        ("on: [push, fork]\n" + JOB, True),
        ("on: {push: , issues: {types: [opened]}}\n" + JOB, True),
        ("on: {push: {paths: ['**'], tags: [v1], branches: [x]}}\n" + JOB, True),
        ("on: {push: {paths: ['**'], paths-ignore: [x]}}\n" + JOB, False),
        ("on: {schedule: [{cron: '30 5 * * 1,3'}]}\n" + JOB, True),
        ("on: push\npermissions: {}\n" + JOB, True),
        ("on: push\npermissions: read-all\n" + JOB, True),
        ("on: push\npermissions: admin\n" + JOB, False),
        ("on: push\ndefaults: {run: {shell: bash}}\n" + JOB, True),
        ("on: push\ndefaults: {shell: bash}\n" + JOB, False),
        ("on: push\njobs: {a-b_1: {runs-on: x, steps: [{run: x}]}}\n", True),
        ("on: push\njobs: {'-a': {runs-on: x, steps: [{run: x}]}}\n", False),
        ("on: push\njobs: {a: {runs-on: [self-hosted, linux], steps: [{run: x}]}}\n", True),
        ("on: push\njobs: {a: {runs-on: {group: g, labels: l}, steps: [{run: x}]}}\n", True),
        ("on: push\njobs: {a: {runs-on: {grup: g}, steps: [{run: x}]}}\n", False),
        ("on: push\njobs: {a: {runs-on: x, environment: prod, steps: [{run: x}]}}\n", True),
        ("on: push\njobs: {a: {uses: o/r/.github/workflows/x.yml@v1, secrets: inherit}}\n", True),
        ("on: push\njobs: {a: {uses: ./.github/workflows/x.yml@v1}}\n", False),
        ("on: push\njobs: {a: {uses: o/r/.github/workflows/x.yml}}\n", False),
    ],
)
def test_workflow_syntax(text: str, valid: bool) -> None:
    try:
        parse_workflow(text, "w.yml")
    except InvalidInput:
        assert not valid
    else:
        assert valid
