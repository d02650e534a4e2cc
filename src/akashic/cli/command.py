"""What every command gets, and what it must have.

A command is a module in `akashic.cli.commands` with `HELP` (one line), `configure(parser)` and
`run(args, context) -> exit code`; it may have `prepare(argv) -> argv`, which rewrites what was typed.
Commands import what they need at the top of their own module; the module itself is imported only when its
command is called, which keeps start-up short.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TextIO

import msgspec

from akashic.cli.afterwards import afterwards

if TYPE_CHECKING:
    from akashic.app import Application


class CommandContext(msgspec.Struct, frozen=True, kw_only=True):
    """Where a command runs and how it speaks. `color` is false without a terminal, with `--no-color`,
    `NO_COLOR` or `CI`; `json` asks for one JSON object a line on stdout and nothing else there."""

    cwd: Path
    environ: Mapping[str, str]
    color: bool
    json: bool
    interactive: bool
    debug: bool
    stdout: TextIO = sys.stdout
    stderr: TextIO = sys.stderr

    def complain(self, text: str) -> None:
        """Write a line to standard error."""
        self.stderr.write(f"{text}\n")

    def application(self, *, keeps: bool = True) -> Application:
        """The parts, for the repository that `cwd` lies in; without `keeps` for a command that leaves nothing
        behind. Raises UsageError outside a repository."""
        # Imported here, at the door: `akashic --version` and usage errors must not pay for it.
        from akashic.app import Application

        application = Application.open(self.cwd, self.environ, keeps=keeps)
        afterwards(application.tidy)
        return application


class Command(Protocol):
    """The shape of a module in `akashic.cli.commands`."""

    HELP: str

    def configure(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, args: argparse.Namespace, context: CommandContext) -> int: ...
