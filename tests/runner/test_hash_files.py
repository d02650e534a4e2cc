"""hashFiles: which files match, and their digest."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from akashic.errors import AkashicError
from akashic.runner.hash_files import hash_files


class Place:
    def __init__(self, folder: Path) -> None:
        self.workspace = str(folder)

    def host_path(self, path: str) -> str:
        return path


def expected(*contents: bytes) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents)).hexdigest()


@pytest.fixture
def place(tmp_path: Path) -> Any:
    for name in ("a.lock", "sub/b.lock", "sub/deep/c.lock", "sub/.hidden.lock", "other.txt", "we[ird].lock"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return Place(tmp_path)


@pytest.mark.parametrize(
    ("patterns", "names"),
    [
        (["*.lock"], ["a.lock", "we[ird].lock"]),
        (["**/*.lock", "!sub/**"], ["a.lock", "we[ird].lock"]),
        (["**/c.lock"], ["sub/deep/c.lock"]),
        (["sub"], ["sub/.hidden.lock", "sub/b.lock", "sub/deep/c.lock"]),
        (["sub/*.lock", "a.lock"], ["a.lock", "sub/.hidden.lock", "sub/b.lock"]),
        (["other.???"], ["other.txt"]),
        (["[ab].lock"], ["a.lock"]),
        (["[!b].lock"], ["a.lock"]),
        (["# comment\na.lock\n\n"], ["a.lock"]),
        (["./a.lock"], ["a.lock"]),
        (
            ["sub/**/*.lock", "!**/deep/**", "sub/deep/c.lock"],
            ["sub/.hidden.lock", "sub/b.lock", "sub/deep/c.lock"],
        ),
    ],
)
def test_patterns(place: Any, patterns: list[str], names: list[str]) -> None:
    assert hash_files(place, patterns) == expected(*(name.encode() for name in names))


def test_nothing_is_the_empty_string(place: Any) -> None:
    assert hash_files(place, ["none*"]) == ""
    assert hash_files(place, ["!a.lock"]) == ""
    assert hash_files(place, []) == ""


def test_a_whole_path_is_one_of_the_workspace(place: Any) -> None:
    whole = f"{place.workspace}/a.lock"
    assert hash_files(place, [whole]) == hash_files(place, ["/a.lock"]) == hash_files(place, ["a.lock"]) != ""
    assert hash_files(place, [place.workspace]) == hash_files(place, ["**"])


def test_patterns_and_links_do_not_leave_the_workspace(place: Any, tmp_path: Path) -> None:
    with pytest.raises(AkashicError, match="leaves the workspace"):
        hash_files(place, ["../x"])
    (tmp_path / "out.lock").symlink_to("/etc/passwd")
    with pytest.raises(AkashicError, match="link out of the workspace"):
        hash_files(place, ["out.lock"])
