"""Workflow commands, in both forms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.runner.commands import Command, Commands, Effects, candidates, parse_command
from akashic.runner.masking import Masker
from akashic.runner.matchers import LINE_BYTES_MAX, MatcherError, Matchers
from akashic.runner.output import LineWriter, StepOutput


class Bench:
    def __init__(self, env: dict[str, str] | None = None, *, debug: bool = False, files: Any = None) -> None:
        self.out: list[bytes] = []
        self.masker = Masker()
        self.matchers = Matchers()
        self.effects = Effects()
        self.output = StepOutput(LineWriter(self.masker, self.out.append), self.masker, self.matchers)
        self.output.commands = Commands(
            effects=self.effects,
            add_mask=self.masker.add,
            write=self.output.say,
            matchers=self.matchers,
            read_file=(files or {}).get,
            env=env or {},
            mask_text=self.masker.mask_text,
            debug=debug,
        )
        self.output.effects = self.effects

    def feed(self, text: str) -> list[str]:
        before = len(self.out)
        self.output.feed(text.encode())
        self.output.finish()
        return b"".join(self.out[before:]).decode().splitlines()


def test_issues_become_annotations_with_their_places() -> None:
    bench = Bench()
    lines = bench.feed(
        "::error file=a.py,line=3,endLine=4,col=5,endColumn=6,title=No%2C so::bad%0Aworse%25\n"
    )
    assert lines == ["##[error]bad", "worse%"]
    (annotation,) = bench.effects.annotations
    assert (annotation.level, annotation.file, annotation.line, annotation.end_line) == (
        "error",
        "a.py",
        3,
        4,
    )
    assert (annotation.column, annotation.end_column, annotation.title) == (5, 6, "No, so")
    bench.feed("  ::WARNING::w\n::notice::n\n")
    assert [a.level for a in bench.effects.annotations] == ["error", "warning", "notice"]


def test_at_most_ten_annotations_of_a_level_are_kept() -> None:
    bench = Bench()
    lines = bench.feed("::error::x\n" * 25 + "::warning::y\n")
    assert len(lines) == 26
    assert [a.level for a in bench.effects.annotations] == ["error"] * 10 + ["warning"]


def test_groups_and_debug() -> None:
    bench = Bench()
    assert bench.feed("::group::Title\ninside\n::endgroup::\n::debug::hidden\n") == [
        "##[group]Title",
        "inside",
        "##[endgroup]",
    ]
    assert Bench(debug=True).feed("::debug::shown\n") == ["##[debug]shown"]
    assert bench.feed("##[group]Old\n##[endgroup]\n") == ["##[group]Old", "##[endgroup]"]


def test_what_is_no_command_is_output() -> None:
    text = [
        "a::error::x",
        "std::vector<int>",
        "::unknown::x",
        "::error",
        "text ::group:: no",
        "##[nothing]x",
        "##[x",
    ]
    assert Bench().feed("\n".join(text) + "\n") == text


def test_a_bracket_command_may_stand_inside_its_line() -> None:
    assert Bench().feed("prefix ##[error]boom\n") == ["##[error]boom"]


def test_a_mask_holds_for_everything_after_it() -> None:
    bench = Bench()
    lines = bench.feed(
        "s3cr3t-value before\n::add-mask::s3cr3t-value\ns3cr3t-value after\n::error::s3cr3t-value\n"
    )
    assert lines == ["s3cr3t-value before", "*** after", "##[error]***"]
    assert bench.effects.annotations[0].message == "***"
    assert "empty" in bench.feed("::add-mask::\n")[0]


def test_stopped_commands_are_output_until_the_token_comes() -> None:
    bench = Bench()
    lines = bench.feed("::stop-commands::tok-en\n::error::no\n::tok-en::\n::error::yes\n")
    assert lines == ["::stop-commands::tok-en", "::error::no", "::tok-en::", "##[error]yes"]


@pytest.mark.parametrize("token", ["", "error", "set-env", "add-mask"])
def test_a_token_that_is_a_command_is_refused(token: str) -> None:
    bench = Bench()
    bench.feed(f"::stop-commands::{token}\n::error::heard\n")
    assert bench.effects.failed
    assert any(a.message == "heard" for a in bench.effects.annotations)


def test_echo_shows_the_commands_themselves() -> None:
    bench = Bench()
    lines = bench.feed("::set-output name=a::1\n::echo::on\n::set-output name=b::2\n::add-mask::longsecret\n")
    assert "::set-output name=a::1" not in lines
    assert "::set-output name=b::2" in lines and "::add-mask::***" in lines
    bench.feed("::echo::maybe\n")
    assert bench.effects.failed


def test_the_old_output_and_state_commands_work_with_a_warning() -> None:
    bench = Bench()
    lines = bench.feed("::set-output name=a::1\n::save-state name=b::2\n::set-output name=c::3\n")
    assert bench.effects.outputs == {"a": "1", "c": "3"} and bench.effects.state == {"b": "2"}
    assert sum("is deprecated" in line for line in lines) == 2
    bench.feed("::set-output::x\n")
    assert bench.effects.failed


MATCHER = {
    "problemMatcher": [
        {
            "owner": "lint",
            "pattern": [
                {"regexp": "^(\\S+)$", "file": 1},
                {
                    "regexp": "^\\s+(\\d+):(\\d+)\\s+(error|warning)\\s+(.*)$",
                    "line": 1,
                    "column": 2,
                    "severity": 3,
                    "message": 4,
                    "loop": True,
                },
            ],
        }
    ]
}


def test_a_matcher_with_a_loop_finds_each_problem_of_a_file() -> None:
    bench = Bench(files={"m.json": json.dumps(MATCHER).encode()})
    bench.feed(
        "::add-matcher::m.json\nsrc/a.js\n  1:2  error  broken\n  3:4 warning \x1b[31mmeh\x1b[0m\n"
        "src/b.js\n  5:6 error x\n"
    )
    found = [(a.level, a.file, a.line, a.column, a.message) for a in bench.effects.annotations]
    assert found == [
        ("error", "src/a.js", 1, 2, "broken"),
        ("warning", "src/a.js", 3, 4, "meh"),
        ("error", "src/b.js", 5, 6, "x"),
    ]
    bench.feed("::remove-matcher owner=lint::\nsrc/a.js\n 1:2 error again\n")
    assert len(bench.effects.annotations) == 3


def test_a_matcher_that_is_wrong_fails_the_step() -> None:
    for content in (
        b"{",
        b"{}",
        b'{"problemMatcher":[{"owner":"x","pattern":[{"regexp":"("}]}]}',
        b"[" * 100_000,
    ):
        with pytest.raises(MatcherError):
            Matchers().add(content)
    bench = Bench(files={})
    bench.feed("::add-matcher::nowhere.json\n")
    assert bench.effects.failed


def test_long_lines_are_not_matched() -> None:
    matchers = Matchers()
    matchers.add(b'{"problemMatcher":[{"owner":"x","pattern":[{"regexp":"^(a+)$","message":1}]}]}')
    assert matchers.match("a" * LINE_BYTES_MAX) is not None
    assert matchers.match("a" * (LINE_BYTES_MAX + 1)) is None


NAMES = ("add-mask", "debug", "echo", "endgroup", "error", "group", "notice", "set-output", "warning")
KEYS = st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=9)


def escaped(text: str, signs: str = "%\r\n") -> str:
    """As `@actions/core` writes data; properties with `:,` too."""
    return "".join(f"%{ord(sign):02X}" if sign in signs else sign for sign in text)


@given(
    st.sampled_from(NAMES),
    st.booleans(),
    st.dictionaries(KEYS, st.text(max_size=20).map(str.strip), max_size=4),
    st.text(max_size=60),
    st.sampled_from(["", " ", "\t "]),
)
def test_what_the_toolkit_writes_is_read_as_it_was_meant(
    name: str, shouted: bool, properties: dict[str, str], data: str, blank: str
) -> None:
    pairs = ",".join(
        f"{key}={escaped(value, '%:,' + chr(13) + chr(10))}" for key, value in properties.items()
    )
    head = f"{name.upper() if shouted else name} {pairs}".strip()
    assert parse_command(f"{blank}::{head}::{escaped(data)}") == Command(name, properties, data)


@given(st.sampled_from(NAMES), st.text(max_size=60))
def test_any_line_is_a_command_or_output(name: str, text: str) -> None:
    for line in (text, f"::{text}", f"::{text}::{text}", f"##[{text}]{text}"):
        command = parse_command(line)
        assert command is None or command.name in line.lower()
    for line in (f"::{name} {text}::{text}", f"{text}##[{name} {text}]{text}"):
        command = parse_command(line)
        assert command is None or command.name in NAMES


@given(
    st.lists(
        st.sampled_from(
            [
                "::error::x",
                "::stop-commands::t",
                "::t::",
                "##[x",
                "::",
                "a",
                "\x00",
                "::echo::on",
                "::debug::d",
            ]
        )
    )
)
def test_lines_are_commands_but_for_those_between_a_stop_and_its_token(lines: list[str]) -> None:
    expected, errors, stopped = [], 0, False
    for line in lines:
        if stopped:
            stopped = line != "::t::"
        elif line in ("::debug::d", "::echo::on"):
            continue
        elif line == "::error::x":
            errors += 1
            line = "##[error]x"
        elif line == "::stop-commands::t":
            stopped = True
        expected.append(line)
    bench = Bench()
    assert bench.feed("".join(f"{line}\n" for line in lines)) == expected
    assert [one.message for one in bench.effects.annotations] == ["x"] * min(errors, 10)


@pytest.mark.parametrize("regexp", ["^(a+)+$", "(?:x|y*)*", "([a-z]+){2,}", "(.*,)*b"])
def test_patterns_that_could_take_for_ever_are_refused(regexp: str) -> None:
    config = {"problemMatcher": [{"owner": "x", "pattern": [{"regexp": regexp, "message": 1}]}]}
    with pytest.raises(MatcherError, match="must not repeat inside"):
        Matchers().add(json.dumps(config).encode())


@pytest.mark.parametrize(
    ("regexp", "line", "first"),
    [
        (r"^\s*(.+\.go):(?:(\d+):(\d+):)? (.*)$", " cmd/x.go:3:4: no", "cmd/x.go"),
        (r"^([^\s].*)\((\d+)(?:,\d+|,\d+,\d+)?\):\s+(error|warning)\s+(.*)$", "a.ts(1,2): error x", "a.ts"),
        (r"^\s+(\d+):(\d+)\s+(error|warning|info)\s+(.*)\s\s+(.*)$", "  7:2  error  no  semi", "7"),
        (r"^\[(\w+)\] \+(\d+)\)+ (.*)$", "[lint] +12)) no", "lint"),
    ],
)
def test_patterns_that_people_use_are_taken(regexp: str, line: str, first: str) -> None:
    matchers = Matchers()
    config = {"problemMatcher": [{"owner": "x", "pattern": [{"regexp": regexp, "message": 1}]}]}
    matchers.add(json.dumps(config).encode())
    found = matchers.match(line)
    assert found is not None and found.message == first


def test_a_line_of_a_million_characters_beside_commands_does_not_hold_the_runner() -> None:
    long = b"a" * 1_000_000
    spaces = b" " * 1_000_000
    lines = [b"::debug::x", long, long + b"##[group]y", spaces, spaces + b"::notice::z", b"a ::debug::no"]
    block = b"\n".join(lines) + b"\n"
    assert [block[begin:end] for begin, end in candidates(block)] == [lines[0], lines[2], lines[4]]


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_carriage_return_alone_ends_a_line_wherever_output_is_cut(cut: int) -> None:
    bench = Bench()
    text = b"10%\r20%\r\nx\r::notice::n\rend\r"
    bench.output.feed(text[:cut])
    bench.output.feed(text[cut:])
    bench.output.finish()
    lines = b"".join(bench.out).decode().split("\n")
    assert [line.removesuffix("\r") for line in lines] == ["10%", "20%", "x", "##[notice]n", "end", ""]
    assert [one.message for one in bench.effects.annotations] == ["n"]


def test_a_secret_with_carriage_returns_is_masked_as_a_whole() -> None:
    bench = Bench()
    bench.masker.add("ab\rcd\ref")
    assert bench.feed("x ab\rcd\ref y\n") == ["x ***", "***", "*** y"]
