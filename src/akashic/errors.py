"""What a user is told when something cannot go on: the tree of errors, and the exit code of each."""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


class AkashicError(Exception):
    """Something a user can act on: what is wrong, and a hint of what to do. Shown without a traceback.

    `message` is one sentence or a few lines; `hint` is the next step and may be empty.
    """

    exit_code = EXIT_FAILED
    lead = "error: "
    """What stands before the message; nothing where each line of it says what it is."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AkashicError):
    """The command line, or a file that the user wrote, is not valid."""

    exit_code = EXIT_USAGE


class Interrupted(AkashicError):
    """The user stopped the work (Ctrl-C, or a termination signal)."""

    exit_code = EXIT_INTERRUPTED
