"""`$/path` names an action of the repository whose file says so."""

from akashic.workflow.action import parse_action
from akashic.workflow.own_actions import of_called_workflow, with_repository
from akashic.workflow.parse import parse_workflow

WORKFLOW = """
on: workflow_call
jobs:
  a:
    runs-on: x
    steps:
      - uses: $/actions/one
      - uses: ./actions/two
      - parallel: [{uses: $/three}]
"""


def test_in_a_called_workflow_of_another_repository_it_is_of_that_repository() -> None:
    source = "octo/shared/.github/workflows/w.yml@v1"
    steps = of_called_workflow(parse_workflow(WORKFLOW, source), source).jobs["a"].steps
    assert [step.uses for step in steps] == ["octo/shared/actions/one@v1", "./actions/two", None]
    assert steps[2].parallel is not None and steps[2].parallel[0].uses == "octo/shared/three@v1"


def test_in_a_workflow_of_this_repository_it_stays() -> None:
    source = "./.github/workflows/w@1.yml"
    steps = of_called_workflow(parse_workflow(WORKFLOW, source), source).jobs["a"].steps
    assert steps[0].uses == "$/actions/one"


def test_in_an_action_of_a_repository_it_is_of_that_repository() -> None:
    action = parse_action("{name: a, runs: {using: composite, steps: [{uses: $/b}]}}", "action.yml")
    assert with_repository(action.runs.steps, "o/r", "v2")[0].uses == "o/r/b@v2"
