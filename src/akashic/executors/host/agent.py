# ruff: noqa: SIM105
"""The parent of a job's processes where there are no namespaces: run as a script, one for a job.

It is a subreaper, so whatever a step starts and abandons (double fork, setsid, scrubbed environment) becomes
its child again and can be found. It ends everything and itself when its socket closes, so a killed runner
leaves nothing either. It imports as little as it can: `python -I -S` with this file is up in 9 ms.

A request is four bytes of length, then `marshal` of (argv, env, cwd, uid, gid); descriptors for stdin, output
and status come with its first byte. The status descriptor gets eight bytes (errno or 0, pid) and, when the
process has ended, four more (its wait status).
"""

import _signal  # type: ignore[import-not-found]
import _socket
import ctypes
import marshal
import os
import select
import sys

PR_SET_CHILD_SUBREAPER = 36


def descendants(root: int) -> list[int]:
    """Every living process below `root`."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(name))
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def kill_all(statuses: dict[int, int]) -> None:
    """Kill until nothing is left: a process may fork while we look."""
    own = os.getpid()
    while True:
        for pid in descendants(own):
            try:
                os.kill(pid, _signal.SIGKILL)
            except OSError:
                continue
        if not reap(statuses):
            return
        select.select([], [], [], 0.001)


def reap(statuses: dict[int, int]) -> bool:
    """Collect ended children and report those that were asked for; whether any child is left."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid == 0:
            return True
        report = statuses.pop(pid, -1)
        if report >= 0:
            try:
                os.write(report, status.to_bytes(4, "little"))
            except OSError:
                pass
            os.close(report)


def spawn(request: tuple, stdin: int, output: int) -> tuple[int, int]:  # type: ignore[type-arg]
    """Start a process; (0, pid) or (errno, 0)."""
    argv, env, cwd, uid, gid = request
    trouble, trouble_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGPIPE, _signal.SIGCHLD, _signal.SIGHUP):
                _signal.signal(number, _signal.SIG_DFL)
            os.dup2(stdin, 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            if uid >= 0:
                os.setgroups([])
                os.setgid(gid)
                os.setuid(uid)
            try:
                os.chdir(cwd)
            except OSError as error:
                os.write(trouble_end, b"c%d" % (error.errno or 1))
                os._exit(127)
            os.execvpe(argv[0], argv, env)
        except OSError as error:
            os.write(trouble_end, b"e%d" % (error.errno or 1))
        finally:
            os._exit(127)
    os.close(trouble_end)
    failure = os.read(trouble, 16)
    os.close(trouble)
    if failure:
        os.waitpid(pid, 0)
        code = int(failure[1:])
        return (code | 1 << 16 if failure[:1] == b"c" else code), 0
    return 0, pid


def receive(channel: _socket.socket) -> "tuple[tuple, list[int]] | None":  # type: ignore[type-arg]
    """One request with its descriptors; None when the owner is gone or asks for the end."""
    space = _socket.CMSG_SPACE(3 * 4)
    data, ancillary, _, _ = channel.recvmsg(4, space, _socket.MSG_WAITALL)
    if len(data) < 4:
        return None
    descriptors: list[int] = []
    for level, kind, content in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            descriptors += [int.from_bytes(content[i : i + 4], sys.byteorder) for i in range(0, 12, 4)]
    size = int.from_bytes(data, "little")
    parts = []
    while size:
        part = channel.recv(min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    for fd in descriptors:
        os.set_inheritable(fd, False)
    return marshal.loads(b"".join(parts)), descriptors


def main(channel_fd: int) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP):
        _signal.signal(number, _signal.SIG_IGN)
    _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, channel_fd)
    os.set_inheritable(channel_fd, False)
    ended, ended_end = os.pipe()
    os.set_blocking(ended, False)
    os.set_blocking(ended_end, False)
    _signal.set_wakeup_fd(ended_end, warn_on_full_buffer=False)
    _signal.signal(_signal.SIGCHLD, lambda *_: None)
    statuses: dict[int, int] = {}
    poll = select.poll()
    poll.register(channel_fd, select.POLLIN)
    poll.register(ended, select.POLLIN)
    try:
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if ended in ready:
                os.read(ended, 65536)
                reap(statuses)
            if channel_fd in ready:
                message = receive(channel)
                if message is None:
                    return
                request, (stdin, output, report) = message
                failure, pid = spawn(request, stdin, output)
                os.close(stdin)
                os.close(output)
                os.write(report, failure.to_bytes(4, "little") + pid.to_bytes(4, "little"))
                if failure:
                    os.close(report)
                else:
                    statuses[pid] = report
    finally:
        kill_all(statuses)


if __name__ == "__main__":
    main(int(sys.argv[1]))
