"""The command line: parse, call one function, present.

May import: `akashic.app` and below. Never holds logic.
"""

import sys

from akashic import __version__


def main() -> int:
    """The `akashic` command. Returns its exit code: 0 success, 1 failed, 2 usage or invalid input,
    3 a bug of ours, 130 interrupted."""
    argv = sys.argv[1:]
    if argv == ["--version"]:
        print(f"akashic {__version__}")
        return 0
    # Imported here, at the door, so that `--version` costs no more than Python itself.
    from akashic.cli.dispatch import dispatch

    return dispatch(argv)
