"""Which workflows an event triggers, and why not the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from akashic.app.application import Application
from akashic.app.history import load_state
from akashic.app.runs import create
from akashic.app.selection import Request, Selection, no_remote, select
from akashic.engine.events import JobFilter
from akashic.errors import AkashicError, UsageError
from akashic.source.position import InvalidInput
from tests.app.checkout import Checkout, on, open_application


def choose(checkout: Checkout, **request: Any) -> Selection:
    application = open_application(checkout)
    return select(application, Request(**request), cwd=checkout.path, remote=no_remote)


def paths(selection: Selection) -> list[str]:
    return [Path(item.loaded.workflow.path).name for item in selection.triggered]


def test_push_triggers_what_is_on_push_and_says_why_not_the_rest(checkout: Checkout) -> None:
    checkout.workflow()
    checkout.workflow(on("{push: {branches: [release]}}"), "release.yml")
    checkout.workflow(
        on("schedule: [{cron: '0 0 * * *'}]").replace("on: schedule:", "on:\n  schedule:"), "x.yml"
    )
    checkout.commit()
    selection = choose(checkout)
    assert selection.event_name == "push"
    assert paths(selection) == ["ci.yml"]
    reasons = dict(selection.passed_over)
    assert "branch main does not match" in reasons[".github/workflows/release.yml"]
    assert "does not run on push" in reasons[".github/workflows/x.yml"]


def test_another_branch_can_stand_in(checkout: Checkout) -> None:
    checkout.workflow(on("{push: {branches: [release]}}"))
    checkout.commit()
    assert paths(choose(checkout)) == []
    selection = choose(checkout, branch="release")
    assert paths(selection) == ["ci.yml"]
    assert selection.triggered[0].payload["ref"] == "refs/heads/release"


@pytest.mark.parametrize(
    ("events", "request_", "expected"),
    [
        (["workflow_dispatch"], {}, "workflow_dispatch"),
        (["[workflow_dispatch, push]"], {}, "push"),
        (["workflow_dispatch", "push"], {}, "push"),
        (["[workflow_dispatch, release]"], {}, "workflow_dispatch"),
        (["workflow_call"], {}, "push"),
        (["[workflow_dispatch, release]", "workflow_call"], {}, "workflow_dispatch"),
        (["workflow_dispatch", "release"], {"workflows": ("w0",)}, "workflow_dispatch"),
        (["[workflow_dispatch, release]", "issues"], {"workflows": ("w0",)}, "workflow_dispatch"),
        (["workflow_dispatch", "release"], {"filter": JobFilter(jobs=("j0",))}, "workflow_dispatch"),
    ],
)
def test_the_event_when_none_is_named(
    checkout: Checkout, events: list[str], request_: dict[str, Any], expected: str
) -> None:
    for number, event in enumerate(events):
        checkout.workflow(on(event, f"j{number}"), f"w{number}.yml")
    checkout.commit()
    assert choose(checkout, **request_).event_name == expected


def test_several_workflows_without_push_ask_which_event_is_meant(checkout: Checkout) -> None:
    checkout.workflow(on("workflow_dispatch"), "a.yml")
    checkout.workflow(on("[workflow_dispatch, release]"), "b.yml")
    checkout.commit()
    with pytest.raises(UsageError, match=r"b\.yml runs on workflow_dispatch, release") as caught:
        choose(checkout)
    assert "akashic run EVENT" in caught.value.hint


def test_no_workflows_is_said_as_such(checkout: Checkout) -> None:
    checkout.commit()
    with pytest.raises(UsageError, match="no workflow files"):
        choose(checkout)


def test_an_unknown_job_is_refused_with_the_nearest_name(checkout: Checkout) -> None:
    checkout.workflow()
    checkout.commit()
    with pytest.raises(UsageError, match="no job `biuld`") as caught:
        choose(checkout, filter=JobFilter(jobs=("biuld",)))
    assert "build" in caught.value.hint


def test_a_job_chooses_the_workflows_that_have_it(checkout: Checkout) -> None:
    checkout.workflow(on("push", "one"), "a.yml")
    checkout.workflow(on("push", "two"), "b.yml")
    checkout.commit()
    assert paths(choose(checkout, filter=JobFilter(jobs=("two",)))) == ["b.yml"]


def test_path_filters_look_at_the_commit_and_the_working_tree(checkout: Checkout) -> None:
    checkout.workflow(on("{push: {paths: ['src/**']}}"))
    checkout.write("docs/a.md", "")
    checkout.commit()
    checkout.write("docs/b.md", "")
    checkout.commit()
    assert paths(choose(checkout)) == []
    checkout.write("src/new.py", "")
    assert paths(choose(checkout)) == ["ci.yml"]
    assert paths(choose(checkout, changed=("docs/x",))) == []
    assert paths(choose(checkout, changed=("docs/x",), ignore_paths=True)) == ["ci.yml"]


DISPATCH = """
    on:
      workflow_dispatch:
        inputs:
          level: {type: choice, options: [low, high], default: low}
          dry-run: {type: boolean}
    jobs:
      build: {runs-on: x, steps: [{run: echo}]}
"""


def test_inputs_come_from_the_command_line_over_those_of_the_payload(checkout: Checkout) -> None:
    checkout.workflow(DISPATCH)
    checkout.commit()
    payload = {"inputs": {"level": "high", "dry-run": "true"}}
    assert choose(checkout).triggered[0].inputs == {"level": "low", "dry-run": False}
    assert choose(checkout, payload=payload).triggered[0].inputs == {"level": "high", "dry-run": True}
    chosen = choose(checkout, payload=payload, inputs={"level": "low"}).triggered[0]
    assert chosen.inputs == {"level": "low", "dry-run": True}
    # GitHub: the same in github.event.inputs, but Booleans are strings there.
    assert chosen.payload["inputs"] == {"level": "low", "dry-run": "true"}


def test_a_schedule_is_the_one_that_was_given_or_the_first(checkout: Checkout) -> None:
    checkout.workflow(on("{schedule: [{cron: '0 5 * * 1-5'}, {cron: '30 2 * * *'}]}"))
    checkout.commit()

    def fired(payload: dict[str, Any]) -> Any:
        return choose(checkout, event_name="schedule", payload=payload).triggered[0].payload["schedule"]

    assert fired({}) == "0 5 * * 1-5"
    assert fired({"schedule": "30 2 * * *"}) == "30 2 * * *"


@pytest.mark.parametrize("inputs", [{"level": "medium"}, {"nonsense": "1"}, {"dry-run": "maybe"}])
def test_inputs_that_do_not_fit_are_refused(checkout: Checkout, inputs: dict[str, str]) -> None:
    checkout.workflow(DISPATCH)
    checkout.commit()
    with pytest.raises(InvalidInput):
        choose(checkout, inputs=inputs)


@given(
    st.sampled_from(["push", "pull_request", "workflow_dispatch", "release", "workflow_run", "schedule"]),
    st.dictionaries(
        st.sampled_from(["ref", "action", "pull_request", "inputs", "workflow_run", "schedule", "deleted"]),
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=5)
        | st.lists(st.integers(), max_size=2)
        | st.dictionaries(
            st.sampled_from(["base", "head", "name", "ref", "level"]),
            st.none() | st.integers() | st.text(max_size=5) | st.dictionaries(st.just("ref"), st.integers()),
        ),
    ),
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_payload_selects_or_is_refused(
    application: Application, event: str, payload: dict[str, Any]
) -> None:
    request = Request(event_name=event, payload=payload)
    try:
        selection = select(application, request, cwd=application.root, remote=no_remote)
    except UsageError:
        return
    for item in selection.triggered:
        run_id = create(application, request, selection, item)
        assert load_state(application, run_id).created.event_name == event


def test_a_remote_workflow_is_never_fetched_where_none_may_be() -> None:
    with pytest.raises(AkashicError, match="another repository"):
        no_remote("a/b/.github/workflows/c.yml@v1")
