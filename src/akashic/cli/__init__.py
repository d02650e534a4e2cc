"""The command line: parse, call one function, present.

May import: `akashic.app` and below. Never holds logic.
"""

import gc
import os
import sys

from akashic import __version__
from akashic.cli.warm import client

GC_THRESHOLD = 50_000


def main() -> int:
    """The `akashic` command. Returns its exit code: 0 success, 1 failed, 2 usage or invalid input,
    3 a bug of ours, 130 interrupted."""
    if sys.stdin is None or sys.stdout is None or sys.stderr is None:
        _open_standard_streams()
    argv = sys.argv[1:]
    if argv == ["--version"]:
        return _tell_version()
    if not client.wanted(argv):
        return work(argv)
    try:
        code = client.delegate(argv)
    except KeyboardInterrupt:
        return 130
    if code >= 0:
        # Nothing of this process is left to be put away.
        os._exit(code)
    own = work(argv)
    if code == client.NO_SERVER:
        from akashic.cli.warm.starter import leave_server  # once in a while

        leave_server()
    return own


def _tell_version() -> int:
    try:
        print(f"akashic {__version__}", flush=True)
    except OSError as error:
        # What is left in the buffer goes there when Python closes it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            return 0
        from akashic.cli.dispatch import told  # only on the way out

        return told(error)
    return 0


def _open_standard_streams() -> None:
    """Begin with the three streams that everybody counts on: `akashic run >&-` came without one. The next
    file to be opened, a journal perhaps, would take its number and get its output."""
    while (fd := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(fd, True)
    os.close(fd)
    sys.stdin, sys.stdout, sys.stderr = (
        stream or open(fd, mode, closefd=False)  # noqa: SIM115
        for fd, (stream, mode) in enumerate(((sys.stdin, "r"), (sys.stdout, "w"), (sys.stderr, "w")))
    )


def work(argv: list[str]) -> int:
    """Do a command in this process."""
    # A command makes some ten thousand objects while it starts and drops none of them: looking for garbage
    # among them after every 700 costs a tenth of its start.
    gc.set_threshold(GC_THRESHOLD)
    # Imported here, at the door, so that `--version` costs no more than Python itself.
    from akashic.cli.dispatch import dispatch

    return dispatch(argv)
