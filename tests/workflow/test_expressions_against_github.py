# ruff: noqa: E501 - tables are easier to read with one case a line
"""Our evaluator and GitHub's own library say the same, over written and generated expressions."""

import json
import math
import os
import random
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from akashic.workflow.expressions import ExpressionError, Scope, evaluate

ORACLE = Path(__file__).with_name("oracle.mjs")
ENTRY = Path("node_modules", "@actions", "expressions", "dist", "index.js")
GENERATED = 4_000
CONTEXTS: dict[str, Any] = {
    "github": {
        "ref": "refs/heads/Main",
        "empty": "",
        "none": None,
        "yes": True,
        "count": 42,
        "ratio": 0.1,
        "list": [1, "two", None, True, [3, 4], {"name": "x"}],
        "people": [{"name": "Ann", "age": 31}, {"name": "Bob"}, "text", {"age": 7, "name": "Cy"}],
        "map": {"a": {"id": 1}, "b": {"id": 2}, "c": 3},
    },
    "env": {"A": "1", "HEX": "0x1F", "SPACE": "  7 ", "TEXT": "Hello", "NL": 'a\nb\t"\\\u0001é'},
}
WRITTEN = """
1 | 0x1f | 0o17 | 1e3 | -1.5 | .5 | 1. | +1 | 1e21 | 1e-7 | 123456789012345678 | 0.1 | NaN | Infinity | -Infinity
'a' | 'it''s' | '' | true | false | null | True | 01 | 0x | 1x | - | 1..2 | "a" | 'a
1 == 1.0 | 'A' == 'a' | null == 0 | null == '' | true == 1 | true == 'true' | '1' == 1 | 'x' == 0 | NaN == NaN
null == false | '' == false | ' ' == 0 | github.list == github.list | github.map == github.map | '0x1F' == 31
1 < 2 | 'a' < 'B' | 'b' >= 'A' | null < 1 | true > false | 'é' < 'z' | github.list < 1 | '10' < '9' | 10 < '9'
NaN >= NaN | null >= null | !'' | !!github | !null || 1 && 2 | '' || 'x' | 0 && 1 | 1 && '' || 'z' | !1 == false
github.REF | github['ref'] | github.nothing.at.all | github.list[1] | github.list['1'] | github.list[1.9]
github.list[-1] | github.list[99] | github.list[null] | github.list[true] | github.list.two | env.a | env[github]
github.people.*.name | github.people[*].age | github.map.*.id | github.map.* | github.*.name | github.ref.*
github.people.*.name[0] | join(github.people.*.name) | github.list.*[0] | github.people.*.* | github.none.*
contains('Hello', 'ELL') | contains(github.list, 'TWO') | contains(github.list, 1) | contains(123, 2) | contains('', '')
contains(github.map, 'a') | contains(github.list, null) | contains(null, '') | contains('abc', github.list)
startsWith('Hello', 'he') | startsWith(123, 1) | endsWith('Hello', 'LO') | endsWith(null, '') | startsWith(github, 'O')
format('{0} {1}', 1, 'b') | format('{{{0}}}', 1) | format('{0', 1) | format('}', 1) | format('{1}', 1) | format('{a}', 1)
format('{0}', 0.1) | format('{0}', 1e21) | format('{0}', github.list) | format('{0}', null) | format('{0}{0}', true)
format('{0}', 0.30000000000000004) | format('{0}', 1e-20) | format('{0}', 1.5e300) | format('{0}', -0) | format('x')
join(github.list) | join(github.list, ', ') | join('a', 'b') | join(github.map) | join(github.list, null) | join(fromJSON('[]'))
toJSON(github) | toJSON(env.NL) | toJSON(null) | toJSON(1.10) | toJSON(fromJSON('[]')) | toJSON(fromJSON('{"a":{}}'))
fromJSON('{"a":[1,2,{"b":null}]}') | fromJSON('1e3') | fromJSON('') | fromJSON('nope') | fromJSON('NaN') | fromJSON(' "x" ')
fromJSON('{"a":1,"A":2}') | fromJSON('{"a":1,"a":2}') | fromJSON(toJSON(github)).count | fromJSON('[1,]') | fromJSON(true)
case(true, 1, 2) | case(false, 1, true, 3, 4) | case(false, 1, 2) | case('x', 1, 2) | case(true, 1)
env.SPACE == 7 | env.HEX == 31 | env.A == true | unknown.x | foo(1) | contains('a') | toJSON() | github. | github.1 | [1]
(1 | 1) | ((1)) | 1 2 | github..ref | a = b | 1 & 2 | true.x | 'a'.b | (github).ref | fromJSON('[5]')[0] | github.*
!(1 == 2) && (3 > 2) | 1 == 1 == true | 3 > 2 > 1 | !github.none | github.yes && github.ref || 'no' | -0x1 | 0b11
"""


def library() -> Path | None:
    places = [
        Path(folder) for folder in os.environ.get("AKASHIC_TEST_NODE_MODULES", "").split(os.pathsep) if folder
    ]
    places += [Path.cwd(), Path.home()]
    return next((place / ENTRY for place in places if (place / ENTRY).is_file()), None)


def generated(seed: int) -> str:
    """A random expression; the forms in which GitHub's two implementations differ are left out."""
    rng = random.Random(seed)
    leaves = [
        "1",
        "0",
        "-1",
        "2.5",
        "'a'",
        "'B'",
        "''",
        "'1'",
        "null",
        "true",
        "false",
        "github.ref",
        "github.list",
        "github.map",
        "github.people",
        "env.A",
        "env.HEX",
        "github.none",
        "github.count",
        "github.ratio",
        "github.people.*.name",
        "github.map.*.id",
        "github.list[0]",
        "env.TEXT",
    ]

    def tree(depth: int) -> str:
        if depth <= 0 or rng.random() < 0.2:
            return rng.choice(leaves)
        kind = rng.randrange(9)
        inner = [tree(depth - 1) for _ in range(3)]
        operator = rng.choice(["==", "!=", "<", "<=", ">", ">=", "&&", "||"])
        return [
            f"({inner[0]} {operator} {inner[1]})",
            f"{inner[0]} {operator} {inner[1]}",
            f"!{inner[0]}",
            f"contains({inner[0]}, {inner[1]})",
            f"format('{{0}}-{{1}}', {inner[0]}, {inner[1]})",
            f"join({inner[0]}, {inner[1]})",
            f"startsWith({inner[0]}, {inner[1]})",
            f"toJSON({inner[0]})",
            f"({inner[0]})[{inner[1]}]",
        ][kind]

    return tree(4)


def ours(text: str) -> dict[str, Any]:
    try:
        return {"value": shown(evaluate(text, Scope(contexts=CONTEXTS)))}
    except ExpressionError:
        return {"error": True}


def shown(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, list):
        return [shown(item) for item in value]
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    return value


def same(one: Any, two: Any) -> bool:
    if isinstance(one, bool) != isinstance(two, bool):
        return False
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(value, two[key]) for key, value in one.items())
    return bool(one == two)


def test_our_evaluator_agrees_with_githubs() -> None:
    node, entry = shutil.which("node"), library()
    if node is None or entry is None:
        pytest.skip("needs node and @actions/expressions (AKASHIC_TEST_NODE_MODULES names its folder)")
    texts = [text.strip() for line in WRITTEN.strip().splitlines() for text in line.split(" | ")]
    texts += [generated(seed) for seed in range(GENERATED)]
    request = json.dumps([[text, CONTEXTS] for text in texts])
    command = [node, str(ORACLE), str(entry)]
    answer = subprocess.run(command, input=request, capture_output=True, text=True, check=True, timeout=60)
    theirs = json.loads(answer.stdout)
    differences = []
    for text, expected in zip(texts, theirs, strict=True):
        got = ours(text)
        agree = "error" in got if "error" in expected else same(got.get("value", got), expected["value"])
        if not agree:
            differences.append((text, got, expected))
    assert not differences[:10]
