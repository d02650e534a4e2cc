"""Markers are decided by the image's platform and Python, whatever machine builds."""

import pytest

from akashic.errors import UsageError
from akashic.images.locks import LockedRequirement
from akashic.images.markers import applying


def locked(name: str, marker: str = "") -> LockedRequirement:
    return LockedRequirement(name=name, version="1", sha256=("0" * 64,), marker=marker)


@pytest.mark.parametrize(
    ("marker", "platform", "python", "applies"),
    [
        ("", "linux/amd64", "3.11", True),
        ("python_full_version < '3.11.3'", "linux/amd64", "3.11", True),
        ("python_full_version < '3.11.3'", "linux/amd64", "3.11.7", False),
        ("python_version < '3.11'", "linux/amd64", "3.11", False),
        ("platform_machine == 'aarch64'", "linux/arm64", "3.12", True),
        ("platform_machine == 'aarch64'", "linux/amd64", "3.12", False),
        ("sys_platform == 'win32'", "linux/amd64", "3.11", False),
    ],
)
def test_a_marker_is_compared_with_the_image(marker: str, platform: str, python: str, applies: bool) -> None:
    found = applying([locked("thing", marker)], platform=platform, python=python, file="requirements.lock")
    assert [item.name for item in found] == (["thing"] if applies else [])


def test_a_broken_marker_names_the_file_and_the_package() -> None:
    with pytest.raises(UsageError, match=r"requirements.lock: thing: not a marker"):
        applying(
            [locked("thing", "python ~~ 3")], platform="linux/amd64", python="3.11", file="requirements.lock"
        )
