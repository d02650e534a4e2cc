"""`akashic exec ENV -- COMMAND`: run a command where a release runs."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence

from akashic.app.people import inside_a_job
from akashic.cli.command import CommandContext
from akashic.cli.conduct_deployment import recover
from akashic.errors import EXIT_OK, AkashicError, UsageError

HELP = "run a command in the place of what an environment serves"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("environment", help="where what it serves runs as processes of this machine")
    parser.add_argument(
        "-e",
        "--env",
        action="append",
        default=[],
        metavar="NAME[=VALUE]",
        help="a variable for it; without a value the one that is set here",
    )
    parser.add_argument(
        "argv", nargs="+", metavar="COMMAND", help="after `--`: a program of the release or of its PATH"
    )


def run(args: argparse.Namespace, context: CommandContext) -> int:
    from akashic.delivery.local.executing import place_of

    if context.json:
        raise UsageError("exec hands the terminal over: there is no --json")
    application = context.application()
    if inside_a_job(context.environ, application.state_dir):
        raise UsageError(
            "a job cannot run commands in an environment: only deployments pass its gates",
            hint="let the release do it with environments.….target.release_command",
        )
    recover(application, context)
    place = place_of(application.state_dir, args.environment)
    program = shutil.which(args.argv[0], path=place.env.get("PATH", os.defpath))
    if program is None:
        raise UsageError(f"{args.argv[0]}: no such program in the place of {args.environment}")
    uid, gid = place.user or (None, None)
    context.stdout.flush()
    try:
        # The terminal is the command's, and so is Ctrl-C.
        process = subprocess.Popen(
            [program, *args.argv[1:]],
            env=place.env | _terminal(context) | _given(args.env, context),
            cwd=place.cwd,
            user=uid,
            group=gid,
            extra_groups=None if uid is None else [],
        )
    except OSError as error:
        raise AkashicError(f"cannot run {shlex.join(args.argv)}: {error.strerror}") from error
    while True:
        try:
            code = process.wait()
            return EXIT_OK if code == 0 else code if code > 0 else 128 - code
        except KeyboardInterrupt:
            continue


def _given(texts: Sequence[str], context: CommandContext) -> dict[str, str]:
    """What `--env` says. Raises UsageError for a name that is not set here."""
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals and name not in context.environ:
            raise UsageError(f"-e {name}: it is not set here", hint=f"-e {name}=VALUE")
        given[name] = value if equals else context.environ[name]
    return given


def _terminal(context: CommandContext) -> dict[str, str]:
    """What the command must know of the terminal that it writes to."""
    names = ("TERM", "COLUMNS", "LINES", "LANG", "LC_ALL", "NO_COLOR")
    return {name: context.environ[name] for name in names if name in context.environ}
