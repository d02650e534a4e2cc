"""The command line: parse, call one function, present.

May import: `akashic.app` and below. Never holds logic.
"""

import gc
import sys

from akashic import __version__

GC_THRESHOLD = 50_000


def main() -> int:
    """The `akashic` command. Returns its exit code: 0 success, 1 failed, 2 usage or invalid input,
    3 a bug of ours, 130 interrupted."""
    argv = sys.argv[1:]
    if argv == ["--version"]:
        print(f"akashic {__version__}")
        return 0
    # A command makes some ten thousand objects while it starts and drops none of them: looking for garbage
    # among them after every 700 costs a tenth of its start.
    gc.set_threshold(GC_THRESHOLD)
    # Imported here, at the door, so that `--version` costs no more than Python itself.
    from akashic.cli.dispatch import dispatch

    return dispatch(argv)
