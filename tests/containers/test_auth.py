"""Credentials from Docker's settings and helpers."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from akashic.containers.auth import find_credentials
from akashic.containers.errors import EngineError


def settings(folder: Path, content: object) -> dict[str, str]:
    (folder / "config.json").write_text(json.dumps(content))
    return {"DOCKER_CONFIG": str(folder), "PATH": f"{folder}:/usr/bin:/bin"}


def entry(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def test_a_login_is_found_under_every_spelling_of_its_registry(tmp_path: Path) -> None:
    auths = {"https://index.docker.io/v1/": entry("ada:hub"), "https://r.example.com/v1/": entry("ada:p:w")}
    environ = settings(tmp_path, {"auths": auths})
    hub, other = find_credentials("docker.io", environ), find_credentials("r.example.com", environ)
    assert hub is not None and (hub.username, hub.password) == ("ada", "hub")
    assert other is not None and other.password == "p:w"
    assert find_credentials("none.example.com", environ) is None


def test_a_helper_is_asked_by_argv_and_wins(tmp_path: Path) -> None:
    helper = tmp_path / "docker-credential-test"
    helper.write_text(
        '#!/bin/sh\n[ "$1" = get ] || exit 9\nread name\n'
        'case $name in r.example.com) echo "{\\"Username\\": \\"ada\\", \\"Secret\\": \\"$name\\"}";;\n'
        '*) echo "credentials not found in native keychain"; exit 1;; esac\n'
    )
    helper.chmod(0o755)
    environ = settings(tmp_path, {"credHelpers": {"r.example.com": "test"}, "credsStore": "test"})
    found = find_credentials("r.example.com", environ)
    assert found is not None and found.password == "r.example.com"
    assert find_credentials("other.example.com", environ) is None


@pytest.mark.parametrize("name", ["absent", "../../bin/sh", "a b"])
def test_a_helper_that_cannot_be_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(EngineError, match=r"config\.json"):
        find_credentials("r.example.com", settings(tmp_path, {"credsStore": name}))


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    found = find_credentials(
        "r.example.com", settings(tmp_path, {"auths": {"r.example.com": entry("a:s3cret")}})
    )
    assert "s3cret" not in repr(found)


@pytest.mark.parametrize(
    "content", [[], {"auths": []}, {"auths": {"r": 1}}, {"auths": {"r.example.com": {"auth": "?"}}}]
)
def test_broken_settings_hold_nothing(tmp_path: Path, content: object) -> None:
    assert find_credentials("r.example.com", settings(tmp_path, content)) is None
