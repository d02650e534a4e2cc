"""Build contexts."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path

import pytest

from akashic.containers.context import packed_context
from akashic.containers.errors import BuildFailed


def packed(folder: Path, dockerfile: str = "Dockerfile") -> tuple[list[str], str]:
    with packed_context(str(folder), dockerfile) as (archive, digest):
        content = b"".join(archive)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        return tar.getnames(), digest


def make(folder: Path, ignore: str = "") -> Path:
    for name in ("Dockerfile", "a.txt", "b.md", "sub/a.txt", "sub/deep/c.md", "keep/x"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    if ignore:
        (folder / ".dockerignore").write_text(ignore)
    return folder


def test_the_same_files_give_the_same_digest_and_a_change_another(tmp_path: Path) -> None:
    _, first = packed(make(tmp_path / "one"))
    os.utime(make(tmp_path / "two") / "a.txt", (1, 1))
    assert packed(tmp_path / "two")[1] == first
    (tmp_path / "two" / "a.txt").chmod(0o755)
    assert packed(tmp_path / "two")[1] != first


@pytest.mark.parametrize(
    ("ignore", "left"),
    [
        ("*.md", {"sub", "sub/deep", "sub/deep/c.md", "sub/a.txt", "a.txt", "keep", "keep/x"}),
        ("**/*.md\nkeep", {"sub", "sub/deep", "sub/a.txt", "a.txt"}),
        ("*\n!sub/a.txt", {"sub/a.txt"}),
        ("# none\n/sub\nDockerfile", {"a.txt", "b.md", "keep", "keep/x"}),
    ],
)
def test_dockerignore(tmp_path: Path, ignore: str, left: set[str]) -> None:
    names, _ = packed(make(tmp_path, ignore))
    assert set(names) == left | {"Dockerfile", ".dockerignore"}


def test_a_dockerfile_outside_is_refused(tmp_path: Path) -> None:
    make(tmp_path / "inner")
    (tmp_path / "Dockerfile").write_text("FROM scratch")
    with pytest.raises(BuildFailed, match="leads out"):
        packed(tmp_path / "inner", "../Dockerfile")
    with pytest.raises(BuildFailed, match="there is no None"):
        packed(tmp_path / "inner", "None")


def test_links_are_sent_as_links(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "link").symlink_to("/etc/passwd")
    with packed_context(str(tmp_path), "Dockerfile") as (archive, _):
        content = b"".join(archive)
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        assert tar.getmember("link").issym()
