"""The options of `akashic run` and `akashic plan`: act's names for what act has.

Source of names and short forms: act's usage page.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from akashic.app.selection import Request
from akashic.cli.command import CommandContext
from akashic.cli.container_options import configure_containers, recorded_options
from akashic.engine.events import JobFilter
from akashic.errors import UsageError
from akashic.source.sizes import size_bytes

FILE_BYTES_MAX = 32 * 1024 * 1024
"""GitHub caps webhook payloads at 25 MB."""


def configure_request(parser: argparse.ArgumentParser) -> None:
    """Options that say which runs are meant."""
    parser.add_argument("event", nargs="?", default="", help="the event (push when a workflow has it)")
    what = parser.add_argument_group("what runs")
    what.add_argument(
        "-W", "--workflows", action="append", default=[], metavar="FILE", help="only this workflow"
    )
    what.add_argument(
        "-j", "--job", action="append", default=[], metavar="JOB", help="only this job and its needs"
    )
    what.add_argument(
        "--matrix", action="append", default=[], metavar="NAME:VALUE", help="only matrix jobs with this value"
    )
    what.add_argument("-e", "--eventpath", metavar="FILE", help="the event's payload, as JSON")
    what.add_argument(
        "--input", action="append", default=[], metavar="NAME=VALUE", help="a workflow_dispatch input"
    )
    what.add_argument("--input-file", metavar="FILE", help="inputs, one NAME=VALUE a line")
    what.add_argument(
        "--var", action="append", default=[], metavar="NAME=VALUE", help="a configuration variable"
    )
    what.add_argument("--var-file", metavar="FILE", help="variables, one NAME=VALUE a line")
    what.add_argument(
        "--defaultbranch", default="", metavar="NAME", help="the default branch (as git knows it)"
    )
    what.add_argument(
        "--detect-event", action="store_true", help="the event that the first workflow names first"
    )
    what.add_argument("-a", "--actor", default="", metavar="NAME", help="who triggers the run (you)")
    what.add_argument("--branch", default="", metavar="NAME", help="as if this branch were checked out")
    what.add_argument("--tag", default="", metavar="NAME", help="as if this tag were pushed")
    what.add_argument(
        "--from-commit", action="store_true", help="run the commit, without the uncommitted changes"
    )
    what.add_argument(
        "--no-recurse", action="store_true", help="only files in .github/workflows itself (always so)"
    )
    configure_overrides(what)


def configure_overrides(parser: argparse._ActionsContainer) -> None:
    """The option that names folders of actions and reusable workflows."""
    parser.add_argument(
        "--local-repository",
        action="append",
        default=[],
        metavar="OWNER/REPO@REF=DIR",
        help="take an action or reusable workflow from a folder",
    )


def configure_drive(parser: argparse.ArgumentParser) -> None:
    """Options that say how this process runs them."""
    how = parser.add_argument_group("how it runs")
    how.add_argument("-s", "--secret", action="append", default=[], metavar="NAME[=VALUE]", help="a secret")
    how.add_argument("--secret-file", metavar="FILE", help="secrets, one NAME=VALUE a line")
    how.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="a variable for all steps"
    )
    how.add_argument("--env-file", metavar="FILE", help="variables for all steps, one NAME=VALUE a line")
    how.add_argument(
        "--sandbox", choices=("auto", "strict", "off"), default="auto", help="isolation on this machine"
    )
    how.add_argument(
        "--concurrent-jobs", type=int, default=0, metavar="N", help="at most N jobs at once (two a core)"
    )
    how.add_argument("--memory", default="", metavar="SIZE", help="what a job may take: 512m, 4g")
    how.add_argument(
        "--processes", type=int, default=0, metavar="N", help="how many processes a job may have"
    )
    how.add_argument(
        "--offline", "--action-offline-mode", action="store_true", help="ask no server for actions"
    )
    how.add_argument(
        "--no-builtin", action="store_true", help="fetch actions even where a built-in one exists"
    )
    how.add_argument("--step-debug", action="store_true", help="show debug messages of steps")
    how.add_argument("--break-on-failure", action="store_true", help="open a shell in a step that failed")
    how.add_argument(
        "--break",
        dest="break_at",
        action="append",
        default=[],
        metavar="JOB/STEP",
        help="open a shell before a step",
    )
    how.add_argument(
        "--no-keep",
        "--rm",
        action="store_true",
        help="remove the workspace of a job that fails (resume needs it)",
    )
    how.add_argument("-q", "--quiet", action="store_true", help="do not print what the steps print")
    how.add_argument(
        "-v", "--verbose", action="store_true", help="print what the steps print, on a terminal too"
    )
    configure_containers(parser)


def request_of(args: argparse.Namespace, context: CommandContext) -> Request:
    """What the options ask for. Raises UsageError."""
    inputs = pairs(args.input, args.input_file, "--input", context)
    return Request(
        event_name=args.event,
        payload=read_payload(args.eventpath, context),
        inputs=inputs,
        vars=pairs(args.var, args.var_file, "--var", context),
        workflows=tuple(args.workflows),
        filter=JobFilter(jobs=tuple(args.job), matrix=_matrix(args.matrix)),
        actor=args.actor,
        branch=args.branch,
        tag=args.tag,
        default_branch=args.defaultbranch,
        first_event=args.detect_event,
        from_commit=args.from_commit,
        executor=getattr(args, "executor", "host"),
        options=recorded_options(args),
    )


def read_payload(path: str | None, context: CommandContext) -> dict[str, Any]:
    """The payload in a file. Raises UsageError that says where the JSON is broken."""
    if not path:
        return {}
    content = read_text(path, context)
    try:
        payload = msgspec.json.decode(content)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UsageError(_json_problem(path, content, str(error))) from None
    if not isinstance(payload, dict):
        raise UsageError(f"{path}: the event must be a JSON object, not {_json_kind(payload)}")
    return payload


def _json_problem(path: str, content: str, reason: str) -> str:
    """Where and why a text is no JSON."""
    import json  # only on the way out

    try:
        json.loads(content)
    except json.JSONDecodeError as error:
        return f"{path}:{error.lineno}:{error.colno}: the event is not valid JSON: {error.msg}"
    except RecursionError:
        reason = "nested too deeply"
    return f"{path}: the event is not valid JSON: {reason}"


def _json_kind(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def read_text(path: str, context: CommandContext) -> str:
    """A UTF-8 file that the user named, `-` for standard input. Raises UsageError."""
    try:
        if path == "-":
            content = sys.stdin.buffer.read(FILE_BYTES_MAX + 1)
        else:
            with (context.cwd / path).open("rb") as file:
                content = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > FILE_BYTES_MAX:
        raise UsageError(f"{path}: larger than {FILE_BYTES_MAX} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not valid UTF-8 at byte {error.start}") from None


def pairs(
    given: Iterable[str], file: str | None, option: str, context: CommandContext, *, ask: bool = False
) -> dict[str, str]:
    """NAME=VALUE pairs of an option over those of a file. With `ask`, a bare NAME takes its value from the
    environment, or from the terminal without echo."""
    found: dict[str, str] = {}
    if file:
        found = _file_pairs(file, option, context)
    for item in given:
        name, equals, value = item.partition("=")
        if not name or not (equals or ask):
            # What was written may be a secret: it is not repeated.
            shown = name if equals or not ask else item
            raise UsageError(f"{option} {shown}: expected NAME=VALUE")
        found[name] = value if equals else _ask(name, option, context)
    return found


def _file_pairs(file: str, option: str, context: CommandContext) -> dict[str, str]:
    if option == "--input":
        return _input_lines(file, context)
    from akashic.secrets.dotenv import parse_dotenv  # only who keeps such files pays for it

    return {name: secret.reveal() for name, secret in parse_dotenv(read_text(file, context), file).items()}


def _input_lines(file: str, context: CommandContext) -> dict[str, str]:
    """Inputs have names with dashes, which no variable has."""
    found: dict[str, str] = {}
    for number, line in enumerate(read_text(file, context).splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise UsageError(f"{file}:{number}: expected NAME=VALUE")
        quoted = len(value) >= 2 and value[0] == value[-1] and value[0] in "'\""
        found[name] = value[1:-1] if quoted else value
    return found


def _ask(name: str, option: str, context: CommandContext) -> str:
    if name in context.environ:
        return context.environ[name]
    if context.interactive:
        import getpass  # who is asked for nothing does not pay for it

        return getpass.getpass(f"{name}: ")
    raise UsageError(f"{option} {name}: no value", hint=f"set ${name}, or write {option} {name}=VALUE")


def _matrix(given: Iterable[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for item in given:
        name, colon, value = item.partition(":")
        if not colon or not name:
            raise UsageError(f"--matrix {item}: expected NAME:VALUE")
        found[name] = (*found.get(name, ()), value)
    return found


def size_of(text: str, option: str) -> int | None:
    """`512m` or `4g` in bytes; None for "". Raises UsageError."""
    if not text:
        return None
    found = size_bytes(text)
    if found is None:
        raise UsageError(f"{option} {text}: expected a size such as 512m or 4g")
    return found


def overrides_of(given: Iterable[str], context: CommandContext) -> Mapping[str, str]:
    """`owner/repo@ref` to an absolute folder. Raises UsageError."""
    found: dict[str, str] = {}
    for item in given:
        name, equals, folder = item.rpartition("=")
        path = (context.cwd / folder).resolve()
        if not equals or "/" not in name:
            raise UsageError(f"--local-repository {item}: expected OWNER/REPO@REF=DIR")
        if not path.is_dir():
            raise UsageError(f"--local-repository {item}: {path} is no folder")
        found[name] = str(path)
    return found
