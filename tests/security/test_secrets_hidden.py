"""Rows 9, 17, 32 of the known attacks: secrets are write-only, and a fork gets none."""

from __future__ import annotations

import argparse
import base64
import copy
import io
import json
import logging
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import msgspec
import pytest

from akashic.cli.command import CommandContext
from akashic.cli.commands import secret as command
from akashic.errors import AkashicError
from akashic.secrets import FILE_NAME, age
from akashic.secrets.document import Recipient
from akashic.secrets.dotenv import parse_dotenv
from akashic.secrets.file import SecretsFile
from akashic.secrets.keys import create_identity, find_identities
from akashic.secrets.secret import Secret

CANARY = "canary-5f1b7c-value"


@pytest.fixture
def file(tmp_path: Path) -> SecretsFile:
    recipient = create_identity(tmp_path / "key.txt")
    made = SecretsFile(
        tmp_path / FILE_NAME, environ={"AKASHIC_KEY_FILE": str(tmp_path / "key.txt")}, now=lambda: 0.0
    )
    made.init([Recipient(key=recipient)])
    made.set("TOKEN", Secret(CANARY))
    return made


def test_a_secret_shows_itself_in_no_text_log_json_or_copy() -> None:
    secret = Secret(CANARY)
    stream = io.StringIO()
    logger = logging.Logger("test")
    logger.addHandler(logging.StreamHandler(stream))
    logger.warning("%s %r", secret, [secret])
    texts = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!s:>40}",
        f"{secret}",
        str({"a": (secret,)}),
        stream.getvalue(),
    ]
    assert all(CANARY not in text and "***" in text for text in texts)
    for dump in (pickle.dumps, copy.copy, json.dumps, msgspec.json.encode):
        with pytest.raises(TypeError):
            dump(secret)
    assert secret.reveal() == CANARY
    assert vars(type(secret)).get("__dict__") is None


def test_a_fork_gets_nothing_and_needs_no_key(file: SecretsFile, tmp_path: Path) -> None:
    stranger = SecretsFile(file.path, environ={"HOME": str(tmp_path / "none")}, now=lambda: 0.0)
    for trust in ("fork", "", "unknown", "TRUSTED"):
        assert stranger.resolve("production", trust) == {}


def test_the_file_holds_neither_the_value_nor_its_length(file: SecretsFile) -> None:
    text = file.path.read_text()
    assert CANARY not in text
    lengths = set()
    for value in ("a", "ab", "abc" * 3):
        file.set("TOKEN", Secret(value))
        stored = base64.b64decode(json.loads(file.path.read_text())["secrets"][0]["value"])
        keys = find_identities({"AKASHIC_KEY_FILE": str(file.path.parent / "key.txt")}).keys
        lengths.add(len(age.decrypt(stored, keys)))
    assert len(lengths) == 1


def test_errors_hold_neither_values_nor_keys(file: SecretsFile, tmp_path: Path) -> None:
    key = (tmp_path / "key.txt").read_text().splitlines()[-1]
    other = tmp_path / "other.txt"
    create_identity(other)
    wrong = SecretsFile(file.path, environ={"AKASHIC_KEY_FILE": str(other)}, now=lambda: 0.0)
    attempts = [
        wrong.resolve,
        lambda: file.rotate("TOKEN", Secret(CANARY)),
        lambda: file.set("bad name", Secret(CANARY)),
        lambda: file.set("BIG", Secret(CANARY * 5000)),
        lambda: file.add_recipient(Recipient(key=key)),
        lambda: find_identities({"AKASHIC_KEY": f"x {key}"}),
        lambda: parse_dotenv(f"{CANARY} no equals", "f"),
        lambda: parse_dotenv(f'A="{CANARY}', "f"),
    ]
    for attempt in attempts:
        with pytest.raises(AkashicError) as caught:
            attempt()
        shown = f"{caught.value} {caught.value.hint} {''.join(traceback.format_exception(caught.value))}"
        assert CANARY not in shown
        assert key not in shown
    assert key not in repr(find_identities({"AKASHIC_KEY": key}))


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    command.configure(made)
    return made


@pytest.mark.parametrize("action", ["set", "rotate"])
def test_no_argument_takes_a_value(action: str) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args([action, "TOKEN", CANARY])
    with pytest.raises(SystemExit):
        parser().parse_args([action, "TOKEN", "--value", CANARY])


class _Parts:
    def __init__(self, file: SecretsFile) -> None:
        self.secrets = file


def call(
    file: SecretsFile,
    monkeypatch: pytest.MonkeyPatch,
    *argv: str,
    stdin: str = "",
    json_lines: bool = False,
    **environ: str,
) -> str:
    out = io.StringIO()
    monkeypatch.setattr(CommandContext, "application", lambda _: _Parts(file))
    monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
    context = CommandContext(
        cwd=file.path.parent,
        environ=environ,
        color=False,
        json=json_lines,
        interactive=False,
        debug=False,
        stdout=out,
        stderr=out,
    )
    command.run(parser().parse_args(argv), context)
    return out.getvalue()


def test_attack_32_no_sub_command_prints_a_value(file: SecretsFile, monkeypatch: pytest.MonkeyPatch) -> None:
    (file.path.parent / "in.env").write_text(f"IMPORTED={CANARY}-imported\n")
    said = "".join(
        [
            call(file, monkeypatch, "set", "A", stdin=CANARY + "\n"),
            call(file, monkeypatch, "set", "B", "--from-env", "V", V=CANARY),
            call(file, monkeypatch, "set", "C", "--generate"),
            call(file, monkeypatch, "rotate", "A", stdin=CANARY + "2"),
            call(file, monkeypatch, "rotate", "--all"),
            call(file, monkeypatch, "import", "in.env"),
            call(file, monkeypatch, "list"),
            call(file, monkeypatch, "list", json_lines=True),
            call(file, monkeypatch, "recipients"),
            call(file, monkeypatch, "rm", "B"),
        ]
    )
    values = file.resolve()
    assert values["A"] == CANARY + "2"
    assert values["IMPORTED"] == CANARY + "-imported"
    assert "IMPORTED" in said
    assert not any(value in said for value in [*values.values(), CANARY])


def test_no_process_is_started_that_could_show_a_value(
    file: SecretsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    file.set("A", Secret(CANARY))
    assert file.resolve()["A"] == CANARY
