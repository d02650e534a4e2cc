"""From `argv` to one command: global options, the table of commands, and the one handler of errors."""

from __future__ import annotations

import argparse
import functools
import importlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from akashic import __version__
from akashic.cli.argv import split
from akashic.cli.command import Command, CommandContext
from akashic.errors import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, AkashicError, UsageError

EXIT_BUG = 3
HELP_COLUMNS = 100


class Entry(NamedTuple):
    """A command as the overview shows it; `module` is imported when the command is called."""

    help: str
    group: str
    module: str


RUN, DELIVER, KEEP, CHECK = "Run workflows", "Deliver", "Keep", "Look and check"


def _entry(name: str, group: str, help_text: str) -> tuple[str, Entry]:
    return name, Entry(help_text, group, f"akashic.cli.commands.{name}")


COMMANDS: dict[str, Entry] = dict(
    (
        _entry("up", RUN, "take the repository from its current commit to production on this machine"),
        _entry("down", RUN, "stop everything that `up` or `deploy` started on this machine"),
        _entry("run", RUN, "run the workflows that an event triggers"),
        _entry("rerun", RUN, "run a run's jobs again: all, the failed ones, or one"),
        _entry("resume", RUN, "go on at the step that failed, or take on what a killed process left"),
        _entry("cancel", RUN, "cancel a run"),
        _entry("plan", RUN, "show what an event would run, and why not"),
        _entry("runs", CHECK, "list runs"),
        _entry("logs", CHECK, "print a run's logs"),
        _entry("status", DELIVER, "show what each environment serves"),
        _entry("deploy", DELIVER, "deploy a release to an environment"),
        _entry("promote", DELIVER, "deploy what one environment serves to the next"),
        _entry("rollback", DELIVER, "go back to the release before"),
        _entry("exec", DELIVER, "run a command in the place of what an environment serves"),
        _entry("start", DELIVER, "start again what an environment served before a stop"),
        _entry("history", DELIVER, "show an environment's deployments"),
        _entry("approve", DELIVER, "approve what waits at an environment's gate"),
        _entry("reject", DELIVER, "reject what waits at an environment's gate"),
        _entry("preview", DELIVER, "list and remove the environments of branches"),
        _entry("environments", DELIVER, "list the environments and their rules"),
        _entry("image", DELIVER, "build, scan, test and clean up images"),
        _entry("secret", KEEP, "keep secrets in the repository, encrypted"),
        _entry("notify", KEEP, "test where notifications go"),
        _entry("artifact", KEEP, "list, fetch and remove the artifacts of runs"),
        _entry("cache", KEEP, "list and remove the caches of jobs"),
        _entry("warm", KEEP, "show or stop the process that makes commands start fast"),
        _entry("lock", KEEP, "pin the actions that the workflows use, and what those use, to commits"),
        _entry("lint", CHECK, "check workflow files: syntax, expressions, actions, script injection"),
        _entry("config", CHECK, "check and show akashic.yaml"),
        _entry("expr", CHECK, "evaluate a GitHub expression with the contexts of a file"),
        _entry("journal", CHECK, "check, show or export the journal"),
    )
)


class Parser(argparse.ArgumentParser):
    """argparse, with our way of saying what is wrong."""

    def _get_formatter(self) -> argparse.HelpFormatter:
        # argparse asks for one at each option, and would import shutil only to learn the terminal's width.
        formatter: Callable[..., argparse.HelpFormatter] = self.formatter_class
        return formatter(prog=self.prog, width=_help_columns())

    def error(self, message: str) -> NoReturn:
        raise UsageError(message, hint=f"{self.prog} --help shows the usage")


def _help_columns() -> int:
    try:
        columns = os.get_terminal_size(1).columns
    except OSError:
        columns = 0
    return min(columns or HELP_COLUMNS, HELP_COLUMNS) - 2


def overview() -> str:
    """The text of `akashic --help`."""
    lines = [
        "usage: akashic [-C DIR] [--json] [--no-color] [--debug] COMMAND …",
        "",
        "From push to production: runs GitHub Actions workflows as they are, and carries the result",
        "through environments with approvals, health-gated rollouts and automatic rollback.",
    ]
    for group in (RUN, DELIVER, KEEP, CHECK):
        lines += ["", f"{group}:"]
        lines += [f"  {name:<13} {entry.help}" for name, entry in COMMANDS.items() if entry.group == group]
    lines += [
        "",
        "Options of every command:",
        "  -C, --directory DIR  work in DIR instead of the current folder",
        "  --json               one JSON object a line on standard output, for machines",
        "  --no-color           no colour and no live view (NO_COLOR and CI do the same)",
        "  --debug              show where an error came from",
        "  --version            show the version",
        "",
        "akashic COMMAND --help shows a command's options.",
    ]
    return "\n".join(lines) + "\n"


def _add_global_options(parser: argparse.ArgumentParser, *, suppress: bool) -> None:
    """The options that are taken before and after the command's name; after it they must not reset what
    was given before (hence SUPPRESS)."""

    def default(value: Any) -> Any:
        return argparse.SUPPRESS if suppress else value

    group = parser.add_argument_group("options of every command")
    group.add_argument(
        "-C", "--directory", metavar="DIR", default=default("."), help="work in DIR instead of here"
    )
    group.add_argument(
        "--json", action="store_true", default=default(False), help="one JSON object a line, for machines"
    )
    group.add_argument(
        "--no-color", action="store_true", default=default(False), help="no colour and no live view"
    )
    group.add_argument(
        "--debug", action="store_true", default=default(False), help="show where an error came from"
    )
    for action in list(parser._actions):
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                _add_global_options(below, suppress=True)


def _context(options: argparse.Namespace) -> CommandContext:
    cwd = Path(options.directory)
    if not cwd.is_dir():
        raise UsageError(f"{options.directory}: no such folder", hint="-C takes a folder that exists")
    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    plain = options.no_color or bool(os.environ.get("NO_COLOR")) or bool(os.environ.get("CI"))
    return CommandContext(
        cwd=cwd.resolve(),
        # A plain one: each look into os.environ encodes and decodes.
        environ=dict(os.environ),
        color=terminal and not plain and not options.json,
        json=options.json,
        interactive=terminal and sys.stdin.isatty() and not os.environ.get("CI"),
        debug=options.debug,
        stdout=sys.stdout,
        stderr=sys.stderr,
    )


@functools.cache
def _top_parser() -> Parser:
    top = Parser(prog="akashic", add_help=False, allow_abbrev=False)
    _add_global_options(top, suppress=False)
    top.add_argument("-h", "--help", action="store_true")
    top.add_argument("--version", action="store_true")
    return top


def _run(argv: Sequence[str]) -> int:
    before, name, rest = split(list(argv))
    options = _top_parser().parse_args(before)
    if options.version:
        print(f"akashic {__version__}")
        return EXIT_OK
    if options.help or name in ("", "help"):
        asked = rest[0] if name == "help" and rest else name
        if asked not in ("", "help"):
            return _run([asked, "--help"])
        (sys.stdout if options.help or name else sys.stderr).write(overview())
        return EXIT_OK if options.help or name else EXIT_USAGE
    entry = COMMANDS.get(name)
    if entry is None:
        import difflib  # only on the way out

        near = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean `akashic {near[0]}`?" if near else "akashic --help lists the commands"
        raise UsageError(f"there is no command `{name}`", hint=hint)
    command: Command = importlib.import_module(entry.module)
    prepare = getattr(command, "prepare", None)
    if prepare is not None:
        rest = prepare(rest)
    args = command_parser(name).parse_args(rest, namespace=options)
    return command.run(args, _context(args))


@functools.cache
def command_parser(name: str) -> Parser:
    """The parser of a command's own options."""
    command: Command = importlib.import_module(COMMANDS[name].module)
    parser = Parser(prog=f"akashic {name}", description=command.HELP, allow_abbrev=False)
    command.configure(parser)
    _add_global_options(parser, suppress=True)
    return parser


def _report(error: AkashicError) -> None:
    text = f"{error.lead}{error.message}\n"
    if error.hint:
        text += f"\nhint: {error.hint}\n"
    _complain(text)


def _complain(text: str) -> None:
    """Write to stderr, after what is already on the way to stdout."""
    try:
        sys.stdout.flush()
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        # Nobody is left to be told; the exit code still says it.
        _close_output()


def _close_output() -> None:
    """The reader (`| head`) has gone: let Python not complain about it while it closes stdout."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)


def dispatch(argv: Sequence[str]) -> int:
    """Run a command line to its end; every error ends here as a message and an exit code."""
    for stream in (sys.stdout, sys.stderr):
        # File names may hold what no encoding has, and a terminal may know less than UTF-8.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    code = _guarded(argv)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _close_output()
    except OSError as error:
        _close_output()
        _report(_from_os(error))
        return code or EXIT_FAILED
    return code


def _guarded(argv: Sequence[str]) -> int:
    try:
        return _run(argv)
    except BrokenPipeError:
        _close_output()
        return EXIT_OK
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else EXIT_USAGE
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in argv:
            import traceback  # only on the way out

            _complain(traceback.format_exc())
        return told(error)


def told(error: BaseException) -> int:
    """Say what went wrong; the exit code of it."""
    match error:
        case AkashicError():
            _report(error)
            return error.exit_code
        case KeyboardInterrupt():
            _complain("\ninterrupted\n")
            return EXIT_INTERRUPTED
        case OSError():
            _report(_from_os(error))
            return EXIT_FAILED
        case _:
            _complain(
                f"error: a bug in akashic: {type(error).__name__}: {error}\n\n"
                "hint: run the same command with --debug and report what it prints\n"
            )
            return EXIT_BUG


def _from_os(error: OSError) -> AkashicError:
    """What the operating system refused, in words: which file, and what to do about it."""
    import errno  # only on the way out

    place = f"{error.filename}: " if error.filename else ""
    hints = {
        errno.ENOSPC: "the disk is full: free some space and run the same command again; nothing was lost",
        errno.EACCES: "check who owns the file and its permissions",
        errno.EPERM: "check who owns the file and its permissions",
        errno.EROFS: "the file system is read-only; AKASHIC_STATE can name another folder",
        errno.EMFILE: "too many files are open: raise the limit with `ulimit -n`",
    }
    return AkashicError(f"{place}{error.strerror or error}", hint=hints.get(error.errno or 0, ""))
