"""Each family of lint rules finds what it is for, and nothing in a good file."""

import argparse
import io
import json
from pathlib import Path
from typing import Any

import pytest

from akashic.cli.command import CommandContext
from akashic.cli.commands import expr, lint
from akashic.errors import AkashicError
from akashic.workflow.action import parse_action
from akashic.workflow.lint import RULES, lint_action, lint_workflow

ACTION = parse_action(
    "inputs: {path: {required: true}, old: {deprecationMessage: gone}}\noutputs: {o: {}}\n"
    "runs: {using: node16, main: x}",
    "action.yml",
)
JOB = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n"


def found(steps: str, head: str = JOB) -> list[str]:
    problems = lint_workflow(head + steps, "w.yml", lambda uses: ACTION if uses.startswith("o/r") else None)
    assert all(problem.rule in RULES for problem in problems)
    return [f"{problem.severity} {problem.rule}: {problem.message}" for problem in problems]


def test_a_version_that_is_a_number_is_told() -> None:
    text = """on: {push: {branches: [main, 3.10]}}
env: {GO: 1.20, RATE: 0.25, LEVEL: 1e3, QUOTED: '1.20'}
jobs:
  a:
    runs-on: ubuntu-latest
    strategy: {matrix: {python: [3.9, 3.10], include: [{python: 4.0}]}}
    steps: [{uses: actions/setup-node@v4, with: {node-version: 20.0}}]
"""
    found = [one.message for one in lint_workflow(text, "w.yml", lambda _: None) if one.rule == "number"]
    assert found == [
        "`3.10` is the number 3.1",
        "`1.20` is the number 1.2",
        "`3.10` is the number 3.1",
        "`4.0` is the number 4",
        "`20.0` is the number 20",
    ]


def test_what_is_different_here_is_told_where_it_stands() -> None:
    text = """on:
  schedule: [{cron: '0 5 * * 1', timezone: Europe/Berlin}]
  image_version:
    names: [a]
    versions: ['1.*']
jobs:
  a:
    runs-on: ubuntu-latest
    environment:
      name: prod
      deployment: false
    steps: [{run: echo}]
"""
    told = {
        (one.position.line, one.severity, one.rule) for one in lint_workflow(text, "w.yml", lambda _: None)
    }
    assert told == {(line, "info", "difference") for line in (2, 4, 5, 11)}


def test_a_good_file_has_no_problems() -> None:
    pin = "0" * 40
    steps = f"      - {{id: s, uses: o/x@{pin}}}\n      - {{run: 'echo ${{{{ steps.s.outputs.x }}}}'}}\n"
    assert found(steps) == []


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        ("run: x, if: '${{ github.ref }} == 1'", "warning condition: this condition is always true"),
        ("run: x, if: false", "warning unreachable: the step never runs"),
        ("run: x, if: github.event_name == 'fork'", "warning unreachable: the step never runs"),
        ("run: x, shell: fish", "error shell: the shell `fish`"),
        ("run: x, shell: cmd", "error shell: the shell `cmd` exists only on Windows"),
        ("run: 'echo ${{ steps.x.outputs.y }}'", "warning reference: there is no step with the id `x`"),
        ("run: 'echo ${{ needs.x.result }}'", "warning reference: the job `a` does not need `x`"),
        ("run: 'echo ${{ matrix.x }}'", "warning reference: the job has no matrix"),
        ("run: 'echo ${{ inputs.x }}'", "warning reference: the workflow has no inputs"),
        ("run: 'echo ${{ github.shaa }}'", "warning type: the context `github` has no `shaa`"),
        ("run: 'echo ${{ github.event }}'", "warning type: this prints the word `Object`"),
        ("run: x, if: github.event == 'x'", "warning type: an object or a list never equals"),
        ("run: \"${{ format('{1}', 1) }}\"", "error type: the format string"),
        ("run: \"${{ fromJSON('x') }}\"", "error type: `fromJSON` was given what is not JSON"),
        ("run: 'echo ::set-env name=a::b'", "error deprecated: the command `::set-env` is refused"),
        ("run: 'echo ::set-output name=a::b'", "warning deprecated: the command `::set-output`"),
        (
            "uses: o/r@v1, with: {path: x, pth: y}",
            "warning action-input: the action `o/r@v1` has no input `pth`",
        ),
        ("uses: o/r@v1", "warning action-input: the action `o/r@v1` needs the input `path`"),
        ("uses: o/r@v1, with: {path: x, old: y}", "warning deprecated: the input `old` is deprecated"),
        ("uses: o/r@v1", "warning deprecated: the action `o/r@v1` asks for node16"),
        ("uses: a/b@main", "warning unpinned-action: `a/b@main` is not pinned"),
        ("uses: 'docker://alpine'", "info difference: an image as an action"),
        ("rum: x", "error unknown-key: unknown key `rum` in a step"),
    ],
)
def test_a_rule_finds_what_it_is_for(step: str, expected: str) -> None:
    assert any(line.startswith(expected) for line in found(f"      - {{{step}}}\n"))


def test_a_job_behind_a_job_that_never_runs_never_runs() -> None:
    text = "on: push\njobs:\n  a: {runs-on: x, if: false, steps: [{run: x}]}\n"
    lines = found("  b: {needs: a, runs-on: x, steps: [{run: x}]}\n", text)
    assert any("the job `b` never runs" in line for line in lines)


def command(tmp_path: Path, module: Any, *words: str) -> tuple[int, str]:
    parser = argparse.ArgumentParser()
    module.configure(parser)
    out = io.StringIO()
    context = CommandContext(
        cwd=tmp_path, environ={}, color=False, json=False, interactive=False, debug=False, stdout=out
    )
    return module.run(parser.parse_args(words), context), out.getvalue()


def test_the_command_prints_an_array_of_problems_and_fails_on_errors_only(tmp_path: Path) -> None:
    folder = tmp_path / ".github" / "workflows"
    folder.mkdir(parents=True)
    (folder / "a.yml").write_text(JOB + "      - {run: x, if: false}\n")
    code, text = command(tmp_path, lint, "--format", "json")
    (record,) = json.loads(text)
    assert code == 0 and set(record) == {"file", "line", "column", "severity", "rule", "message"}
    (folder / "b.yml").write_text("on: nothing\n")
    code, text = command(tmp_path, lint, "--format", "json")
    assert code == 1 and {found["severity"] for found in json.loads(text)} == {"error", "warning"}
    for kind in ("text", "sarif", "github"):
        assert command(tmp_path, lint, "--format", kind)[0] == 1
    sarif = json.loads(command(tmp_path, lint, "--format", "sarif")[1])
    assert sarif["version"] == "2.1.0" and sarif["runs"][0]["results"]


def test_expr_eval_prints_json(tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text('{"github": {"ref": "main", "n": [1]}}')
    assert command(tmp_path, expr, "eval", "--context", "c.json", "github.n") == (0, "[1]\n")
    assert command(tmp_path, expr, "eval", "--template", "--context", "c.json", "a ${{ github.ref }}") == (
        0,
        '"a main"\n',
    )
    with pytest.raises(AkashicError) as caught:
        command(tmp_path, expr, "eval", "github.x")
    assert caught.value.exit_code == 1


COMPOSITE = parse_action(
    """
name: a
inputs: {title: {required: true}, safe: {}}
outputs: {o: {value: x}}
runs:
  using: composite
  steps:
    - {run: 'echo "$T"', shell: bash, env: {T: '${{ inputs.safe }}'}}
    - {run: 'echo ${{ inputs.title }}', shell: bash}
""",
    "act/action.yml",
)


def test_what_a_stranger_wrote_is_followed_into_a_composite_action() -> None:
    text = (
        "on: issues\njobs:\n  a:\n    runs-on: x\n    steps:\n      - uses: ./act\n        with:\n"
        "          safe: ${{ github.event.issue.title }}\n          title: ${{ github.event.issue.title }}\n"
    )
    found = lint_workflow(text, "w.yml", lambda uses: COMPOSITE)
    assert [(str(problem.position), problem.rule) for problem in found] == [
        ("w.yml:9:18", "script-injection")
    ]
    assert "act/action.yml:9:" in found[0].message


def test_a_composite_actions_own_scripts_are_looked_at() -> None:
    text = (
        "name: a\ninputs: {x: {}}\nruns:\n  using: composite\n  steps:\n    - shell: bash\n      run: |\n"
        "        one\n        echo ${{ github.head_ref }}\n        echo ${{ inputs.x }} ${{ inputs.y }}\n"
    )
    found = lint_action(text, "action.yml", lambda uses: None)
    assert [(str(problem.position), problem.severity) for problem in found] == [
        ("action.yml:9:18", "error"),
        ("action.yml:10:18", "warning"),
    ]


def test_outputs_and_required_inputs_of_a_known_action() -> None:
    text = (
        "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - {id: s, uses: o/r@v1}\n"
        "      - run: echo ${{ steps.s.outputs.o }} ${{ steps.s.outputs.p }}\n"
    )
    found = {
        problem.rule: problem.message for problem in lint_workflow(text, "w.yml", lambda uses: COMPOSITE)
    }
    assert "needs the input `title`" in found["action-input"]
    assert "declares no output `p`" in found["reference"]


@pytest.mark.parametrize(
    ("text", "rule", "place"),
    [
        ("on: {schedule: [{cron: '* * * * *'}]}\njobs: {a: JOB}", "schedule", "1:24"),
        ("on: {schedule: [{cron: '*/3 1 * * *'}]}\njobs: {a: JOB}", "schedule", "1:24"),
        ("on: push\nenv: {A B: 1}\njobs: {a: JOB}", "variable", "2:7"),
        ("on: push\njobs: {a: JOB, b: {needs: [a, A], runs-on: x, steps: [{run: x}]}}", "repeated", "LAST"),
        (
            "on: push\njobs: {a: {runs-on: x, strategy: {matrix: {v: [1, 1]}}, steps: [{run: x}]}}",
            "repeated",
            "2:51",
        ),
        (
            "on: push\njobs: {a: {runs-on: x, strategy: {matrix: {v: [1], exclude: [{v: 2}]}}, "
            "steps: [{run: x}]}}",
            "repeated",
            "2:66",
        ),
        (
            "on: push\njobs: {a: {runs-on: x, container: {image: x, credentials: {password: p}}, "
            "steps: [{run: x}]}}",
            "credentials",
            "2:70",
        ),
    ],
)
def test_what_is_hardly_meant_so(text: str, rule: str, place: str) -> None:
    text = text.replace("JOB", "{runs-on: x, steps: [{run: x}]}")
    found = [problem for problem in lint_workflow(text, "w", lambda uses: None) if problem.rule == rule]
    assert len(found) == 1
    where = f"{found[0].position.line}:{found[0].position.column}"
    assert where == (f"2:{text.splitlines()[1].index('A]') + 1}" if place == "LAST" else place)


@pytest.mark.parametrize(
    "text",
    [
        "on: {schedule: [{cron: '*/5 * * * *'}, {cron: '0 0 * * *'}]}\njobs: {a: JOB}",
        "on: push\nenv: {A_B: 1, a-b.c: 2}\njobs: {a: JOB}",
        "on: push\njobs: {a: {runs-on: x, strategy: {matrix: {v: [1, '${{ github.ref }}'], "
        "exclude: [{v: 2}]}}, steps: [{run: x}]}}",
        "on: push\njobs: {a: {runs-on: x, strategy: {matrix: {v: [{k: 1}], exclude: [{v: {k: 1}}], "
        "include: [{z: 1}]}}, steps: [{run: x}]}}",
    ],
)
def test_what_may_be_meant_so(text: str) -> None:
    text = text.replace("JOB", "{runs-on: x, steps: [{run: x}]}")
    rules = {problem.rule for problem in lint_workflow(text, "w", lambda uses: None)}
    assert not rules & {"schedule", "variable", "repeated", "credentials"}
