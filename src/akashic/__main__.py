"""`python -m akashic` is `akashic`; so is the entry point, where an installer has to make the script."""

import sys


def main() -> int:
    """The command; 130 when Ctrl-C comes while Python is still importing, and nothing has begun."""
    try:
        from akashic.cli import main as command

        return command()
    except KeyboardInterrupt:
        return 130


def _forget_folder() -> None:
    """Import nothing from the current folder, where `-m` looks first: a repository may hold a `queue.py`."""
    ours = __file__.removesuffix("/akashic/__main__.py")
    if not sys.flags.safe_path and sys.path[0] != ours:
        del sys.path[0]


if __name__ == "__main__":
    _forget_folder()
    sys.exit(main())
