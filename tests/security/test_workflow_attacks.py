# ruff: noqa: E501 - tables are easier to read with one case a line
"""Attacks on the language: script injection, YAML bombs, expressions made to take for ever."""

import pytest

from akashic.source.position import InvalidInput
from akashic.source.yaml import load
from akashic.workflow.expressions import ExpressionError, Scope, evaluate
from akashic.workflow.globs import compile_glob
from akashic.workflow.lint import lint_workflow
from akashic.workflow.lint.injection import UNTRUSTED

HEAD = "on: issues\nenv: {T: '${{ github.event.issue.title }}'}\njobs:\n  a:\n    runs-on: x\n    steps:\n"


def injected(expression: str, step: str = "run: 'echo {}'") -> bool:
    shown = "${{ " + expression.replace("'", "''") + " }}"
    text = HEAD + "      - {" + step.replace("{}", shown) + "}\n"
    problems = lint_workflow(text, "w.yml", lambda uses: None)
    return any(problem.rule == "script-injection" and problem.severity == "error" for problem in problems)


@pytest.mark.parametrize("path", sorted(".".join(path) for path in UNTRUSTED))
def test_attack_7_script_injection_every_untrusted_value_in_a_script_is_found(path: str) -> None:
    assert injected(f"github.{path}")
    assert injected(f"GITHUB.{path.upper()}")
    assert injected(f"github.{path}", "uses: actions/github-script@v7, with: {script: 'x({})'}")


@pytest.mark.parametrize(
    "expression",
    [
        "github['event']['issue']['title']",
        "github.event[format('{0}', 'issue')].title",
        "toJSON(github.event)",
        "toJSON(github)",
        "format('{0}', github.head_ref)",
        "github.head_ref || github.sha",
        "github.event_name && github.head_ref",
        "join(github.event.commits.*.message)",
        "github.event.commits[0].message",
        "fromJSON(toJSON(github.event)).issue.title",
        "case(true, github.head_ref, 'x')",
        "env.T",
    ],
)
def test_attack_7_script_injection_is_found_however_it_is_written(expression: str) -> None:
    assert injected(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "github.sha",
        "github.event.issue.number",
        "github.head_ref == 'x'",
        "contains(github.event.issue.title, 'x')",
        "!github.head_ref",
        "github.head_ref && 'x'",
        "github.event.pull_request.head.sha",
    ],
)
def test_attack_7_script_injection_is_not_seen_where_there_is_none(expression: str) -> None:
    assert not injected(expression)


def test_attack_7_script_injection_is_followed_through_job_outputs() -> None:
    text = (
        "on: push\njobs:\n  a:\n    runs-on: x\n    outputs: {t: '${{ github.head_ref }}'}\n    steps: [{run: x}]\n"
        "  b:\n    needs: a\n    runs-on: x\n    steps: [{run: 'echo ${{ needs.a.outputs.t }}'}]\n"
    )
    assert [problem.rule for problem in lint_workflow(text, "w", lambda uses: None)] == ["script-injection"]


def test_attack_39_yaml_bombs_are_refused_before_they_are_expanded() -> None:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 60)]
    for text in (
        "\n".join(lines),
        "[" * 100_000,
        "{" * 100_000,
        "- " * 100_000,
        "a: &a [*a]",
        "x" * 10_000_000,
    ):
        with pytest.raises(InvalidInput):
            load(text, "bomb.yml")


def test_attack_40_expressions_that_grow_without_end_are_refused() -> None:
    text = "'x'"
    for _ in range(12):
        text = f"format('{{0}}{{0}}{{0}}{{0}}{{0}}{{0}}', {text})"
    big = {"github": {"text": "y" * 1_000_000}}
    for bomb in (text, "format('" + "{0}" * 100 + "', github.text)"):
        with pytest.raises(ExpressionError, match="larger than"):
            evaluate(bomb, Scope(contexts=big))


def test_attack_40_long_hostile_expressions_end() -> None:
    for text in (
        "(" * 20_000,
        "!" * 20_000,
        "a." * 10_000,
        "1 == " * 4_000 + "1",
        "'" * 20_999,
        "f(" * 10_000,
    ):
        with pytest.raises(ExpressionError):
            evaluate(text, Scope(contexts={"a": 1}))


def test_attack_40_patterns_with_many_wildcards_match_in_linear_time() -> None:
    assert not compile_glob("*a" * 400 + "b").matches("a" * 4_000)
    assert not compile_glob("**a" * 300 + "b").matches("a" * 4_000)
