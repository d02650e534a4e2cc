"""Which secrets reach a job."""

from __future__ import annotations

from typing import Any

from akashic.engine.requests import SecretFrame
from akashic.source.position import Position
from akashic.workflow.model import Template

PLACE = Position("ci.yml", 1, 1)


def names(house: Any, **request: Any) -> list[str]:
    """The names of the secrets that a job sees."""
    outcome = house.run(
        """
        - run: |
            python3 - <<'END'
            import json, os
            print("names=" + ",".join(sorted(json.loads(os.environ["ALL"]))))
            END
          env: {ALL: "${{ toJSON(secrets) }}"}
        """,
        **request,
    )
    (line,) = [text for text in outcome.log.splitlines() if text.startswith("names=")]
    return line.removeprefix("names=").split(",") if line != "names=" else []


def frame(mapping: Any) -> SecretFrame:
    value = mapping if mapping in (None, "inherit") else Template(mapping, PLACE)
    return SecretFrame(mapping=value, contexts={"github": {"actor": "mona"}})


def test_repository_and_environment_secrets_reach_the_job(house: Any) -> None:
    house.secrets.update({"": {"token": "aaaaaaaaaa"}, "prod": {"DEPLOY": "bbbbbbbbbb"}})
    assert names(house) == ["TOKEN"]
    assert names(house, environment="prod") == ["DEPLOY", "TOKEN"]


def test_a_called_workflow_gets_what_it_is_given(house: Any) -> None:
    house.secrets.update({"": {"TOKEN": "aaaaaaaaaa", "GITHUB_TOKEN": "gggggggggg", "OTHER": "oooooooooo"}})
    assert names(house, secret_frames=(frame("inherit"),)) == ["GITHUB_TOKEN", "OTHER", "TOKEN"]
    assert names(house, secret_frames=(frame(None),)) == ["GITHUB_TOKEN"]
    given = frame({"mine": "${{ secrets.TOKEN }}", "who": "${{ github.actor }}"})
    assert names(house, secret_frames=(given,)) == ["GITHUB_TOKEN", "MINE", "WHO"]
    again = frame({"deep": "${{ secrets.mine }}", "gone": "${{ secrets.TOKEN }}"})
    assert names(house, secret_frames=(given, again)) == ["DEEP", "GITHUB_TOKEN", "GONE"]


def test_an_environments_secrets_belong_to_the_job_that_names_it(house: Any) -> None:
    house.secrets.update({"": {"TOKEN": "aaaaaaaaaa"}, "prod": {"TOKEN": "pppppppppp"}})
    outcome = house.run(
        "- run: test '${{ secrets.TOKEN }}' = pppppppppp",
        environment="prod",
        secret_frames=(frame({"TOKEN": "something-else"}),),
    )
    assert outcome.result.conclusion == "success"


def test_a_value_that_is_not_handed_on_is_masked_all_the_same(house: Any) -> None:
    house.secrets[""] = {"TOKEN": "hunter2hunter2"}
    outcome = house.run("- run: echo hunter2hunter2", secret_frames=(frame(None),))
    assert "hunter2" not in outcome.log


def test_the_token_is_there_only_when_the_user_gives_one_and_is_masked(house: Any) -> None:
    assert "[]" in house.run("- run: echo '[${{ github.token }}]'").log.splitlines()
    house.secrets[""] = {"GITHUB_TOKEN": "ghs_0123456789abcdef"}
    outcome = house.run(
        """
        - run: test "$T" = ghs_"0123456789"abcdef && echo "same $T [$GITHUB_TOKEN]"
          env: {T: "${{ github.token }}"}
        """
    )
    assert "same *** []" in outcome.log.splitlines()
