"""Whatever comes in by a door that reads text gives a value or an error of ours, never a traceback.

With AKASHIC_TEST_FUZZ=long each door is tried with many more inputs, and a watchdog ends an input that takes
longer than a second of this process's time or more than 512 MB.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from akashic.delivery.config_file import parse_config
from akashic.errors import AkashicError
from akashic.runner.commands import parse_command
from akashic.runner.files import FileCommandError, parse_pairs, parse_paths
from akashic.runner.matchers import MatcherError, Matchers
from akashic.source.position import InvalidInput, Position
from akashic.workflow.action import parse_action
from akashic.workflow.expressions import ExpressionError, Scope, Status, condition, evaluate, interpolate
from akashic.workflow.globs import GlobError, matches
from akashic.workflow.lint import lint_workflow
from akashic.workflow.matrix import MATRIX_JOBS_MAX, expand
from akashic.workflow.parse import parse_workflow
from akashic.workflow.parse_on import cron_problem

LONG = os.environ.get("AKASHIC_TEST_FUZZ") == "long"
INPUT_SECONDS_MAX = 1.0
MEMORY_BYTES_MAX = 512 * 1024 * 1024
HERE = Position("fuzz")
WORDS = [
    *("on", "push", "workflow_dispatch", "workflow_call", "schedule", "cron", "types", "branches", "paths"),
    *(
        "inputs",
        "outputs",
        "secrets",
        "jobs",
        "a",
        "b",
        "needs",
        "if",
        "runs-on",
        "steps",
        "run",
        "uses",
        "with",
    ),
    *("env", "id", "shell", "name", "strategy", "matrix", "include", "exclude", "fail-fast", "max-parallel"),
    *("container", "services", "image", "ports", "permissions", "contents", "concurrency", "group", "queue"),
    *(
        "environment",
        "url",
        "timeout-minutes",
        "continue-on-error",
        "background",
        "wait",
        "wait-all",
        "cancel",
    ),
    *("parallel", "defaults", "working-directory", "runs", "using", "main", "node24", "composite", "docker"),
    *("default", "required", "type", "choice", "options", "description", "value", "read", "write"),
]
EXPRESSION_WORDS = [
    *(
        "github",
        "steps",
        "needs",
        "env",
        "matrix",
        ".event",
        ".x",
        "['y']",
        ".*",
        "[0]",
        "(",
        ")",
        "&&",
        "||",
    ),
    *(
        "!",
        "==",
        "!=",
        "<",
        ">=",
        "'text'",
        "'it''s'",
        "1",
        "0x1f",
        "-1.5e3",
        "null",
        "true",
        "NaN",
        "contains(",
    ),
    *(
        "startsWith(",
        "format(",
        "join(",
        "toJSON(",
        "fromJSON(",
        "hashFiles(",
        "case(",
        "always()",
        "success()",
    ),
    *(",", "'{0}'", "'[1,2]'", "}}", "${{"),
]
PARTS = ("env", "permissions", "concurrency", "defaults", "name", "run-name")


@contextmanager
def watched() -> Iterator[None]:
    """One input; in the long profile it has a second and so much memory."""
    if not LONG:
        yield
        return

    def stop(*_: object) -> None:
        raise AssertionError(f"an input took more than {INPUT_SECONDS_MAX} s of processor time")

    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    previous = signal.signal(signal.SIGVTALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES_MAX, before[1]))
    signal.setitimer(signal.ITIMER_VIRTUAL, INPUT_SECONDS_MAX)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)
        resource.setrlimit(resource.RLIMIT_AS, before)


def fuzz(*strategies: st.SearchStrategy[Any], examples: int) -> Callable[[Callable[..., None]], Any]:
    """Try a function with generated inputs; twenty times as many in the long profile."""
    count = examples * 20 if LONG else examples
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

    def decorate(function: Callable[..., None]) -> Any:
        limits = settings(max_examples=count, deadline=None, suppress_health_check=checks)
        return limits(given(*strategies)(function))

    return decorate


EXPRESSIONS = st.lists(st.sampled_from(EXPRESSION_WORDS), max_size=12).map(" ".join) | st.text(max_size=30)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-5, 400)
    | st.sampled_from(WORDS)
    | st.text(max_size=8)
    | EXPRESSIONS.map(lambda text: f"${{{{ {text} }}}}")
    | EXPRESSIONS.map(lambda text: f"a ${{{{ {text}")
)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
    max_leaves=30,
)
JOBS = st.dictionaries(st.sampled_from(WORDS), TREES, max_size=6)
WORKFLOWS = st.fixed_dictionaries(
    {"on": TREES | st.just("push"), "jobs": st.dictionaries(st.sampled_from("ab"), JOBS, max_size=3)},
    optional=dict.fromkeys(PARTS, TREES),
)
LINES = st.lists(
    st.sampled_from(
        [
            "on:",
            "jobs:",
            "  a:",
            "- x",
            "    - run: |",
            "   ",
            "&a",
            "*a",
            "<<:",
            "'",
            '"',
            "|",
            ">-",
            "{",
            "}",
        ]
    )
    | st.sampled_from(
        ["[", "]", ": ", "? ", "!!str", "!x", "---", "...", "%YAML 1.1", "\t", "#", "@", "`", "\\", "\x00"]
    )
    | st.text(max_size=6),
    max_size=25,
).map("\n".join)
YAML = WORKFLOWS.map(json.dumps) | TREES.map(json.dumps) | LINES | st.binary(max_size=60)


@fuzz(YAML, examples=150)
def test_workflows(text: str | bytes) -> None:
    with watched():
        try:
            parse_workflow(text, "w.yml")
        except InvalidInput as error:
            assert error.problems


@fuzz(YAML, examples=150)
def test_lint(text: str | bytes) -> None:
    with watched():
        for problem in lint_workflow(text, "w.yml", lambda uses: None):
            assert problem.message and problem.rule


@fuzz(YAML | TREES.map(lambda tree: json.dumps({"name": "a", "runs": tree})), examples=100)
def test_actions(text: str | bytes) -> None:
    with watched():
        try:
            parse_action(text, "action.yml")
        except InvalidInput as error:
            assert error.problems


@fuzz(YAML | TREES.map(lambda tree: json.dumps({"environments": tree, "targets": tree})), examples=100)
def test_the_configuration(text: str | bytes) -> None:
    with watched():
        try:
            parse_config(text, "akashic.yaml")
        except AkashicError as error:
            assert error.message


CONTEXTS = {"github": {"event": {"x": [1, {"y": "a"}]}}, "matrix": {"x": None}, "env": {"y": "1"}}


@fuzz(EXPRESSIONS, examples=400)
def test_expressions(text: str) -> None:
    scope = Scope(contexts=CONTEXTS, status=Status())
    with watched():
        for use in (
            lambda: evaluate(text, scope),
            lambda: interpolate(f"a ${{{{ {text} }}}}", scope, HERE),
            lambda: condition(text, scope),
        ):
            try:
                use()
            except ExpressionError as error:
                assert error.message


@fuzz(
    st.lists(
        st.sampled_from(["A=1", "B<<E", "E", "=", "<<", "x<<", "\r", "\ufeff", ""]) | st.text(max_size=9)
    ),
    examples=200,
)
def test_environment_files(lines: list[str]) -> None:
    text = "\n".join(lines)
    with watched():
        try:
            for name, value in parse_pairs(text):
                assert name and name in text and (not value or value.split("\n")[0] in text)
        except FileCommandError as error:
            assert str(error)
        assert all(parse_paths(text))


@fuzz(
    st.lists(
        st.sampled_from(
            ["::", "##[", "]", "error", "set-env", " ", "file=a", ",", ";", "%0A", "%", "title=x"]
        )
        | st.text(max_size=5)
    ).map("".join),
    examples=300,
)
def test_commands(line: str) -> None:
    with watched():
        command = parse_command(line)
        assert command is None or command.name == command.name.lower()


PATTERNS = st.lists(
    st.sampled_from(["(", ")", "a", "|", "*", "+", "?", "{2,}", "[a-z]", "\\", "^", "$", ".", "(?:"])
).map("".join)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@fuzz(PATTERNS | st.text(max_size=10), st.text(st.sampled_from("ab \x1b[m:"), max_size=60), examples=200)
def test_problem_matchers(pattern: str, line: str) -> None:
    content = {"problemMatcher": [{"owner": "o", "pattern": [{"regexp": pattern, "message": 1}]}]}
    matchers = Matchers()
    with watched():
        try:
            matchers.add(json.dumps(content).encode())
        except MatcherError as error:
            assert str(error)
            return
        matchers.match(line)
        matchers.match("a" * 60 + "!")


@fuzz(TREES, examples=100)
def test_files_of_problem_matchers(content: Any) -> None:
    with watched():
        for value in (
            content,
            {"problemMatcher": content},
            {"problemMatcher": [{"owner": "x", "pattern": content}]},
        ):
            try:
                Matchers().add(json.dumps(value).encode())
            except MatcherError as error:
                assert str(error)


GLOBS = st.lists(st.sampled_from(["*", "**", "?", "+", "[a-z]", "[", "]", "!", "\\", "/", "a", "é"])).map(
    "".join
)


@fuzz(st.lists(GLOBS, max_size=4), st.text(st.sampled_from("a/bé."), max_size=40), examples=300)
def test_filter_patterns(patterns: list[str], name: str) -> None:
    with watched():
        try:
            assert matches(patterns, name) in (True, False)
        except GlobError as error:
            assert error.message


@fuzz(
    st.lists(
        st.sampled_from(["*", "*/5", "1-5", "5-1", "60", "MON", "JAN", "1,2", "@daily", "?", "L"])
        | st.text(max_size=4)
    ).map(" ".join),
    examples=300,
)
def test_schedules(text: str) -> None:
    with watched():
        assert isinstance(cron_problem(text), str)


@fuzz(TREES, TREES, TREES, examples=150)
def test_matrices(axis: Any, include: Any, exclude: Any) -> None:
    with watched():
        for matrix in (axis, {"a": axis, "include": include, "exclude": exclude}):
            try:
                assert len(expand(matrix, position=HERE)) <= MATRIX_JOBS_MAX
            except InvalidInput as error:
                assert error.problems


HOSTILE = {
    "aliases": "x0: &x0 [a]\n"
    + "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 12)),
    "depth": "[" * 50_000,
    "one key": "a: " * 20_000,
    "chain of outputs": "on: push\njobs:\n"
    + "".join(
        f"  j{n}: {{runs-on: x, needs: [j{n + 1}], outputs: {{o: '${{{{ needs.j{n + 1}.outputs.o }}}}'}}, "
        f"steps: [{{run: 'echo ${{{{ needs.j{n + 1}.outputs.o }}}}'}}]}}\n"
        for n in range(500)
    )
    + "  j500: {runs-on: x, outputs: {o: '${{ github.head_ref }}'}, steps: [{run: x}]}\n",
    "wrong patterns": "on: {push: {branches: ["
    + ", ".join(f"'[{n}'" for n in range(5_000))
    + "]}}\njobs: {}",
    "wrong types": "on: {issues: {types: [" + ", ".join(f"t{n}" for n in range(5_000)) + "]}}\njobs: {}",
    "broken references": "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: |\n"
    + "".join(f"          echo ${{{{ steps.x{n}.y }}}}\n" for n in range(3_000)),
    "matrix": "on: push\njobs: {a: {runs-on: x, strategy: {matrix: {a: ["
    + ",".join(map(str, range(128)))
    + "], b: ["
    + ",".join(map(str, range(128)))
    + "], exclude: ["
    + ",".join(["{a: 1}"] * 5_000)
    + "]}}, steps: [{run: x}]}}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_workflows_end(name: str) -> None:
    """Each of these takes minutes in a careless reader; the long profile measures."""
    with watched():
        assert lint_workflow(HOSTILE[name], "w.yml", lambda uses: None)
