# ruff: noqa: E501 - tables are easier to read with one case a line
"""A workflow file becomes a model, or every mistake in it is told."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from akashic.source.position import InvalidInput
from akashic.workflow.model import Workflow
from akashic.workflow.parse import parse_workflow

HEAD = "on: push\njobs:\n  a:\n    runs-on: x\n"
STEPS = "    steps: [{run: x}]\n"


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        parse_workflow(text, "w.yml")
    return [
        f"{found.position.line}:{found.position.column} {found.message} | {found.hint}"
        for found in caught.value.problems
    ]


FULL = """
name: Full
run-name: by ${{ github.actor }}
on:
  push: {branches: [main, 'rel/**'], tags: ['v*'], paths-ignore: ['docs/**']}
  pull_request: {types: [opened], branches-ignore: [x]}
  schedule: [{cron: '*/15 2-4 * jan mon,FRI', timezone: Europe/Berlin}]
  workflow_dispatch:
    inputs:
      env: {type: choice, options: [a, b], default: b, required: true}
      n: {type: number, default: 3}
      who: {type: environment}
  workflow_call:
    inputs: {x: {type: string, default: '${{ github.ref }}'}}
    outputs: {o: {value: '${{ jobs.b.outputs.o }}'}}
    secrets: {s: {required: true}, t: }
  workflow_run: {workflows: [CI], types: completed}
permissions: {contents: read, id-token: write}
env: {A: 1, B: '${{ vars.b }}'}
defaults: {run: {shell: bash, working-directory: x}}
concurrency: {group: '${{ github.ref }}', cancel-in-progress: true}
jobs:
  b:
    name: B ${{ matrix.os }}
    runs-on: {group: g, labels: [self-hosted, '${{ matrix.os }}']}
    permissions: read-all
    environment: {name: prod, url: 'https://${{ steps.s.outputs.u }}', deployment: false}
    concurrency: one
    outputs: {o: '${{ steps.s.outputs.o }}'}
    env: {S: '${{ secrets.s }}'}
    strategy: {fail-fast: false, max-parallel: 2, matrix: {os: [a, b], include: [{os: c}]}}
    timeout-minutes: 5
    continue-on-error: ${{ matrix.os == 'c' }}
    container: {image: node, env: {A: b}, ports: [80], volumes: ['a:/b'], options: --cpus 1, credentials: {username: u, password: '${{ secrets.p }}'}}
    services:
      db: {image: postgres, ports: ['5432:5432'], options: --health-cmd x, command: a, entrypoint: b}
      cache: redis
    steps:
      - {uses: actions/checkout@v4, with: {path: x}, if: "!cancelled()", name: Get, env: {X: y}}
      - {id: s, run: 'echo ${{ env.A }}', shell: bash, working-directory: y, continue-on-error: true, timeout-minutes: 1}
      - {id: bg, run: x, background: true}
      - {wait: [bg]}
      - {wait-all: }
      - {cancel: bg}
      - parallel: [{run: a}, {uses: ./local}]
  c:
    needs: [b]
    if: always() && needs.b.result == 'success'
    uses: ./.github/workflows/x.yml
    with: {a: 1}
    secrets: inherit
  d:
    needs: b
    uses: o/r/.github/workflows/x.yml@v1
    secrets: {k: '${{ secrets.k }}'}
    strategy: {matrix: '${{ fromJSON(needs.b.outputs.o) }}'}
"""


def test_every_key_is_read() -> None:
    workflow = parse_workflow(FULL, "w.yml")
    assert workflow.title == "Full"
    assert [trigger.event for trigger in workflow.triggers][:3] == ["push", "pull_request", "schedule"]
    push, _, schedule, dispatch, call, run = workflow.triggers
    assert push.filters.branches == ("main", "rel/**") and push.filters.paths_ignore == ("docs/**",)
    assert schedule.crons == ("*/15 2-4 * jan mon,FRI",) and schedule.timezones == ("Europe/Berlin",)
    assert [(given.name, given.type, given.required) for given in dispatch.inputs] == [
        ("env", "choice", True),
        ("n", "number", False),
        ("who", "environment", False),
    ]
    assert call.outputs[0].name == "o" and [secret.required for secret in call.secrets] == [True, False]
    assert run.workflows == ("CI",) and run.types == ("completed",)
    job = workflow.jobs["b"]
    assert job.environment is not None and job.environment.deployment is not None
    assert job.services is not None and set(job.services.value) == {"db", "cache"}
    assert job.container is not None and job.container.value["ports"] == [80]
    assert [step.index for step in job.steps] == [0, 1, 2, 3, 4, 5, 6]
    assert job.steps[3].wait == ("bg",) and job.steps[4].wait_all and job.steps[5].cancel == "bg"
    parallel = job.steps[6].parallel
    assert parallel is not None and [(step.index, step.background) for step in parallel] == [
        (7, True),
        (8, True),
    ]
    assert workflow.jobs["c"].secrets == "inherit" and workflow.jobs["c"].needs == ("b",)
    assert workflow.jobs["d"].strategy is not None


def test_a_workflow_survives_json() -> None:
    workflow = parse_workflow(FULL, "w.yml")
    assert msgspec.json.decode(msgspec.json.encode(workflow), type=Workflow) == workflow


def test_all_mistakes_are_told_at_once_in_file_order() -> None:
    found = problems("on: pusj\nnam: x\njobs:\n  1a:\n    runs-on: x\n    steps: [{rum: x}]\n")
    assert [line.split(" ", 1)[0] for line in found] == ["1:5", "2:1", "4:3", "6:13", "6:14"]
    assert "did you mean `push`?" in found[0] and "did you mean `name`?" in found[1]
    assert "did you mean `run`?" in found[4]


def test_a_circle_of_needs_is_spelled_out() -> None:
    text = "on: push\njobs:\n"
    for name, need in (("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")):
        text += f"  {name}: {{needs: {need}, runs-on: x, steps: [{{run: x}}]}}\n"
    assert "a → b → c → a" in problems(text)[0]


def test_a_long_chain_of_needs_is_no_problem() -> None:
    text = "on: push\njobs:\n  j0: {runs-on: x, steps: [{run: x}]}\n"
    for number in range(1, 2_000):
        text += f"  j{number}: {{needs: j{number - 1}, runs-on: x, steps: [{{run: x}}]}}\n"
    assert len(parse_workflow(text, "w.yml").jobs) == 2_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the workflow is empty"),
        ("[]", "a workflow must be a mapping, not a list"),
        ("on: push\n", "the workflow needs `jobs`"),
        ("jobs: {}", "the workflow needs `on`"),
        ("on: push\njobs: {}\n", "at least one job"),
        ("on: push\njobs:\n  a:\n    steps: [{run: x}]\n", "the job `a` needs `runs-on`"),
        (HEAD, "the job `a` needs `steps`"),
        (HEAD + "    steps: []\n", "at least one step"),
        (HEAD + "    steps: [{name: x}]\n", "a step needs `run` or `uses`"),
        (HEAD + "    steps: [{run: x, uses: a/b@c}]\n", "cannot have both `run` and `uses`"),
        (HEAD + "    steps: [{run: x, with: {a: b}}]\n", "`with` is not allowed in a step with `run`"),
        (HEAD + "    steps: [{uses: a/b@c, shell: sh}]\n", "`shell` is not allowed in a step with `uses`"),
        (HEAD + "    steps: [{uses: checkout}]\n", "expected owner/repo@ref"),
        (HEAD + "    steps: [{uses: 'a/b@${{ github.ref }}'}]\n", "an expression is not allowed in `uses`"),
        (HEAD + "    steps: [{id: 1x, run: x}]\n", "the step id `1x` is not valid"),
        (HEAD + "    steps: [{id: x, run: x}, {id: X, run: x}]\n", "the step id `X` is used twice"),
        (HEAD + "    steps: [{run: x, if: 'a ='}]\n", "unexpected symbol"),
        (HEAD + "    steps: [{run: '${{ x'}]\n", "the expression is not closed"),
        (HEAD + "    steps: [{run: x, if: secrets.a}]\n", "the context `secrets` is not available here"),
        (HEAD + "    steps: [{run: x, timeout-minutes: -1}]\n", "must be a number above 0"),
        (HEAD + "    steps: [{run: x, continue-on-error: maybe}]\n", "must be true or false"),
        (HEAD + "    steps: [{run: x, env: [a]}]\n", "`env` must be a mapping, not a list"),
        (HEAD + "    steps: [{wait: x}]\n", "`wait` names `x`, which is no step before this one"),
        (HEAD + "    steps: [{id: x, run: y}, {cancel: x}]\n", "does not run in the background"),
        (HEAD + "    steps: [{wait-all: 3}]\n", "`wait-all` takes no value"),
        (HEAD + "    steps: [{wait-all: , if: x}]\n", "`if` is not allowed in a step with `wait-all`"),
        (HEAD + "    steps: [{parallel: [{wait-all: }]}]\n", "cannot stand inside `parallel`"),
        (HEAD + "    steps: [{parallel: []}]\n", "at least one step"),
        (HEAD + STEPS + "    needs: b\n", "needs `b`, which is no job of this workflow"),
        (HEAD + STEPS + "    needs: a\n", "a → a"),
        (HEAD + STEPS + "    if: matrix.x\n", "the context `matrix` is not available here"),
        (HEAD + STEPS + "    if: hashFiles('x')\n", "the function `hashFiles` is not available here"),
        (HEAD + STEPS + "    permissions: {content: read}\n", "unknown key `content` in permissions"),
        (HEAD + STEPS + "    permissions: {contents: all}\n", "must be one of none, read, write"),
        (HEAD + STEPS + "    permissions: {id-token: read}\n", "must be one of none, write"),
        (HEAD + STEPS + "    concurrency: {queue: max}\n", "`concurrency` needs `group`"),
        (HEAD + STEPS + "    concurrency: {group: a, queue: big}\n", "`queue` must be `single` or `max`"),
        (
            HEAD + STEPS + "    strategy: {matrix: {a: [1], exclude: [{b: 1}]}}\n",
            "not a variable of the matrix",
        ),
        (HEAD + STEPS + "    environment: {url: x}\n", "needs `name`"),
        (HEAD + STEPS + "    container: {ports: [1]}\n", "the container needs `image`"),
        (HEAD + STEPS + "    services: {db: {imag: x}}\n", "unknown key `imag` in the service `db`"),
        ("on: push\njobs:\n  a: {uses: ./x.yml}\n", "expected ./.github/workflows/FILE.yml"),
        ("on: push\njobs:\n  a: {uses: ./.github/workflows/x.yml, steps: []}\n", "`steps` is not allowed"),
        ("on: push\njobs:\n  a: {runs-on: x, steps: [{run: x}], with: {}}\n", "needs `uses`"),
        ("on: {push: {branches: [a], branches-ignore: [b]}}\n", "cannot both filter"),
        ("on: {push: {branches: ['!a']}}\n", "only patterns that start with !"),
        ("on: {push: {branches: ['+a']}}\n", "has no character before it"),
        ("on: {issues: {branches: [a]}}\n", "`branches` cannot filter the event `issues`"),
        ("on: {issues: {types: [open]}}\n", "not an activity type"),
        ("on: schedule\n", "needs a list"),
        ("on: {schedule: [{cron: '* * * *'}]}\n", "five fields"),
        ("on: {schedule: [{cron: '* 24 * * *'}]}\n", "not between 0 and 23"),
        ("on: {workflow_run: {types: [completed]}}\n", "needs `workflows`"),
        ("on: {workflow_dispatch: {inputs: {a: {type: choice}}}}\n", "needs `options`"),
        ("on: {workflow_dispatch: {inputs: {a: {type: bool}}}}\n", "must be one of string, boolean"),
        ("on: {workflow_dispatch: {inputs: {a: {type: boolean, default: x}}}}\n", "must be true or false"),
        ("on: {workflow_call: {inputs: {a: {}}}}\n", "needs `type`"),
        ("on: {workflow_call: {outputs: {a: {}}}}\n", "needs `value`"),
        ("on: push\nenv: {A: '${{ needs.x }}'}\n", "the context `needs` is not available here"),
        ("on: push\nenv: {A: 1, a: 2}\n", "case does not distinguish keys"),
        ("on: push\nconcurrency: '${{ secrets.x }}'\n", "the context `secrets` is not available here"),
    ],
)
def test_each_rule_has_its_message(text: str, message: str) -> None:
    assert message in "\n".join(problems(text))


def test_the_place_of_an_expression_is_the_place_of_its_word() -> None:
    assert problems(HEAD + '    steps:\n      - run: "echo ${{ nope }}"\n')[0].startswith("6:24 ")
    block = HEAD + "    steps:\n      - run: |\n          a\n          ${{ nope }}\n"
    assert problems(block)[0].startswith("8:15 ")


WORDS = st.sampled_from(
    [
        "on",
        "push",
        "jobs",
        "a",
        "b",
        "steps",
        "run",
        "uses",
        "with",
        "env",
        "if",
        "name",
        "id",
        "needs",
        "strategy",
        "matrix",
        "include",
        "types",
        "branches",
        "inputs",
        "workflow_call",
        "workflow_dispatch",
        "schedule",
        "cron",
        "container",
        "services",
        "runs-on",
        "defaults",
        "outputs",
        "permissions",
        "concurrency",
        "group",
        "parallel",
        "wait",
        "wait-all",
        "cancel",
        "background",
        "${{github.ref}}",
        "${{",
        "x",
        "${{matrix}}",
        "1",
        "true",
    ]
)
TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(WORDS, inner, max_size=5),
    max_leaves=40,
)


@settings(max_examples=300)
@given(TREES, TREES, TREES)
def test_any_tree_is_a_workflow_or_our_error(on: object, job: object, step: object) -> None:
    trees = (
        on,
        {"on": on, "jobs": {"a": job}},
        {"on": "push", "jobs": {"a": {"runs-on": "x", "steps": [step]}}},
    )
    for tree in trees:
        try:
            parse_workflow(msgspec.json.encode(tree), "w.yml")
        except InvalidInput as error:
            assert error.problems
