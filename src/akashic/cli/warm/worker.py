"""A worker: waits for one command, becomes what that command's own process would be, and does it."""

import _signal  # type: ignore[import-not-found]
import _socket
import io
import marshal
import os
import select
import sys
import threading
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from akashic.cli.afterwards import do_rest
from akashic.cli.warm.client import DECLINED, ENDED, GO, TAKEN, peer
from akashic.cli.warm.memory import own_memory
from akashic.cli.warm.standing import Standing, stands_in_for

_REQUEST_BYTES_MAX = 16 * 1024 * 1024
_TAKEN, _STALE, _NOBODY, _DONE = b"t", b"s", b"n", b"d"
PATIENCE_S = 1.0


class Request(NamedTuple):
    """What a client sent; descriptors are stdin, stdout, stderr and the current folder."""

    identity: str
    argv: list[str]
    environ: dict[str, str]
    umask: int
    descriptors: list[int]


class Worker:
    """A ready worker as its server sees it. `line` tells when it has somebody, and its end dismisses it."""

    def __init__(self, pid: int, line: "_socket.socket") -> None:
        self.pid = pid
        self.line = line

    @classmethod
    def fork(cls, listener: "_socket.socket", server: "Standing", others: "list[int]") -> "Worker":
        """A new one, waiting. `others` are descriptors that are none of its business."""
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            ours.close()
            try:
                for fd in others:
                    os.close(fd)
                _wait_and_work(listener, theirs, server)
            finally:
                os._exit(1)
        theirs.close()
        return cls(pid, ours)

    def hand_over(self) -> "tuple[_socket.socket | None, bool]":
        """The connection that the worker works for (None when it declined), and whether this server is of no
        more use: the code changed, or workers die."""
        try:
            word, ancillary, _, _ = self.line.recvmsg(1, _socket.CMSG_SPACE(4))
        except OSError:
            word, ancillary = b"", []
        if word != _TAKEN:
            self.line.close()
        fds = descriptors_of(ancillary)
        for fd in fds:
            os.set_inheritable(fd, False)
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fds[0]) if fds else None
        return connection, word not in (_TAKEN, _NOBODY)

    def is_done(self) -> bool:
        """Whether its command has ended; the process may still tidy up."""
        try:
            return self.line.recv(1, _socket.MSG_DONTWAIT) == _DONE
        except OSError:
            return False

    def dismiss(self) -> None:
        """Tell it to end if it has nobody yet."""
        self.line.shutdown(_socket.SHUT_WR)


def _wait_and_work(listener: "_socket.socket", line: "_socket.socket", server: "Standing") -> NoReturn:
    _signal.set_wakeup_fd(-1)
    for number in (_signal.SIGCHLD, _signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, _signal.SIG_DFL)
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    poll.register(line, select.POLLIN)
    if not poll.poll(0):
        own_memory()
    if listener.fileno() not in {fd for fd, _ in poll.poll()}:
        os._exit(0)
    fd, _ = listener._accept()  # type: ignore[attr-defined]
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd)
    channel.settimeout(PATIENCE_S)
    fresh = server.is_fresh()
    request = _receive(channel, server) if fresh else None
    if request is None:
        line.send(_NOBODY if fresh else _STALE)
        with suppress(OSError):
            channel.send(DECLINED)
        os._exit(0)
    line.sendmsg([_TAKEN], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, fd.to_bytes(4, sys.byteorder))])
    listener.close()
    _become(request)
    _work(request, channel, line)


def _receive(channel: "_socket.socket", server: "Standing") -> "Request | None":
    """The request of a client that this process can stand in for and that still waits; else None."""
    try:
        pid, uid = peer(channel)
        if uid != os.geteuid() or pid == 0:
            return None
        head, ancillary, _, _ = channel.recvmsg(8, _socket.CMSG_SPACE(16), _socket.MSG_WAITALL)
        descriptors = descriptors_of(ancillary)
        size = int.from_bytes(head, "big")
        if len(head) < 8 or len(descriptors) != 4 or size > _REQUEST_BYTES_MAX:
            return None
        body = bytearray()
        while len(body) < size:
            part = channel.recv(size - len(body))
            if not part:
                return None
            body += part
        identity, argv, environ, umask = marshal.loads(body)
        request = Request(identity, argv, environ, umask, descriptors)
        if request.identity != server.identity or not stands_in_for(pid):
            return None
        channel.send(TAKEN)
        return request if channel.recv(1) == GO else None
    except (OSError, ValueError, EOFError, TypeError):
        return None


def descriptors_of(ancillary: "list[Any]") -> "list[int]":
    """The open files that came with a message."""
    return [
        int.from_bytes(content[at : at + 4], sys.byteorder)
        for level, kind, content in ancillary
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS
        for at in range(0, len(content) - 3, 4)
    ]


def _become(request: Request) -> None:
    """Take on what the client's process has by its parents: files, folder, environment, umask."""
    os.setsid()
    *standard, here = request.descriptors
    for number, fd in enumerate(standard):
        os.dup2(fd, number)
        os.close(fd)
    os.fchdir(here)
    os.close(here)
    os.umask(request.umask)
    os.environ.clear()
    os.environ.update(request.environ)
    sys.argv = request.argv
    sys.stdin = _text(0, "r", sys.stdin)
    sys.stdout = _text(1, "w", sys.stdout)
    sys.stderr = _text(2, "w", sys.stderr)


def _text(fd: int, mode: str, like: Any) -> Any:
    """A standard stream as Python makes it at its start."""
    terminal = os.isatty(fd)
    raw: Any = open(fd, mode + "b", closefd=False)  # noqa: SIM115
    return io.TextIOWrapper(
        raw,
        encoding=like.encoding,
        errors="backslashreplace" if fd == 2 else like.errors,
        line_buffering=fd == 2 or terminal,
    )


def _work(request: Request, channel: "_socket.socket", line: "_socket.socket") -> NoReturn:
    from akashic.cli import work  # not at the top: `cli` imports the client, whose wire this module shares

    code = 1
    try:
        code = work(request.argv[1:])
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        # From here on the client owes us nothing, and may go before we have tidied up.
        with suppress(OSError):
            line.send(_DONE)
            channel.send(ENDED + bytes((code,)))
        do_rest()
        for thread in threading.enumerate():
            if not thread.daemon and thread is not threading.current_thread():
                thread.join()
        os._exit(code)
