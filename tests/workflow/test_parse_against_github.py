"""Our parser and GitHub's own library (npm `@actions/workflow-parser`) accept and reject the same workflows,
tell the first mistake at the same line, and see the same jobs and steps.

The workflows are written ones, and each of their values and keys replaced in turn by something else. Where
both differ, the reason stands in DIFFERENCES, and in docs/compatibility.md where a user can meet it.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from akashic.source.position import InvalidInput, Problem
from akashic.workflow.model import Job, Step
from akashic.workflow.parse import parse_workflow

ORACLE = Path(__file__).with_name("parser_oracle.mjs")
CORPUS = Path(__file__).with_name("workflows.yaml")
LONG = os.environ.get("AKASHIC_TEST_FUZZ") == "long"
SAMPLE = 1_500
"""So many of the changed workflows are compared by default; all of them with AKASHIC_TEST_FUZZ=long."""
VALUES: list[Any] = [
    *(None, "", "x", 0, 1, -1, 1.5, True, [], {}, ["x"], [None], {"x": "y"}, "${{ github.ref }}"),
    *("${{ secrets.X }}", "${{ env.X }}", "${{ matrix.os }}", "${{ steps.a }}", "${{ needs.a }}"),
    *("${{ vars.x }}", "${{ job.status }}", "${{ runner.os }}", "${{ inputs.x }}", "${{ always() }}"),
    *("${{ hashFiles('x') }}", "a ${{ github.ref }} b", "${{ github.", "${{ foo.x }}", "${{ }}"),
]

# (who rejects alone, what the message says, why both differ)
DIFFERENCES = [
    ("we", "in the matrix of job .* (has no values|is empty)", "the runner rejects it when the job starts"),
    ("we", r"`version` must be like", "the runner rejects it when the job starts"),
    ("we", r"`defaults.run` .* not a string", "an expression for all of `defaults.run` is not read here"),
    ("they", "while reading '(input default|types list)'", "the runner converts"),
    ("they", "Unexpected type 'NullToken'", "the runner takes empty inputs for none"),
    ("we", "must name at least one|needs `group` or `labels`", "nothing can run so, which is told early"),
    ("we", r"must have at least one step|needs `steps`", "GitHub rejects it later, when the job starts"),
    ("we", r"does not run in the background", "only a background step can be waited for"),
    ("we", r"must be a list of at least one step|must be a list of `- cron", "a list that holds nothing"),
    ("we", r"expected (owner/repo|\./\.github)|needs an image", "the runner rejects it when the job starts"),
    ("we", "must be a number above 0", "the documentation: timeouts are positive"),
    ("we", r"^unknown key `\$\{\{", "`${{ insert }}` and computed names only where names are free"),
    ("we", r"the container needs `image`|the service `.*` needs `image`", "documented: a container has one"),
    (
        "we",
        "`exclude` in the matrix .* names|has no combinations",
        "the runner rejects it when the job starts",
    ),
    ("we", "`default` of the input|so it needs `options`", "a default that cannot be, told early"),
    ("we", r"on.workflow_run` needs `workflows`", "documented: it names the workflows"),
    ("we", "unrecognized named-value `x`", "`snapshot.if` is checked early, too"),
    ("we", "must not be empty", "the runner rejects the empty name when the job starts"),
    ("they", "depends on unknown job", "the runner compares ids without regard to case"),
    ("they", "Unexpected type 'BasicExpressionToken'", "the runner allows an expression for all of `env`"),
    ("they", "Unexpected value", "the runner allows an empty image of a container, empty inputs, one type"),
    (
        "they",
        "Unexpected type '.*' encountered while reading 'input default'",
        "the runner converts defaults",
    ),
]

FOLLOWING = {
    "The workflow must contain at least one job with no dependencies.",
    "Input type is not 'choice', but 'options' is defined",
}
"""What GitHub's library says on top when something else is wrong, at another place."""


def bases() -> list[Any]:
    return [document for document in yaml.safe_load_all(CORPUS.read_text()) if document]


class _Dumper(yaml.SafeDumper):
    """Without anchors, so that each place is written out."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=10_000)


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*path, key))


def changed(base: Any) -> Iterator[str]:
    """The workflow with each value replaced, each entry removed, and each name changed."""
    for path in paths(base):
        for value in [*VALUES, "remove", "rename", "upper", "computed"]:
            copied = copy.deepcopy(base)
            holder: Any = copied
            for key in path[:-1]:
                holder = holder[key]
            last = path[-1]
            if value == "remove":
                del holder[last]
            elif value in ("rename", "upper", "computed"):
                if not isinstance(holder, dict):
                    continue
                new = {"rename": f"{last}x", "upper": last.upper(), "computed": "${{ insert }}"}[value]
                pairs = [(new if name == last else name, item) for name, item in holder.items()]
                holder.clear()
                holder.update(pairs)
            else:
                holder[last] = value
            yield dump(copied)


def ask(texts: list[str]) -> list[Any]:
    node = shutil.which("node")
    given = os.environ.get("AKASHIC_TEST_NODE_MODULES", "").split(os.pathsep)
    places = [*(Path(place) for place in given if place), Path.cwd(), Path.home()]
    found = (place / "node_modules" / "@actions" for place in places)
    folder = next((place for place in found if (place / "workflow-parser").is_dir()), None)
    if node is None or folder is None:
        pytest.skip("needs node and @actions/workflow-parser (AKASHIC_TEST_NODE_MODULES names its folder)")
    command = [node, str(ORACLE), str(folder.resolve())]
    answer = subprocess.run(
        command, input=json.dumps(texts), capture_output=True, text=True, check=True, timeout=300
    )
    answers: list[Any] = json.loads(answer.stdout)
    return answers


def ours(text: str) -> list[Problem]:
    try:
        parse_workflow(text, "w.yml")
    except InvalidInput as error:
        return [problem for problem in error.problems if problem.severity == "error"]
    return []


def explained(side: str, message: str) -> bool:
    return any(who == side and re.search(pattern, message) for who, pattern, _ in DIFFERENCES)


def disagreement(text: str, theirs: Any) -> str:
    """What both do differently and nobody explains; empty when they agree."""
    mine = ours(text)
    if "crash" in theirs:
        return ""
    errors = [error for error in theirs["errors"] if error["message"] not in FOLLOWING] or theirs["errors"]
    if mine and not errors:
        told = [problem.message for problem in mine if not explained("we", problem.message)]
        return f"only we reject: {told[0]}" if told else ""
    if errors and not mine:
        told = [error["message"] for error in errors if not explained("they", error["message"])]
        return f"only they reject: {told[0]}" if told else ""
    if not errors:
        return ""
    first = min(errors, key=lambda error: error["line"])
    if first["message"] in FOLLOWING:
        return ""
    lines = {problem.position.line for problem in mine}
    # What is missing stands at the key of its mapping here, at its first pair there.
    missing = "missing" in first["message"] or any("needs" in problem.message for problem in mine)
    if first["line"] in lines or (missing and min(lines) <= first["line"]):
        return ""
    if explained("they", first["message"]) or explained("we", mine[0].message):
        return ""
    return f"line {mine[0].position.line} ({mine[0].message}) or {first['line']} ({first['message']})"


def shape(step: Step) -> dict[str, Any]:
    kind = next(
        name
        for name, there in (
            ("run", step.run is not None),
            ("uses", step.uses is not None),
            ("wait", step.wait is not None),
            ("wait-all", step.wait_all),
            ("cancel", step.cancel is not None),
            ("parallel", step.parallel is not None),
        )
        if there
    )
    inner = [shape(item) for item in step.parallel] if step.parallel is not None else None
    background = step.background and not step.parallel
    return {"id": step.id, "kind": kind, "background": background, "parallel": inner}


def structure(job: Job) -> dict[str, Any]:
    matrix = job.strategy.matrix.value if job.strategy and job.strategy.matrix else None
    if isinstance(matrix, dict):
        matrix = {name: len(item) if isinstance(item, list) else None for name, item in matrix.items()}
    else:
        matrix = None
    return {
        "id": job.id,
        "needs": list(job.needs),
        "called": job.uses or "",
        "matrix": matrix,
        "steps": [shape(step) for step in job.steps],
    }


def unmarked(step: dict[str, Any]) -> dict[str, Any]:
    """Inside `parallel` GitHub's library leaves open what we mark as background."""
    inner = (
        [item | {"background": True} for item in step["parallel"]] if step["parallel"] else step["parallel"]
    )
    return step | {"parallel": inner}


def test_the_written_workflows_are_valid_for_both_and_mean_the_same() -> None:
    repository = Path(__file__).parents[2]
    texts = [dump(base) for base in bases()]
    texts += [file.read_text() for file in sorted(repository.glob("**/.github/workflows/*.y*ml"))]
    for text, theirs in zip(texts, ask(texts), strict=True):
        assert theirs["errors"] == []
        workflow = parse_workflow(text, "w.yml")
        jobs = [job | {"steps": [unmarked(step) for step in job["steps"]]} for job in theirs["jobs"]]
        assert [structure(job) for job in workflow.jobs.values()] == jobs


def test_changed_workflows_are_accepted_and_rejected_alike() -> None:
    texts = sorted({text for base in bases() for text in changed(base)})
    if not LONG:
        texts = random.Random(20261123).sample(texts, SAMPLE)
    found = {
        difference: text
        for text, theirs in zip(texts, ask(texts), strict=True)
        if (difference := disagreement(text, theirs))
    }
    assert sorted(found)[:20] == []
