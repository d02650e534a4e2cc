"""Shells and the scripts they get."""

from __future__ import annotations

import pytest

from akashic.runner.shells import ShellError, find_shell


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("", ["bash", "-e", "/s"]),
        ("bash", ["bash", "--noprofile", "--norc", "-eo", "pipefail", "/s"]),
        ("sh", ["sh", "-e", "/s"]),
        ("python", ["python", "/s"]),
        ("pwsh", ["pwsh", "-command", ". '/s'"]),
        ("perl -w {0}", ["perl", "-w", "/s"]),
        ("env 'A=b c' {0} --x={0}", ["env", "A=b c", "/s", "--x=/s"]),
    ],
)
def test_each_shell_runs_the_script(name: str, argv: list[str]) -> None:
    assert find_shell(name).command("/s") == argv


@pytest.mark.parametrize("name", ["zsh", "cmd", "powershell", "bash -e", "'{0}"])
def test_other_shells_are_refused_with_what_is_possible(name: str) -> None:
    with pytest.raises(ShellError):
        find_shell(name)


def test_scripts_end_with_a_newline_and_have_no_carriage_returns() -> None:
    assert find_shell("").script("a\r\nb") == b"a\nb\n"
    assert find_shell("pwsh").script("x").startswith(b"$ErrorActionPreference = 'stop'\nx")
