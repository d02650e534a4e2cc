"""What a plan says of jobs before they run: only what no job has a say in."""

from __future__ import annotations

import pytest

from akashic.app.application import Application
from akashic.app.foresight import IF_IS_FALSE, Foreseen, foresee_all
from akashic.app.selection import Request, no_remote, select
from tests.app.checkout import Checkout

NEEDS = "it needs {}, which is skipped"


def foreseen(
    checkout: Checkout, application: Application, jobs: str, **request: object
) -> dict[str, Foreseen]:
    text = "name: ci\non: [push, workflow_dispatch]\njobs:\n"
    for line in jobs.strip().splitlines():
        text += "  " + line.strip().replace("{", "{runs-on: x, steps: [{run: echo}], ", 1) + "\n"
    checkout.workflow(text)
    asked = Request(**request)  # type: ignore[arg-type]
    selection = select(application, asked, cwd=application.root, remote=no_remote)
    (found,) = foresee_all(application, asked, selection).values()
    return dict(found)


@pytest.mark.parametrize(
    ("condition", "skipped"),
    [
        ("github.event_name == 'push'", ""),
        ("github.event_name == 'release'", IF_IS_FALSE),
        ("${{ github.event_name == 'release' }}", IF_IS_FALSE),
        ("vars.ON == 'yes'", ""),
        ("vars.OFF == 'yes'", IF_IS_FALSE),
        ("failure()", IF_IS_FALSE),
        ("always()", ""),
        ("'false'", ""),
        ("${{ false }}", IF_IS_FALSE),
    ],
)
def test_a_condition_without_needs_is_known(
    checkout: Checkout, application: Application, condition: str, skipped: str
) -> None:
    text = condition.replace("'", "''")
    found = foreseen(checkout, application, f"a: {{if: '{text}'}}", vars={"ON": "yes"})
    assert found["a"].skipped == skipped


def test_what_other_jobs_leave_is_left_open(checkout: Checkout, application: Application) -> None:
    found = foreseen(
        checkout,
        application,
        """
        a: {if: "github.event_name == 'push'"}
        b: {needs: a, if: "needs.a.outputs.x == 'y'"}
        c: {needs: a, if: "failure()"}
        d: {needs: a, if: "github.event_name == 'release'"}
        """,
    )
    assert [job.skipped for job in found.values()] == ["", "", "", IF_IS_FALSE]


def test_what_needs_a_skipped_job_is_skipped_unless_it_asks(
    checkout: Checkout, application: Application
) -> None:
    found = foreseen(
        checkout,
        application,
        """
        late: {needs: [middle]}
        middle: {needs: first}
        first: {if: false}
        anyway: {needs: first, if: "always()"}
        """,
    )
    assert {name: job.skipped for name, job in found.items()} == {
        "first": IF_IS_FALSE,
        "middle": NEEDS.format("first"),
        "late": NEEDS.format("middle"),
        "anyway": "",
    }


def test_matrices_are_named_when_no_job_has_a_say(checkout: Checkout, application: Application) -> None:
    found = foreseen(
        checkout,
        application,
        """
        a: {strategy: {matrix: {x: [1, 2]}}}
        b: {needs: a, strategy: {matrix: {x: "${{ fromJSON(needs.a.outputs.x) }}"}}}
        c: {strategy: {matrix: {x: "${{ fromJSON(vars.XS) }}"}}}
        d: {}
        """,
        vars={"XS": "[3]"},
    )
    assert [job.names for job in found.values()] == [("a (1)", "a (2)"), None, ("c (3)",), ("d",)]


def test_the_user_s_filters_hold(checkout: Checkout, application: Application) -> None:
    from akashic.engine.events import JobFilter

    wanted = JobFilter(jobs=("a",), matrix={"x": ("2",)})
    found = foreseen(
        checkout, application, "a: {strategy: {matrix: {x: [1, 2]}}}\nb: {if: false}", filter=wanted
    )
    assert {name: job.names for name, job in found.items()} == {"a": ("a (2)",)}
