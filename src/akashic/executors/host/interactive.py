"""A process of a job on the user's own terminal: a terminal of its own inside, and all keys passed on.

The job's processes live in a session and maybe a process namespace of their own, where the user's terminal
can be nobody's controlling terminal. So the process gets a new one, and while it lives the user's is raw:
Ctrl-C and Ctrl-Z reach the process, not Akashic.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import sys
import termios
import tty
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from akashic.executors.launching import Command, Launcher

SIZE_INTERVAL_S = 0.5
"""How often the size of the user's window is passed on: signals reach only the main thread."""
CHUNK_BYTES = 1 << 16
# A session leader that opens a terminal gets it as its controlling one, which makes job control work.
_ADOPT = 'terminal=$1; shift; exec "$@" <>"$terminal" >&0 2>&1'


def run_on_terminal(launcher: Launcher, argv: Sequence[str], *, env: Mapping[str, str], cwd: str) -> int:
    """Run `argv` to its end on the terminal that is standard input; its exit code. Raises OSError."""
    user = sys.stdin.fileno()
    ours, theirs = os.openpty()
    try:
        _pass_size(user, ours)
        command = Command(
            argv=["/bin/sh", "-c", _ADOPT, "sh", os.ttyname(theirs), *argv],
            env=env,
            cwd=cwd,
            stdin=theirs,
            output=theirs,
        )
        child = launcher.launch(command)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    try:
        with _raw(user):
            _pass_on(user, ours, child.fileno())
    finally:
        # Closing hangs up: a shell whose user is gone ends by it.
        os.close(ours)
        code = child.reap()
    return code


def _pass_on(user: int, ours: int, ended: int) -> None:
    """Copy between the two terminals until the process has ended or the user's is gone."""
    out = sys.stdout.fileno() if user == sys.stdin.fileno() else user
    while True:
        ready, _, _ = select.select([user, ours, ended], [], [], SIZE_INTERVAL_S)
        _pass_size(user, ours)
        if ours in ready and not _copy(ours, out):
            return
        if user in ready and not _copy(user, ours):
            return
        if ended in ready and ours not in ready:
            return


def _copy(source: int, target: int) -> bool:
    """Copy what is there; false when the source has ended (a terminal says so by EIO)."""
    try:
        data = os.read(source, CHUNK_BYTES)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return False
    view = memoryview(data)
    while view:
        view = view[os.write(target, view) :]
    return bool(data)


def _pass_size(user: int, ours: int) -> None:
    nothing = struct.pack("HHHH", 0, 0, 0, 0)
    try:
        size = fcntl.ioctl(user, termios.TIOCGWINSZ, nothing)
        if size != fcntl.ioctl(ours, termios.TIOCGWINSZ, nothing):
            fcntl.ioctl(ours, termios.TIOCSWINSZ, size)
    except OSError:
        return


@contextmanager
def _raw(terminal: int) -> Iterator[None]:
    try:
        before = termios.tcgetattr(terminal)
    except termios.error:
        yield
        return
    tty.setraw(terminal)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
