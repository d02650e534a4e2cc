"""Filter patterns as GitHub's cheat sheet has them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.workflow.globs import GlobError, compile_glob, matches

CASES = """
feature/* | feature/my-branch feature/your-branch | feature/beta-a/my-branch feature
feature/** | feature/beta-a/my-branch feature/a | features/a
* | main releases | all/the/branches
** | all/the/branches every/tag main |
*feature | mona-feature feature ver-10-feature | feature-x a/feature
v2* | v2 v2.0 v2.9 | v1 v2/0
v[12].[0-9]+.[0-9]+ | v1.10.1 v2.0.0 | v3.0.0 v1..1 v1.0
*.jsx? | page.js page.jsx | page.jsxx a/page.js
**.js | index.js js/index.js src/js/app.js | index.ts
docs/* | docs/README.md docs/file.txt | docs/a/b.md
docs/** | docs/README.md docs/mona/octocat.txt | docsx/a
docs/**/*.md | docs/README.md docs/mona/hello-world.md docs/a/markdown/file.md | docs/a.txt
**/docs/** | docs/hello.md dir/docs/my-file.txt space/docs/plan/space.doc | mydocs/a
**/README.md | README.md js/README.md | READMExmd xREADME.md
**/*src/** | a/src/app.js my-src/code/js/app.js | a/srcx/b
**/*-post.md | my-post.md path/their-post.md | post.md
**/migrate-*.sql | migrate-10909.sql db/migrate-v1.0.sql db/sept/migrate-v1.sql | db/migrate.sql
a/**/b | a/b a/x/b a/x/y/b | ab a/xb
[a-c]x | ax bx | dx
[^a]x | bx | ax
"""


@pytest.mark.parametrize("line", CASES.strip().splitlines())
def test_a_pattern_of_the_cheat_sheet(line: str) -> None:
    pattern, good, bad = (part.strip() for part in line.split("|"))
    glob = compile_glob(pattern)
    assert [text for text in good.split() if not glob.matches(text)] == []
    assert [text for text in bad.split() if glob.matches(text)] == []


def test_the_last_pattern_that_matches_decides() -> None:
    patterns = ["releases/**", "!releases/**-alpha"]
    assert matches(patterns, "releases/10")
    assert not matches(patterns, "releases/beta/3-alpha")
    assert matches(["*.md", "!README.md", "README*"], "README.md")


def test_an_escaped_character_stands_for_itself() -> None:
    assert compile_glob(r"a\*\+\[").matches("a*+[")


@pytest.mark.parametrize(
    "pattern", ["", "+a", "*?", "[", "[]", "[z-a]", "a++", "x" * 1001, "[\u0001-\uffff]"]
)
def test_a_wrong_pattern_is_refused(pattern: str) -> None:
    with pytest.raises(GlobError):
        compile_glob(pattern)


@given(
    st.text("ab/", max_size=12),
    st.lists(st.sampled_from(["a", "b", "/", "*", "a?", "b+", "[ab]", "[^a]"]), max_size=8),
)
def test_matching_agrees_with_a_regular_expression(text: str, parts: list[str]) -> None:
    pattern = "".join(parts)
    if not pattern or "**" in pattern:
        return
    assert compile_glob(pattern).matches(text) == bool(re.fullmatch(pattern.replace("*", "[^/]*"), text))


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_pattern_is_compiled_or_refused(pattern: str, text: str) -> None:
    try:
        assert isinstance(compile_glob(pattern).matches(text), bool)
    except GlobError as error:
        assert error.message
