"""Leaves a server behind after a command that found none."""

import os
import sys
from contextlib import suppress

from akashic.cli.warm import place

_PASSED_ON = ("HOME", "PATH", "XDG_RUNTIME_DIR", "XDG_CACHE_HOME")
_PIPE_BYTES = 64 * 1024


def leave_server() -> None:
    """Start a server that imports what this process has imported. It gets no more of the environment than
    it needs: it lives on, and a variable may be a secret. Whatever is in the way, the command is done."""
    environ = {name: value for name, value in os.environ.items() if name in _PASSED_ON}
    environ |= place.settings(os.environ)
    names = " ".join(name for name in sys.modules if name != "__main__").encode()[:_PIPE_BYTES]
    with suppress(OSError):
        reading, writing = os.pipe()
        os.write(writing, names)
        os.close(writing)
        os.posix_spawn(
            sys.executable,
            [sys.executable, "-P", "-m", "akashic.cli.warm.server"],
            environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, reading, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
            ],
            setsid=True,
        )
        os.close(reading)
