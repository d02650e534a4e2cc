"""The server: imports once, then keeps one forked worker ready and looks after those at work.

It has one thread and does nobody's command itself, so each worker begins from the same clean memory. What
it does for workers at work: a signal from the client goes to the worker; a client that is gone takes its
worker with it, as SIGKILL would; a worker that ended is reported. Its event loop is `poll`, a few lines,
because asyncio's would be copied into every worker.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import gc
import importlib
import os
import select
import sys
import time
from contextlib import suppress

from akashic.cli.warm import place
from akashic.cli.warm.client import ENDED, KILLED
from akashic.cli.warm.standing import Standing
from akashic.cli.warm.worker import Worker

_BACKLOG = 16
_READY_AFTER_MS = 200
_READY_AFTER_END_MS = 20
_SERVED_MAX = 1000
"""Commands after which a server leaves: nothing lasts for ever."""


def main(module_names: "list[str]", begun_ns: int) -> None:
    """Serve until nobody has asked for `IDLE_TIMEOUT_S`. `module_names` are those that a command needed;
    servers that are stopped after `begun_ns` (by the clock of files) mean this one, too."""
    path = place.socket_path(os.environ)
    # Prepared before it listens: whoever calls meanwhile is faster alone.
    if not path or not make_folder(path) or _is_served(path) or not prepare(module_names):
        return
    listener = listen(path)
    if listener is None:
        return
    # After it listens: who stops all servers from now on finds this one.
    if _is_stopped_since(path, begun_ns):
        os.unlink(path)
        return
    Server(listener, path, Standing(place.identity(os.environ))).serve()


def make_folder(path: str) -> bool:
    """Make the folder of the socket `path` where there is none; whether it is ours alone."""
    where = path.rpartition("/")[0]
    base = where.rpartition("/")[0]
    if not os.path.lexists(base) and place.is_own(base.rpartition("/")[0]):
        with suppress(OSError):
            os.mkdir(base, mode=0o700)
    if not place.is_own(base):
        return False
    with suppress(OSError):
        os.mkdir(where, mode=0o700)
    return place.is_private(where)


def _is_stopped_since(path: str, moment_ns: int) -> bool:
    mark = f"{path.rpartition('/')[0]}/{place.STOP_MARK}"
    try:
        return os.stat(mark).st_mtime_ns >= moment_ns
    except OSError:
        return False


def listen(path: str) -> "_socket.socket | None":
    """The server's socket; None when another server has it. A socket that nobody serves is replaced."""
    if not make_folder(path):
        return None
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    # The name appears at once with its listener behind it: a client never finds one that refuses.
    own = f"{path}.{os.getpid()}"
    try:
        listener.bind(own)
        listener.listen(_BACKLOG)
        if _is_served(path):
            os.unlink(own)
            return None
        os.rename(own, path)
    except OSError:
        return None
    return listener


def _is_served(path: str) -> bool:
    probe = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    try:
        probe.connect(path)
    except OSError:
        return False
    finally:
        probe.close()
    return True


def prepare(module_names: "list[str]") -> bool:
    """Import, and build what every command builds anew. False when this process can not be forked from."""
    for name in module_names:
        # What cannot be imported here is imported, or complained of, where it is needed.
        with suppress(Exception):
            importlib.import_module(name)
    # At the door: the server needs them, the client must not.
    from akashic.app import driving
    from akashic.cli import dispatch
    from akashic.cli.warm.rehearsal import rehearse

    driving.look_ahead()
    for command in ("run", "plan", "lint"):
        dispatch.command_parser(command)
    if not rehearse():
        return False
    gc.collect()
    # Workers share this memory until somebody writes to it; the collector would, to every page.
    gc.freeze()
    return True


class Server:
    """The loop. `listener` is shared with the ready worker, which alone accepts from it."""

    def __init__(self, listener: "_socket.socket", path: str, standing: Standing) -> None:
        self._listener = listener
        self._standing = standing
        self._path = path
        self._inode = os.stat(path).st_ino
        self._poll = select.poll()
        self._ended, ended_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        _signal.set_wakeup_fd(ended_end, warn_on_full_buffer=False)
        _signal.signal(_signal.SIGCHLD, lambda *_: None)
        self._poll.register(self._ended, select.POLLIN)
        self._ready: Worker | None = None
        self._at_work: dict[int, tuple[Worker, _socket.socket]] = {}
        """By the descriptor of the client's connection: worker and connection."""
        self._leaving = False
        self._next_is_due = True
        self._served = 0

    def serve(self) -> None:
        """Until idle, told to leave, or replaced; workers at work are looked after to their ends."""
        for number in (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP):
            _signal.signal(number, self._leave)
        while self._at_work or not self._leaving:
            # Not while events are served: the numbers of closed descriptors are used again.
            if self._next_is_due and self._ready is None and not self._leaving:
                self._make_ready()
            events = self._poll.poll(self._patience_ms())
            for fd, _ in events:
                self._serve(fd)
            if events or self._leaving:
                continue
            if self._ready is None:
                self._next_is_due = True
            else:
                self._leave()

    def _patience_ms(self) -> int | None:
        """How long to wait for something to happen before time itself is a reason to act."""
        if self._leaving:
            return None
        if self._ready is None:
            return _READY_AFTER_MS if self._at_work else _READY_AFTER_END_MS
        return None if self._at_work else place.IDLE_TIMEOUT_S * 1000

    def _leave(self, *_: object) -> None:
        """Take no more work: the socket's name goes, and the ready worker ends when its line to us does."""
        if self._leaving:
            return
        self._leaving = True
        with suppress(OSError):
            if os.stat(self._path).st_ino == self._inode:
                os.unlink(self._path)
        if self._ready is not None:
            self._ready.dismiss()
        else:
            with suppress(KeyError):
                self._poll.unregister(self._listener)

    def _make_ready(self) -> None:
        others = [
            socket.fileno() for worker, client in self._at_work.values() for socket in (worker.line, client)
        ]
        worker = Worker.fork(self._listener, self._standing, others)
        self._ready = worker
        self._poll.register(worker.line, select.POLLIN)
        with suppress(KeyError):
            self._poll.unregister(self._listener)

    def _serve(self, fd: int) -> None:
        if fd == self._ended:
            with suppress(OSError):
                os.read(self._ended, 4096)
            self._collect()
        elif fd == self._listener.fileno():
            self._next_is_due = True
        elif self._ready is not None and fd == self._ready.line.fileno():
            self._taken(self._ready)
        elif fd in self._at_work:
            self._heard(fd)

    def _taken(self, worker: Worker) -> None:
        """The ready worker has somebody: look after the two. The next is made when it is asked for, when a
        command has ended, or a little later: to fork and copy memory now would take time from the command
        that just began."""
        self._poll.unregister(worker.line)
        self._ready = None
        self._next_is_due = False
        connection, useless = worker.hand_over()
        if connection is not None:
            self._served += 1
            self._at_work[connection.fileno()] = (worker, connection)
            self._poll.register(connection, select.POLLIN)
        if useless or self._served >= _SERVED_MAX:
            self._leave()
        else:
            self._poll.register(self._listener, select.POLLIN)

    def _heard(self, fd: int) -> None:
        worker, connection = self._at_work[fd]
        try:
            numbers = connection.recv(16)
        except OSError:
            numbers = b""
        if not numbers:
            self._forget(fd)
            if worker.is_done():
                return
        for number in numbers or (_signal.SIGKILL,):
            with suppress(OSError):
                os.kill(worker.pid, number)

    def _forget(self, fd: int) -> None:
        self._poll.unregister(fd)
        del self._at_work[fd]

    def _collect(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            for fd, (worker, connection) in list(self._at_work.items()):
                if worker.pid == pid:
                    self._forget(fd)
                    with suppress(OSError):
                        connection.send(KILLED + bytes((-code,)) if code < 0 else ENDED + bytes((code,)))
            if self._ready is not None and self._ready.pid == pid:
                self._taken(self._ready)


if __name__ == "__main__":
    begun_ns = time.time_ns()
    # What the first command was given open is no business of a process that lives on: a lock would stay held.
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    os.chdir("/")
    main(sys.stdin.read().split(), begun_ns)
