"""From a command line to one command, and from any error to a message and an exit code."""

from __future__ import annotations

import importlib
import io
import sys
from pathlib import Path

import pytest

from akashic.cli.command import CommandContext
from akashic.cli.dispatch import COMMANDS, EXIT_BUG, Parser, dispatch, overview
from tests.cli.cli_process import Cli, steps

GOLDEN = Path(__file__).parent / "golden"


def run(argv: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = dispatch(argv)
    out, err = capsys.readouterr()
    return code, out, err


def test_the_overview_is_as_agreed(capsys: pytest.CaptureFixture[str]) -> None:
    expected = (GOLDEN / "help.txt").read_text(encoding="utf-8")
    assert overview() == expected, "tests/cli/golden/help.txt is stale: write `akashic --help` into it"
    for argv in (["--help"], ["-h"], ["help"]):
        assert run(argv, capsys) == (0, expected, "")
    assert run([], capsys) == (2, "", expected)


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_its_module_its_help_and_its_options(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(COMMANDS[name].module)
    assert COMMANDS[name].help == module.HELP
    module.configure(Parser(prog=name))
    code, out, _ = run([name, "--help"], capsys)
    assert code == 0
    assert out.startswith(f"usage: akashic {name}") and "--json" in out
    assert run(["help", name], capsys) == (0, out, "")
    assert run(["--help", name], capsys) == (0, out, "")


def test_an_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(["rnu"], capsys)
    assert (code, out) == (2, "")
    assert err == "error: there is no command `rnu`\n\nhint: did you mean `akashic run`?\n"
    assert "lists the commands" in run(["zzzzzz"], capsys)[2]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["runs", "--last", "many"], "invalid int value: 'many'"),
        (["run", "--sandbox", "perhaps"], "invalid choice: 'perhaps'"),
        (["run", "--executor", "moon"], "invalid choice: 'moon'"),
        (["run", "push", "pull_request"], "unrecognized arguments: pull_request"),
        (["run", "--work", "ci.yml"], "unrecognized arguments"),
        (["-C"], "expected one argument"),
        (["--nonsense", "run"], "unrecognized arguments: --nonsense"),
    ],
)
def test_a_wrong_command_line_ends_with_two(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(argv, capsys)
    assert (code, out) == (2, "")
    assert message in err and "--help shows the usage" in err


class Probe:
    """A command that notes its context, or raises."""

    HELP = "look"
    error: BaseException | None = None
    context: CommandContext | None = None

    @staticmethod
    def configure(parser: object) -> None:
        return

    @classmethod
    def run(cls, args: object, context: CommandContext) -> int:
        cls.context = context
        if cls.error is not None:
            raise cls.error
        return 0


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> type[Probe]:
    class Fresh(Probe):
        pass

    monkeypatch.setitem(sys.modules, "akashic.cli.commands.runs", Fresh)  # type: ignore[arg-type]
    return Fresh


def test_the_options_of_every_command_stand_after_a_part_of_it_too(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "c.json").write_text('{"env": {"A": 1}}', encoding="utf-8")
    argv = ["expr", "eval", "env.A", "--context", "c.json", "--no-color", "-C", str(tmp_path)]
    assert run(argv, capsys) == (0, "1\n", "")


@pytest.mark.parametrize("argv", [["--json", "runs"], ["runs", "--json"]])
def test_json_stands_before_or_after_the_command(argv: list[str], probe: type[Probe]) -> None:
    assert dispatch(argv) == 0
    assert probe.context is not None and probe.context.json


def test_a_folder_stands_before_or_after_the_command(probe: type[Probe], tmp_path: Path) -> None:
    for argv in (["-C", str(tmp_path), "runs"], ["runs", "-C", str(tmp_path)], [f"-C{tmp_path}", "runs"]):
        assert dispatch(argv) == 0
        assert probe.context is not None and probe.context.cwd == tmp_path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("variables", "argv", "color"),
    [
        ({}, ["runs"], True),
        ({"NO_COLOR": "1"}, ["runs"], False),
        ({"NO_COLOR": ""}, ["runs"], True),
        ({"CI": "true"}, ["runs"], False),
        ({"TERM": "dumb"}, ["runs"], False),
        ({}, ["runs", "--no-color"], False),
        ({}, ["runs", "--json"], False),
    ],
)
def test_colour_is_for_terminals_that_want_it(
    probe: type[Probe],
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    argv: list[str],
    color: bool,
) -> None:
    for name in ("NO_COLOR", "CI", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert dispatch(argv) == 0
    assert probe.context is not None and probe.context.color is color


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (KeyError("x"), EXIT_BUG, "a bug in akashic: KeyError: 'x'"),
        (RecursionError("deep"), EXIT_BUG, "a bug in akashic"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (OSError(28, "No space left on device", "/x"), 1, "the disk is full"),
        (PermissionError(13, "Permission denied", "/x"), 1, "check who owns the file"),
        (BrokenPipeError(), 0, ""),
    ],
)
def test_every_error_ends_as_a_message_and_an_exit_code(
    probe: type[Probe],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    code: int,
    words: str,
) -> None:
    monkeypatch.setattr("akashic.cli.dispatch._close_output", lambda: None)
    probe.error = error
    assert dispatch(["runs"]) == code
    shown = capfd.readouterr().err
    assert words in shown and "Traceback" not in shown
    if code:
        assert dispatch(["runs", "--debug"]) == code
        assert "Traceback" in capfd.readouterr().err


def test_a_terminal_with_few_letters_gets_what_it_can_show(cli: Cli) -> None:
    cli.workflow(steps("echo ä"))
    cli.commit()
    result = cli("run", env={"PYTHONIOENCODING": "ascii", "LC_ALL": "C"})
    assert result.returncode == 0, result.stderr
    assert "\\u2713 run 1 succeeded" in result.stdout


def test_a_reader_that_has_gone_is_no_error(cli: Cli) -> None:
    cli.workflow(steps("for i in $(seq 30000); do echo line $i; done"))
    cli.commit()
    assert cli("run", "--quiet").returncode == 0
    process = cli.start("logs")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=30) == 0


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    from akashic import __version__

    assert run(["--version"], capsys) == (0, f"akashic {__version__}\n", "")
