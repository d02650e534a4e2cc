"""The options of `akashic run`: each is read, and what is wrong is said with its place."""

from __future__ import annotations

import argparse
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from akashic.cli.command import CommandContext
from akashic.cli.commands.run import configure, drive_options
from akashic.cli.dispatch import Parser
from akashic.cli.run_options import (
    FILE_BYTES_MAX,
    configure_drive,
    configure_request,
    overrides_of,
    pairs,
    read_payload,
    request_of,
)
from akashic.errors import UsageError


def context_in(folder: Path, environ: dict[str, str] | None = None) -> CommandContext:
    return CommandContext(
        cwd=folder, environ=environ or {}, color=False, json=False, interactive=False, debug=False
    )


def parsed(*argv: str) -> argparse.Namespace:
    parser = Parser(prog="akashic run", allow_abbrev=False)
    configure(parser)
    return parser.parse_args(argv)


def test_options_of_a_request(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_text('{"action": "closed"}')
    args = parsed(
        *("pull_request", "-W", "a.yml", "--workflows", "b.yml", "-j", "build", "--job", "test"),
        *("--matrix", "os:linux", "--matrix", "os:mac", "--matrix", "v:1:2", "-e", "event.json"),
        *("--input", "a=b=c", "--var", "X=1", "--actor", "grace", "--branch", "next", "--from-commit"),
    )
    request = request_of(args, context_in(tmp_path))
    assert (request.event_name, request.workflows) == ("pull_request", ("a.yml", "b.yml"))
    assert request.filter.jobs == ("build", "test")
    assert request.filter.matrix == {"os": ("linux", "mac"), "v": ("1:2",)}
    assert request.payload == {"action": "closed"}
    assert (request.inputs, request.vars) == ({"a": "b=c"}, {"X": "1"})
    assert (request.actor, request.branch, request.from_commit) == ("grace", "next", True)


def test_options_of_how_it_runs(tmp_path: Path) -> None:
    (tmp_path / ".secrets").write_text("export A='one'\nB=\"two\\nlines\"\n# C=no\n")
    args = parsed(
        *(
            "-s",
            "TOKEN",
            "--secret",
            "A=over",
            "--secret-file",
            ".secrets",
            "--env",
            "X=1",
            "--sandbox",
            "strict",
        ),
        *(
            "-P",
            "ubuntu-latest=node:20",
            "--concurrent-jobs",
            "3",
            "--offline",
            "--no-builtin",
            "--step-debug",
        ),
        *("--local-repository", f"acme/tool@v1={tmp_path}"),
    )
    options = drive_options(args, context_in(tmp_path, {"TOKEN": "from env"}))
    assert options.secrets == {"A": "over", "B": "two\nlines", "TOKEN": "from env"}
    assert (options.env, options.sandbox, options.jobs_max) == ({"X": "1"}, "strict", 3)
    assert (options.offline, options.builtins, options.step_debug) == (True, False, True)
    assert options.overrides == {"acme/tool@v1": str(tmp_path)}


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--input", "novalue"], "--input novalue: expected NAME=VALUE"),
        (["--var", "=x"], "--var : expected NAME=VALUE"),
        (["--matrix", "os"], "--matrix os: expected NAME:VALUE"),
        (["--matrix", ":linux"], "expected NAME:VALUE"),
        (["-e", "none.json"], "none.json: cannot be read: No such file or directory"),
        (["-e", "."], "cannot be read: Is a directory"),
        (["--var-file", "bad.env"], "bad.env:2: expected NAME=value"),
        (["--input-file", "bad.env"], "bad.env:2: expected NAME=VALUE"),
    ],
)
def test_a_wrong_value_says_what_was_expected(tmp_path: Path, argv: list[str], message: str) -> None:
    (tmp_path / "bad.env").write_text("A=1\nnonsense\n")
    with pytest.raises(UsageError) as caught:
        request_of(parsed(*argv), context_in(tmp_path))
    assert message in caught.value.message


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--break-on-failure"], "need a terminal"),
        (["--break", "build/1"], "need a terminal"),
        (["--concurrent-jobs", "-1"], "expected 0"),
        (["-s", "TOKEN"], "no value"),
        (["--local-repository", "acme=x"], "expected OWNER/REPO@REF=DIR"),
        (["--local-repository", "a/b@v1=nowhere"], "is no folder"),
    ],
)
def test_a_wrong_way_to_run_is_refused(tmp_path: Path, argv: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        drive_options(parsed(*argv), context_in(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{\n  "a": 1,\n}', "event.json:3:1: the event is not valid JSON"),
        (b"", "event.json:1:1: the event is not valid JSON"),
        (b"[1]", "must be a JSON object, not an array"),
        (b"null", "must be a JSON object, not null"),
        (b"3", "must be a JSON object, not a number"),
        (b'"x"', "must be a JSON object, not a string"),
        (b'{"a": NaN}', "not valid JSON"),
        (b'{"a": "\\ud800"}', "not valid JSON"),
        (b'{"a": "\xff"}', "not valid UTF-8 at byte 7"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_broken_event_says_where(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "event.json").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_payload("event.json", context_in(tmp_path))
    assert message in caught.value.message


def test_an_event_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    (tmp_path / "event.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_payload("event.json", context_in(tmp_path)) == {"a": 1}


def test_a_huge_event_is_refused(tmp_path: Path) -> None:
    with (tmp_path / "event.json").open("wb") as file:
        file.truncate(FILE_BYTES_MAX + 1)
    with pytest.raises(UsageError, match="larger than"):
        read_payload("event.json", context_in(tmp_path))


def test_an_event_may_come_on_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b'{"a": "\xc3\xa4"}'), encoding="ascii"))
    assert read_payload("-", context_in(tmp_path)) == {"a": "ä"}


@given(st.binary(max_size=60))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_event_file_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "event.json").write_bytes(content)
    try:
        assert isinstance(read_payload("event.json", context_in(tmp_path)), dict)
    except UsageError as error:
        assert "event.json" in error.message


@given(st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.text(), max_size=4))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_written_event_is_read_as_it_is(tmp_path: Path, payload: dict[str, Any]) -> None:
    text = json.dumps(payload, ensure_ascii=False)
    (tmp_path / "event.json").write_bytes(text.encode("utf-8", "replace"))
    if "?" not in text:
        found = read_payload("event.json", context_in(tmp_path))
        assert found.keys() == payload.keys()


def test_a_value_that_is_wrong_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        pairs(["=hunter2"], None, "--secret", context_in(tmp_path), ask=True)
    assert "hunter2" not in caught.value.message
    (tmp_path / "s").write_text("hunter2 and more\n")
    with pytest.raises(UsageError) as caught:
        pairs([], "s", "--secret", context_in(tmp_path), ask=True)
    assert "hunter2" not in caught.value.message


def test_overrides_are_absolute(tmp_path: Path) -> None:
    (tmp_path / "tool").mkdir()
    assert overrides_of(["a/b@v1=tool"], context_in(tmp_path)) == {"a/b@v1": str(tmp_path / "tool")}


def test_every_option_has_a_help_text() -> None:
    for configure_ in (configure_request, configure_drive):
        parser = Parser(prog="x")
        configure_(parser)
        for action in parser._actions:
            assert action.help, action
