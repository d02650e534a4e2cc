"""The command's half: hand everything to the warm server and end as the work ended.

Built-in modules only: what is imported here is a part of each command. The wire, for both halves: the request
is eight bytes of length and `marshal` of (identity, argv, environ, umask), with the descriptors of stdin,
stdout, stderr and the current folder; marshal is safe because both ends are the same user, which both check.
The answer is `A` (can take it) or `D` (declined: do it yourself); the client's `G` starts the work, so that
one which has given up waiting never has it done twice. Later comes `X` and the exit code, or `K` and the
signal that ended the work. Meanwhile the client sends the number of each signal that it gets.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import marshal
import os
import sys

from akashic.cli.argv import split
from akashic.cli.warm import place

TAKEN, DECLINED, GO, ENDED, KILLED = b"A", b"D", b"G", b"X", b"K"
NO_SERVER, REFUSED = -1, -2
"""Instead of an exit code: nothing was begun, the command is this process's."""
COMMANDS = frozenset(
    ("run", "rerun", "plan", "lint", "expr", "runs", "logs", "status", "history", "environments", "config")
)
"""The commands that a server may do. Those which prompt, or start what outlives them, do it themselves."""
_STAYS = ("--break", "--watch", "-w")
_OPEN_FILES = ("/dev/fd/", "/proc/self/", "/proc/thread-self/")
"""Names of this process's own files, as the shell's `<(…)` makes them: another has others there, or none."""
_NOT_HERE = ("CI", "AKASHIC_RUN_ID", "COVERAGE_PROCESS_START")
_PASSED_ON = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGQUIT)
_CREDENTIALS_BYTES = 12
_PATIENCE_S = 1.0
_SIGNALLED = 128


def wanted(argv: "list[str]") -> bool:
    """Whether a command line may be handed over at all."""
    switch = os.environ.get(place.SWITCH, "on")
    if sys.platform != "linux" or switch in ("off", "0", "false", "no"):
        return False
    _, command, rest = split(argv)
    if command not in COMMANDS or any(word.startswith(_STAYS) for word in rest):
        return False
    if any(name in word for word in argv for name in _OPEN_FILES):
        return False
    return not any(os.environ.get(name) for name in _NOT_HERE)


def delegate(argv: "list[str]") -> int:
    """Have the server do the command; its exit code, NO_SERVER, or REFUSED."""
    path = place.socket_path(os.environ)
    if not path or not place.is_private(path.rpartition("/")[0]):
        return NO_SERVER
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    channel.settimeout(_PATIENCE_S)
    try:
        channel.connect(path)
    except OSError:
        return NO_SERVER
    try:
        if peer(channel)[1] != os.geteuid():
            return REFUSED
        _send(channel, argv)
        if channel.recv(1) != TAKEN:
            return REFUSED
        channel.send(GO)
    except OSError:
        # The server went meanwhile, or is stuck, or our stdin is closed.
        return REFUSED
    channel.settimeout(None)
    return _follow(channel)


def peer(channel: "_socket.socket") -> "tuple[int, int]":
    """Process and user at the other end of a unix socket; process 0 when it is in another namespace."""
    credentials = channel.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, _CREDENTIALS_BYTES)
    return int.from_bytes(credentials[:4], sys.byteorder), int.from_bytes(credentials[4:8], sys.byteorder)


def _send(channel: "_socket.socket", argv: "list[str]") -> None:
    umask = os.umask(0o77)
    os.umask(umask)
    request = marshal.dumps((place.identity(os.environ), [sys.argv[0], *argv], dict(os.environ), umask))
    here = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptors = b"".join(fd.to_bytes(4, sys.byteorder) for fd in (0, 1, 2, here))
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, descriptors)]
        channel.sendmsg([len(request).to_bytes(8, "big")], rights)
        channel.sendall(request)
    finally:
        os.close(here)


def _follow(channel: "_socket.socket") -> int:
    """Wait for the end; a signal to this process is one to the work."""

    def pass_on(number: int, _: object) -> None:
        try:
            channel.send(bytes((number,)))
        except OSError:
            return

    def stop(_: int, frame: object) -> None:
        pass_on(_signal.SIGSTOP, frame)
        os.kill(os.getpid(), _signal.SIGSTOP)
        pass_on(_signal.SIGCONT, frame)

    for number in _PASSED_ON:
        if _signal.getsignal(number) != _signal.SIG_IGN:
            _signal.signal(number, pass_on)
    _signal.signal(_signal.SIGTSTP, stop)
    answer = b""
    while len(answer) < 2:
        try:
            part = channel.recv(2 - len(answer))
        except OSError:
            part = b""
        if not part:
            answer = KILLED + bytes((_signal.SIGKILL,))
        answer += part
    if answer[:1] == KILLED:
        os.write(2, b"error: the process that did the work was killed by signal %d\n" % answer[1])
        return _SIGNALLED + answer[1]
    return answer[1]
