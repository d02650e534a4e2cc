"""GitHub's documentation page by page, as tables: each file in `tables/` is a page (or a part of one), each
entry a documented rule with what it gives. The entries of the language are tried here; rules that need a
running job are in test_runner_conformance.py."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from akashic.app.github_event import event_ref
from akashic.app.repository import Repository
from akashic.source.position import InvalidInput, Position
from akashic.source.yaml import load, to_data
from akashic.workflow.action import parse_action
from akashic.workflow.contexts import AVAILABILITY, KNOWN_CONTEXTS
from akashic.workflow.events import EVENTS
from akashic.workflow.expressions import ExpressionError, Scope, Status, condition, evaluate, interpolate
from akashic.workflow.globs import matches
from akashic.workflow.inputs import call_inputs, dispatch_inputs
from akashic.workflow.matrix import expand
from akashic.workflow.parse import parse_workflow
from akashic.workflow.triggers import TriggerEvent, match

TABLES = Path(__file__).with_name("tables")
HERE = Position("table")
JOB = "{runs-on: x, steps: [{run: x}]}"


def table(name: str) -> Any:
    # YAML 1.2, in which `on` is a word.
    return to_data(load((TABLES / f"{name}.yaml").read_text(), name))


def indented(text: str, width: int) -> str:
    return "\n".join(" " * width + line for line in text.splitlines())


def made(what: str) -> str:
    """A workflow that just keeps a limit, or just does not."""
    kind, _, number = what.rpartition("-")
    count = int(number)
    if kind == "matrix":
        return around({"job": f"strategy: {{matrix: {{a: {list(range(count))}}}}}"})
    if kind == "inputs":
        inputs = ", ".join(f"i{index}: " for index in range(count))
        return around({"on": f"{{workflow_dispatch: {{inputs: {{{inputs}}}}}}}"})
    if kind == "expression":
        text = "github.ref == '" + "x" * (count - len(" github.ref == '' ")) + "'"
        return around({"steps": f'- run: "${{{{ {text} }}}}"'})
    if kind == "depth":
        return around({"steps": f'- run: "${{{{ {"(" * (count - 1)}1{")" * (count - 1)} }}}}"'})
    if kind == "id":
        return f"on: push\njobs: {{{'a' * count}: {JOB}}}"
    assert kind == "group", what
    return around({"top": f"concurrency: {'a' * count}"})


def around(case: dict[str, Any]) -> str:
    """The workflow of a case: the part that it gives, and a valid rest."""
    if "workflow" in case:
        return str(case["workflow"])
    if "make" in case:
        return made(case["make"])
    head = f"on: {case.get('on', 'push')}\n{case.get('top', '')}\njobs:\n"
    if "steps" in case:
        return head + "  a:\n    runs-on: x\n    steps:\n" + indented(case["steps"], 6) + "\n"
    if "job" in case:
        return head + "  a:\n    runs-on: x\n    steps: [{run: x}]\n" + indented(case["job"], 4) + "\n"
    more = (
        "  called:\n" + indented(case["calls"], 4) if "calls" in case else indented(case.get("jobs", ""), 2)
    )
    return f"{head}  a: {JOB}\n{more}\n"


CASES = [(name, case) for name in ("workflow-syntax", "reusing", "limits") for case in table(name)["cases"]]


@pytest.mark.parametrize(("page", "case"), CASES, ids=[f"{page}: {case['rule']}" for page, case in CASES])
def test_workflow(page: str, case: dict[str, Any]) -> None:
    wanted = case.get("error")
    try:
        parse_workflow(around(case), "w.yml")
    except InvalidInput as error:
        told = [problem for problem in error.problems if problem.severity == "error"]
        assert wanted, error.message
        assert any(re.search(wanted, problem.message) for problem in told), error.message
        assert all(problem.position.line for problem in told)
    else:
        assert not wanted, "it was accepted"


ROWS = table("availability")


@pytest.mark.parametrize("key", ROWS["rows"])
def test_availability_as_the_table_says(key: str) -> None:
    contexts, functions = (frozenset(cell.split()) for cell in ROWS["rows"][key])
    contexts |= frozenset(ROWS["beyond"].get(key, "").split())
    assert (AVAILABILITY[key].contexts, AVAILABILITY[key].functions) == (contexts, functions)


def placed(place: str, expression: str) -> str:
    kind, _, rest = place.replace("?", f'"${{{{ {expression} }}}}"').partition(" ")
    if kind == "job":
        return around({"job": rest})
    if kind == "step":
        run = "" if rest.startswith("run:") else "run: x, "
        return around({"steps": f"- {{{run}{rest}}}"})
    if kind == "uses":
        return around({"steps": f"- {{uses: a/b@c, {rest}}}"})
    if kind == "call":
        return around({"calls": f"uses: ./.github/workflows/a.yml\n{rest}"})
    if kind == "on":
        return around({"on": rest})
    if kind == "runs-on":
        return f"on: push\njobs: {{a: {{runs-on: {rest}, steps: [{{run: x}}]}}}}"
    return around({"top": f"{kind} {rest}"})


@pytest.mark.parametrize("key", ROWS["places"])
def test_availability_where_it_is_used(key: str) -> None:
    contexts, functions = (set(cell.split()) for cell in ROWS["rows"][key])
    contexts |= set(ROWS["beyond"].get(key, "").split())
    calls = {"always()", "cancelled()", "success()", "failure()", "hashFiles('x')"}
    for expression in sorted(KNOWN_CONTEXTS | calls):
        name = expression.partition("(")[0].lower()
        try:
            parse_workflow(placed(ROWS["places"][key], expression), "w.yml")
        except InvalidInput as error:
            assert name not in contexts | functions, error.message
            assert "not available here" in error.message, error.message
        else:
            assert name in contexts | functions, f"{expression} was accepted"


def test_every_row_has_a_place_and_no_key_is_beside_the_table() -> None:
    assert ROWS["rows"].keys() == ROWS["places"].keys()
    # `snapshot.if` is in GitHub's published schema only.
    assert AVAILABILITY.keys() - ROWS["rows"].keys() == {"jobs.<job_id>.snapshot.if"}


EVENT_TABLE = table("events")


@pytest.mark.parametrize("name", EVENT_TABLE["events"])
def test_event(name: str) -> None:
    row, kind = EVENT_TABLE["events"][name], EVENTS[name]
    types = row["types"].split() if "types" in row else None
    assert (None if kind.types is None else sorted(kind.types)) == (None if types is None else sorted(types))
    assert sorted(kind.defaults) == sorted(row.get("defaults", "").split())
    keys = set(row.get("filters", "").split()) | ({"types"} if types is not None else set())
    assert kind.keys == keys
    if "ref" in row:
        repository = Repository(
            root=Path("/r"),
            top=Path("/r"),
            prefix="",
            name="o/r",
            commit="0" * 40,
            parent="",
            branch="feature",
            tag="",
            dirty=False,
            default_branch="main",
            author="a",
            author_email="a@example.com",
            committed_at="2024-01-01T00:00:00Z",
            message="m",
            remote_url="",
        )
        assert event_ref(name, row["payload"], repository) == row["ref"]


def test_no_event_is_beside_the_table() -> None:
    # Documented as a name that people use by mistake; the published schema knows it.
    assert EVENTS.keys() - EVENT_TABLE["events"].keys() == {"pull_request_comment"}


TRIGGERS = EVENT_TABLE["triggers"]


@pytest.mark.parametrize("case", TRIGGERS, ids=[case["rule"] for case in TRIGGERS])
def test_trigger(case: dict[str, Any]) -> None:
    event = dict(case["event"])
    if "changed_files" in event:
        event["changed_files"] = tuple(event["changed_files"])
    workflow = parse_workflow(around({"on": case["on"]}), "w.yml")
    result = match(workflow, TriggerEvent(**event))
    assert result.matched is case["runs"], result.reason


@pytest.mark.parametrize(("patterns", "yes", "no"), table("patterns")["patterns"])
def test_pattern(patterns: list[str], yes: list[Any], no: list[Any]) -> None:
    assert [name for name in yes if not matches(patterns, str(name))] == []
    assert [name for name in no if matches(patterns, str(name))] == []


EXPRESSIONS = table("expressions")


@pytest.mark.parametrize(("text", "value"), EXPRESSIONS["expressions"])
def test_expression(text: str, value: Any) -> None:
    if isinstance(value, dict) and "error" in value:
        with pytest.raises(ExpressionError, match=value["error"]):
            evaluate(text, Scope(contexts=EXPRESSIONS["contexts"]))
        return
    result = evaluate(text, Scope(contexts=EXPRESSIONS["contexts"]))
    assert result == value and isinstance(result, bool) == isinstance(value, bool)


@pytest.mark.parametrize(("text", "status", "holds"), EXPRESSIONS["conditions"])
def test_condition(text: str, status: str, holds: bool) -> None:
    so_far = Status(success=status == "success", failure=status == "failure", cancelled=status == "cancelled")
    assert condition(text, Scope(contexts=EXPRESSIONS["contexts"], status=so_far)) is holds


@pytest.mark.parametrize(("text", "value"), EXPRESSIONS["templates"])
def test_template(text: str, value: Any) -> None:
    result = interpolate(text, Scope(contexts=EXPRESSIONS["contexts"]), HERE)
    assert result == value and type(result) is type(value)


MATRICES = table("matrices")["matrices"]


@pytest.mark.parametrize("case", MATRICES, ids=[case["rule"] for case in MATRICES])
def test_matrix(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(InvalidInput, match=case["error"]):
            expand(case["matrix"], position=HERE)
    else:
        assert [cell.values for cell in expand(case["matrix"], position=HERE)] == case["rows"]


ACTIONS = table("metadata")["actions"]


@pytest.mark.parametrize("case", ACTIONS, ids=[case["rule"] for case in ACTIONS])
def test_action(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(InvalidInput, match=case["error"]):
            parse_action(case["action"], "action.yml")
    else:
        assert parse_action(case["action"], "action.yml").name == "a"


INPUTS = [(kind, *row) for kind in ("dispatch", "call") for row in table("inputs")[kind]]


@pytest.mark.parametrize(
    ("kind", "rule", "declared", "given", "value"), INPUTS, ids=[f"{row[0]}: {row[1]}" for row in INPUTS]
)
def test_inputs(kind: str, rule: str, declared: str, given: dict[str, Any], value: dict[str, Any]) -> None:
    event = "workflow_dispatch" if kind == "dispatch" else "workflow_call"
    workflow = parse_workflow(around({"on": f"{{{event}: {{inputs: {declared}}}}}"}), "w.yml")
    trigger = workflow.triggers[0]

    def resolve() -> dict[str, Any]:
        if kind == "dispatch":
            return dispatch_inputs(trigger, given)
        scope = Scope(contexts={"github": {"ref": "refs/heads/main"}})
        return call_inputs(trigger, given, scope, uses="./w.yml", position=Position("caller.yml"))

    if "error" in value:
        with pytest.raises(InvalidInput, match=value["error"]):
            resolve()
    else:
        assert resolve() == value
