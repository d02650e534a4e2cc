"""docker/metadata-action: the rules for tags, as its documentation's tables say."""

import json

import pytest

from akashic.actions.docker_metadata import METADATA, Subject, make_tags, parse_flavor, parse_rules
from akashic.actions.protocol import ActionFailed

SHA = "90dd6032fac8bda1b6c4436a2e65de27961ed071"


def _tags(ref: str, rules: str = "", flavor: str = "", event: str = "push") -> list[str]:
    subject = Subject(event=event, ref=ref, sha=SHA, default_branch="main", now=1578616200.0)
    lines = [line.strip() for line in rules.splitlines() if line.strip()]
    return make_tags(parse_rules(lines), parse_flavor(flavor.split("\n") if flavor else []), subject)[1]


@pytest.mark.parametrize(
    ("ref", "rules", "expected"),
    [
        ("refs/pull/2/merge", "", ["pr-2"]),
        ("refs/heads/main", "", ["main"]),
        ("refs/heads/releases/v1", "", ["releases-v1"]),
        ("refs/tags/v1.2.3", "", ["v1.2.3", "latest"]),
        (
            "refs/tags/v1.2.3",
            "type=semver,pattern={{version}}\ntype=semver,pattern={{major}}.{{minor}}",
            ["1.2.3", "1.2", "latest"],
        ),
        (
            "refs/tags/v2.0.8-beta.67",
            "type=semver,pattern={{version}}\ntype=semver,pattern={{major}}.{{minor}}",
            ["2.0.8-beta.67"],
        ),
        ("refs/heads/main", "type=sha", ["sha-90dd603"]),
        ("refs/heads/main", "type=sha,format=long,prefix=", [SHA]),
        ("refs/heads/main", "type=sha,prefix={{branch}}-", ["main-90dd603"]),
        ("refs/heads/main", "type=edge", ["edge"]),
        ("refs/heads/dev", "type=edge", []),
        ("refs/heads/main", "type=raw,value=latest,enable={{is_default_branch}}", ["latest"]),
        ("refs/heads/dev", "type=raw,value=latest,enable={{is_default_branch}}", []),
        ("refs/tags/v2.0.8-beta.67", r"type=match,pattern=v(\d.\d),group=1", ["2.0", "latest"]),
        ("refs/heads/main", "type=raw,value=a\ntype=ref,event=branch", ["main", "a"]),
        ("refs/heads/main", "type=raw,value=x-{{date 'YYYYMMDD'}}", ["x-20200110"]),
    ],
)
def test_tags(ref: str, rules: str, expected: list[str]) -> None:
    assert _tags(ref, rules) == expected


def test_a_schedule_gives_nightly() -> None:
    assert _tags("refs/heads/main", "type=schedule", event="schedule") == ["nightly"]
    assert _tags("refs/heads/main", "type=schedule") == []


def test_flavor_decides_on_latest_prefix_and_suffix() -> None:
    assert _tags("refs/heads/main", flavor="latest=true\nsuffix=-alpine") == ["main-alpine", "latest"]
    assert _tags("refs/heads/main", flavor="latest=true\nsuffix=-alpine,onlatest=true") == [
        "main-alpine",
        "latest-alpine",
    ]
    assert _tags("refs/tags/v1.2.3", flavor="latest=false") == ["v1.2.3"]


@pytest.mark.parametrize("rule", ["type=what", "type=ref,event=x", "type=semver", "type=raw"])
def test_a_wrong_rule_fails(rule: str) -> None:
    with pytest.raises(ActionFailed):
        parse_rules([rule])


def test_outputs(job) -> None:
    ctx = job().use(METADATA, images="ghcr.io/Octo/App", tags="type=ref,event=branch", labels="team=a b")
    assert ctx.outputs["tags"] == "ghcr.io/octo/app:main"
    assert ctx.outputs["version"] == "main"
    data = json.loads(ctx.outputs["json"])
    assert data["labels"]["team"] == "a b"
    assert data["labels"]["org.opencontainers.image.revision"] == ctx.tree.commit
