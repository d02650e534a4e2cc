"""What a process still does when its command's user has been told everything: nobody waits for it.

Only a worker of the warm server comes to it (see `akashic.cli.warm`), and who watches between two rounds:
another process is waited for until its end, and leaves these things to the next one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

_tasks: list[Callable[[], None]] = []


def afterwards(task: Callable[[], None]) -> None:
    """Have `task` done in the end. It must be no loss when it never is, or fails."""
    _tasks.append(task)


def do_rest() -> None:
    """Do what is left, the newest first."""
    while _tasks:
        with suppress(Exception):
            _tasks.pop()()
