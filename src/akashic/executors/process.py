"""Runs a job's processes: one pipe for both outputs, a deadline, a graceful end.

Output is read in chunks of what the pipe holds, never by line, so its cost does not depend on lines and its
memory is bounded by the pipe.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import threading
import time
from collections.abc import Mapping, Sequence

import msgspec

from akashic.cancellation import Cancellation
from akashic.executors.launching import Child, Command, Launcher, wait_ended
from akashic.executors.protocol import ExecutorError, ExitStatus, OutputSink

INTERRUPT_GRACE_S = 7.5
"""From SIGINT to SIGTERM, as GitHub's runner does it."""
TERMINATE_GRACE_S = 2.5
"""From SIGTERM to SIGKILL."""
GONE_TIMEOUT_S = 20.0
"""From SIGKILL to giving up: what hangs inside of the kernel, or in a paused container, does not end."""
OUTPUT_GRACE_S = 1.0
"""How long output is awaited that others still hold open when the command itself has ended."""
PIPE_BYTES = 1 << 20
NOT_EXECUTABLE = 126
NOT_FOUND = 127


def run(
    launcher: Launcher,
    argv: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: str,
    on_output: OutputSink,
    cancellation: Cancellation,
    timeout_s: float | None = None,
    stdin: bytes | None = None,
    user: tuple[int, int] | None = None,
    leftovers: Leftovers | None = None,
) -> ExitStatus:
    """Run a command to its end and hand its output on while it comes; see `Sandbox.exec`.

    `leftovers` takes the output of processes that outlive the command (a server started with `&`), so that
    they do not die of a closed pipe.
    """
    if cancellation.is_set():
        return ExitStatus(code=128 + signal.SIGINT, cancelled=True)
    input_fd = _input(stdin)
    output, output_end = os.pipe()
    try:
        os.set_blocking(output, False)
        _widen(output)
        try:
            child = launcher.launch(
                Command(argv=argv, env=env, cwd=cwd, stdin=input_fd, output=output_end, user=user)
            )
        except (OSError, ValueError) as error:
            return _not_started(argv, cwd, error, on_output)
        finally:
            os.close(output_end)
            os.close(input_fd)
        try:
            ended = _Supervision(child, output, on_output, cancellation, timeout_s).run()
        except BaseException:
            child.signal(signal.SIGKILL)
            if wait_ended(child, OUTPUT_GRACE_S):
                child.reap()
            raise
        if not ended.output_closed and leftovers is not None:
            leftovers.take(output)
            output = -1
        return ended.status
    finally:
        if output >= 0:
            os.close(output)


def _input(stdin: bytes | None) -> int:
    if stdin is None:
        return os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    # A file in memory needs no thread that feeds a pipe, and cannot deadlock with the output.
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    view = memoryview(stdin)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def _widen(pipe: int) -> None:
    try:
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:
        return  # The user's share of pipe pages is used up; the default of 64 KiB works too.


def _not_started(
    argv: Sequence[str], cwd: str, error: OSError | ValueError, on_output: OutputSink
) -> ExitStatus:
    name = argv[0] if argv else ""
    if isinstance(error, ValueError):
        on_output(f"cannot start {name!r}: {error}\n".encode(errors="replace"))
        return ExitStatus(code=NOT_EXECUTABLE)
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        if not os.path.isdir(cwd) and error.filename == cwd:
            on_output(f"cannot start {name!r}: the working directory {cwd!r} does not exist\n".encode())
            return ExitStatus(code=NOT_EXECUTABLE)
        on_output(f"{name}: command not found\n".encode(errors="replace"))
        return ExitStatus(code=NOT_FOUND)
    reason = os.strerror(error.errno) if error.errno else str(error)
    on_output(f"{name}: cannot execute: {reason}\n".encode(errors="replace"))
    return ExitStatus(code=NOT_EXECUTABLE)


class _Ended(msgspec.Struct, frozen=True):
    status: ExitStatus
    output_closed: bool


class _Supervision:
    """Waits for output, the end, a request to stop and the deadline, all at once."""

    def __init__(
        self,
        child: Child,
        output: int,
        on_output: OutputSink,
        cancellation: Cancellation,
        timeout_s: float | None,
    ) -> None:
        self._child = child
        self._output = output
        self._on_output = on_output
        self._cancellation = cancellation
        self._deadline = None if timeout_s is None else time.monotonic() + timeout_s
        self._ladder: list[tuple[float, int]] = []
        self._give_up_at: float | None = None
        self._cancelled = False
        self._timed_out = False
        self._output_closed = False

    def run(self) -> _Ended:
        wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        forget = self._cancellation.on_cancel(lambda: os.eventfd_write(wake, 1))
        try:
            self._until_end(wake)
            self._rest()
        finally:
            forget()
            os.close(wake)
        status = ExitStatus(code=self._child.reap(), cancelled=self._cancelled, timed_out=self._timed_out)
        return _Ended(status, self._output_closed)

    def _until_end(self, wake: int) -> None:
        end = self._child.fileno()
        poll = select.poll()
        poll.register(self._output, select.POLLIN)
        poll.register(end, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll(self._patience_ms())}
            if self._output in ready and not self._read_once():
                poll.unregister(self._output)
            if end in ready:
                return
            if wake in ready:
                os.eventfd_read(wake)
                self._stop(cancelled=True)
            self._climb()

    def _patience_ms(self) -> float | None:
        times = [at for at, _ in self._ladder[:1]]
        times += [at for at in (self._deadline, self._give_up_at) if at is not None]
        # Rounded up, or the last millisecond before a deadline would be spent in a busy loop.
        return None if not times else max(0.0, (min(times) - time.monotonic()) * 1000 + 1)

    def _climb(self) -> None:
        now = time.monotonic()
        if self._deadline is not None and now >= self._deadline:
            self._deadline = None
            self._stop(cancelled=False)
        while self._ladder and now >= self._ladder[0][0]:
            _, number = self._ladder.pop(0)
            self._child.signal(number)
            if number == signal.SIGKILL:
                self._give_up_at = now + GONE_TIMEOUT_S
        if self._give_up_at is not None and now >= self._give_up_at:
            raise ExecutorError(
                f"a process does not end, although it was killed {GONE_TIMEOUT_S:g} s ago",
                hint="it may wait for a disk or a network file system, or its container is paused; "
                "see it with: ps -eo pid,stat,wchan,args",
            )

    def _stop(self, *, cancelled: bool) -> None:
        if not (self._cancelled or self._timed_out):
            self._cancelled, self._timed_out = cancelled, not cancelled
            now = time.monotonic()
            self._ladder = [
                (now, signal.SIGTERM if self._cancellation.terminate else signal.SIGINT),
                (now + INTERRUPT_GRACE_S, signal.SIGTERM),
                (now + INTERRUPT_GRACE_S + TERMINATE_GRACE_S, signal.SIGKILL),
            ]
        if self._cancellation.is_set() and self._cancellation.force:
            self._ladder = [(time.monotonic(), signal.SIGKILL)]

    def _read_once(self) -> bool:
        try:
            chunk = os.read(self._output, PIPE_BYTES)
        except BlockingIOError:
            return True
        if chunk:
            self._on_output(chunk)
            return True
        self._output_closed = True
        return False

    def _rest(self) -> None:
        """What was written before the end, and for a short while what other holders of the pipe still write.

        No more than a pipe's content: a background process that never stops writing must not hold us."""
        if self._cancelled or self._timed_out:
            self._child.signal(signal.SIGKILL)
        deadline = time.monotonic() + OUTPUT_GRACE_S
        poll = select.poll()
        poll.register(self._output, select.POLLIN)
        while not self._output_closed:
            patience_ms = (deadline - time.monotonic()) * 1000
            if patience_ms <= 0 or not poll.poll(patience_ms) or self._cancellation.is_set():
                break
            self._read_once()
        taken = 0
        while not self._output_closed and taken < PIPE_BYTES:
            try:
                chunk = os.read(self._output, PIPE_BYTES)
            except BlockingIOError:
                return
            taken += len(chunk)
            self._output_closed = not chunk
            if chunk:
                self._on_output(chunk)


class Leftovers:
    """Reads and drops the output of processes that outlived their command, until it is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pipes: list[int] = []
        self._thread: threading.Thread | None = None
        self._wake = -1
        self._closing = False

    def take(self, pipe: int) -> None:
        """Own this readable, non-blocking descriptor from now on."""
        with self._lock:
            if self._closing:
                os.close(pipe)
                return
            self._pipes.append(pipe)
            if self._thread is None:
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                self._thread = threading.Thread(target=self._drain, name="leftover-output", daemon=True)
                self._thread.start()
            else:
                os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        with self._lock:
            self._closing = True
            thread = self._thread
            if thread is not None:
                os.eventfd_write(self._wake, 1)
        if thread is not None:
            thread.join()
            os.close(self._wake)
            self._thread = None

    def _drain(self) -> None:
        while True:
            with self._lock:
                pipes = list(self._pipes)
                if self._closing:
                    for pipe in pipes:
                        os.close(pipe)
                    self._pipes.clear()
                    return
            poll = select.poll()
            poll.register(self._wake, select.POLLIN)
            for pipe in pipes:
                poll.register(pipe, select.POLLIN)
            for fd, _ in poll.poll():
                if fd == self._wake:
                    os.eventfd_read(self._wake)
                elif not self._swallow(fd):
                    with self._lock:
                        self._pipes.remove(fd)
                    os.close(fd)

    @staticmethod
    def _swallow(fd: int) -> bool:
        try:
            return bool(os.read(fd, PIPE_BYTES))
        except BlockingIOError:
            return True
