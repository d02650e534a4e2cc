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
    argv = sys.argv[1:]
    if argv == ["--version"]:
        print(f"akashic {__version__}")
        return 0
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


def work(argv: list[str]) -> int:
    """Do a command in this process."""
    # A command makes some ten thousand objects while it starts and drops none of them: looking for garbage
    # among them after every 700 costs a tenth of its start.
    gc.set_threshold(GC_THRESHOLD)
    # Imported here, at the door, so that `--version` costs no more than Python itself.
    from akashic.cli.dispatch import dispatch

    return dispatch(argv)
