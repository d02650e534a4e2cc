import pytest

from akashic.containers.dockerignore import DockerIgnore
from akashic.errors import UsageError


@pytest.mark.parametrize(
    ("text", "ignored", "kept"),
    [
        ("*\n!src\n**/__pycache__", ["a", "src/__pycache__/x.pyc", "b/c"], ["src/a.py", "src/b/c"]),
        ("# a comment\n\n*.md\n!README.md", ["a.md"], ["README.md", "docs/a.md", "b"]),
        ("**/*.log", ["a.log", "x/y/a.log"], ["a.logs", "log"]),
        ("/build/", ["build/a", "build/a/b"], ["src/build/a"]),
        ("a/**/b", ["a/b", "a/x/y/b"], ["a", "ab"]),
        ("fil?.txt\n[a-c].py\n[^x]z", ["file.txt", "b.py", "az"], ["fil/e.txt", "d.py", "xz"]),
        ("no.dot", ["no.dot"], ["noxdot"]),
    ],
)
def test_the_last_line_that_matches_decides(text: str, ignored: list[str], kept: list[str]) -> None:
    ignore = DockerIgnore(text)
    assert [path for path in [*ignored, *kept] if ignore.ignores(path)] == ignored


def test_what_is_no_pattern_is_named() -> None:
    with pytest.raises(UsageError, match=r"'\[z-a\]' is no pattern"):
        DockerIgnore("*.md\n[z-a]\n")
