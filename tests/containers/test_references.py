"""Images' names, as Docker reads them."""

from __future__ import annotations

import pytest

from akashic.containers.references import is_image_id, parse_image_name
from akashic.errors import UsageError

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("redis", "docker.io/library/redis:latest", "redis:latest"),
        ("redis:7", "docker.io/library/redis:7", "redis:7"),
        ("ada/app:1", "docker.io/ada/app:1", "ada/app:1"),
        ("index.docker.io/library/redis", "docker.io/library/redis:latest", "redis:latest"),
        ("ghcr.io/ada/app", "ghcr.io/ada/app:latest", "ghcr.io/ada/app:latest"),
        ("localhost/app", "localhost/app:latest", "localhost/app:latest"),
        ("localhost:5000/a/b:x", "localhost:5000/a/b:x", "localhost:5000/a/b:x"),
        ("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a:latest"),
        (f"redis@{DIGEST}", f"docker.io/library/redis@{DIGEST}", f"redis@{DIGEST}"),
        (f"redis:7@{DIGEST}", f"docker.io/library/redis@{DIGEST}", f"redis@{DIGEST}"),
    ],
)
def test_a_name_is_completed_as_docker_does(text: str, full: str, familiar: str) -> None:
    name = parse_image_name(text)
    assert (str(name), name.familiar) == (full, familiar)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Redis",
        "redis:",
        "a//b",
        "a/-b",
        "redis@sha256:1",
        "a b",
        "-x/y",
        "a" * 2000,
        "redis:7;id",
        "../x",
    ],
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_image_name(text)


def test_an_id_is_told_from_a_name() -> None:
    assert is_image_id(DIGEST) and is_image_id("a" * 64)
    assert not is_image_id("redis") and not is_image_id("a" * 12)
