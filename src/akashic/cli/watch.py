"""`akashic run --watch`: run, then run again whatever a change of a file affects, until Ctrl-C."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from akashic.app.application import Application
from akashic.app.watching import Watcher
from akashic.cli.afterwards import do_rest
from akashic.cli.command import CommandContext
from akashic.cli.present.texts import label
from akashic.errors import EXIT_INTERRUPTED, AkashicError

PATHS_SHOWN_MAX = 5

Round = Callable[[Application, tuple[str, ...] | None], int]
"""Runs what the changed paths affect, or everything for None; the exit code."""


def watch(context: CommandContext, run_round: Round) -> int:
    """Rounds until one is interrupted. A round that cannot begin (a file is broken in the middle of an edit)
    is told and waited out."""
    application = context.application()
    watcher = Watcher(application, written=_written_by(context))
    changed: tuple[str, ...] | None = None
    while True:
        try:
            if run_round(application, changed) == EXIT_INTERRUPTED:
                return EXIT_INTERRUPTED
        except AkashicError as error:
            context.stderr.write(f"{error.lead}{error.message}\n")
        context.stderr.write("watching for changes; Ctrl-C ends\n")
        context.stderr.flush()
        # The end of this process is far, and each round leaves something.
        do_rest()
        changed = watcher.wait()
        shown = ", ".join(label(path) for path in changed[:PATHS_SHOWN_MAX])
        more = f" and {len(changed) - PATHS_SHOWN_MAX} more" if len(changed) > PATHS_SHOWN_MAX else ""
        context.stderr.write(f"\nchanged: {shown}{more}\n")
        # The commit, the branch and akashic.yaml may be others now.
        application.journal.close()
        application = context.application()


def _written_by(context: CommandContext) -> set[tuple[int, int]]:
    """Where our own lines go, as (device, inode): `akashic run --watch > log` must not wake itself."""
    found = set()
    for stream in (context.stdout, context.stderr):
        # A stream that is no file has no number, and says so in several ways.
        with suppress(OSError, ValueError, AttributeError):
            status = os.fstat(stream.fileno())
            found.add((status.st_dev, status.st_ino))
    return found
