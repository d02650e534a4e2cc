"""akashic.yaml: what is accepted, and what is said about mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from akashic.delivery.config_file import parse_config, schema
from akashic.errors import AkashicError
from akashic.source.position import InvalidInput
from akashic.source.yaml import load, to_data

FULL = """
name: console
vars: {REGION: north}
notifications:
  receivers:
    - {type: console, name: terminal}
    - {type: slack, name: team, url_secret: HOOK, on: [failure]}
environments:
  staging:
    target:
      port: 8081
      instances: 2
      env: {DATABASE_URL: "${services.db.url}", KEY: "${secrets.KEY}"}
      services: {db: {image: "postgres:16"}}
      release_command: [python3, -m, migrate]
    health: {path: /api/health}
    smoke:
      - {path: /api/health, json: {ok: true}, headers: {Content-Type: json}}
  production:
    promote_from: [staging]
    approvals: {reviewers: [ann], count: 1, author_may_approve: false}
    branches: [main, "release/**"]
    wait_timer_minutes: 5
    notifications: [team]
"""


def problems(text: str) -> list[str]:
    with pytest.raises(InvalidInput) as caught:
        parse_config(text)
    return [str(problem) for problem in caught.value.problems]


def test_a_full_file_is_read():
    config = parse_config(FULL)
    assert config.environment("STAGING").target.services["db"].image == "postgres:16"
    assert config.environments["production"].approvals.reviewers == ("ann",)
    assert config.notifications.receivers[1].url_secret == "HOOK"


def test_an_empty_file_is_the_defaults():
    assert parse_config("").environments == {}


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("enviroments: {}", "1:1", "did you mean 'environments'?"),
        ("environments:\n  a:\n    helth: {}", "3:5", "did you mean 'health'?"),
        ("environments:\n  a:\n    target: {port: 99999}", "3:20", "expected a whole number from 0 to 65535"),
        ("environments:\n  a:\n    target: {type: locl}", "3:20", "did you mean 'local'?"),
        ("environments:\n  a:\n    health: {path: api}", "3:20", "a path that begins with /"),
        ("environments:\n  a:\n    smoke: {path: /}", "3:12", "expected a list"),
        ("environments:\n  a:\n    smoke: [{name: x}]", "3:13", "the key 'path' is missing"),
        ("environments:\n  a:\n    promote_from: [b]", "3:5", "there is no environment 'b'"),
        ("environments:\n  A: {}\n  a: {}", "3:3", "the same name"),
        ("environments: [a]", "1:15", "expected keys and values, found a list"),
        ("environments:\n  a:\n    approvals: {reviewers: [x], count: 2}", "3:5", "2 approvals are needed"),
    ],
)
def test_a_mistake_has_its_place_and_a_way_out(text, place, words):
    found = problems(text)
    assert len(found) == 1
    assert f"akashic.yaml:{place}" in found[0]
    assert words in found[0]


def test_all_mistakes_are_said_at_once():
    assert len(problems("a: 1\nb: 2\nenvironments: {x: {url: [1]}}")) == 3


def test_two_environments_may_not_share_a_port():
    text = "environments:\n  a: {target: {port: 80}}\n  b: {target: {port: 80}}"
    assert "is the port of a too" in problems(text)[0]


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_a_configuration_or_our_error(text):
    try:
        parse_config(text)
    except AkashicError as error:
        assert error.message


def complaints(text: str) -> list[str]:
    """What an editor says that has only the schema."""
    found = jsonschema.Draft202012Validator(schema()).iter_errors(to_data(load(text, "akashic.yaml")))
    return [f"{one.json_path}: {one.message}" for one in found]


def test_the_schema_accepts_what_the_parser_accepts():
    assert complaints(FULL) == []


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("enviroments: {}", "$"),
        ("environments:\n  a:\n    helth: {}", "$.environments.a"),
        ("environments:\n  a:\n    target: {port: 99999}", "$.environments.a.target"),
        ("environments:\n  a:\n    target: {type: locl}", "$.environments.a.target"),
        ("environments:\n  a:\n    health: {path: api}", "$.environments.a.health.path"),
        ("environments:\n  a:\n    smoke: {path: /}", "$.environments.a.smoke"),
        ("environments:\n  a:\n    smoke: [{name: x}]", "$.environments.a.smoke[0]"),
        ("environments: [a]", "$.environments"),
    ],
)
def test_the_schema_refuses_what_the_parser_refuses(text, place):
    assert problems(text)
    assert any(one.startswith(f"{place}:") for one in complaints(text)), complaints(text)


def test_the_schema_in_the_documentation_is_fresh():
    path = Path(__file__).parents[2] / "docs" / "reference" / "akashic.schema.json"
    stale = "stale: run make docs"
    assert json.loads(path.read_text()) == json.loads(json.dumps(schema())), stale


def test_the_platforms_configuration_for_containers_is_valid():
    text = (Path(__file__).parents[2] / "campaign-console" / "akashic.docker.yaml").read_bytes()
    config = parse_config(text, "akashic.docker.yaml")
    assert {type(one.target).__name__ for one in config.environments.values()} == {"DockerTarget"}
