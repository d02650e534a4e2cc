# ruff: noqa: SIM105
"""The parent of a job's processes where no process of ours can be: the first one of its container, or on a
machine without namespaces one that adopts what its processes abandon. A step costs a fork of it, and not a
call of an engine. It is run as a script by `python -I -S`, in a container by the Python of
`docker/runtime.py`, which works in any image; so it is one file, and imports as little as it can.

Its only argument is a socket: the path to one that it connects to, in a container, or the number of its
descriptor. It obeys whoever is at the other end. A request is four bytes of length, then `marshal` of a
tuple; descriptors come with its first byte:

- ("run", argv, env, cwd), then uid and gid when they are not ours, with descriptors for stdin, output and
status: the status descriptor gets eight bytes (errno or 0, pid) and, when the process has ended, four more
(its wait status);
- ("signal", pid, number): to the process group;
- ("forward", port, host, target): listen on that port of 127.0.0.1 and connect what comes to `host:target`.

When the connection ends, so does this process, and with it every process of the job, whatever it has done to
get away (double fork, setsid, another environment): those of a container end with the first one of it, others
are found among the descendants and killed. So a killed runner leaves nothing either.
"""

import _signal  # type: ignore[import-not-found]
import _socket
import _thread
import marshal
import os
import select
import sys

FORWARD_BYTES = 1 << 16
BACKLOG = 128
PR_SET_CHILD_SUBREAPER = 36
_RESET = (_signal.SIGINT, _signal.SIGTERM, _signal.SIGPIPE, _signal.SIGCHLD, _signal.SIGHUP)


def reap(statuses: dict[int, int]) -> bool:
    """Collect ended children, adopted ones too, and report those that were asked for; whether any is left."""
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


def execute(argv: list, env: dict) -> None:  # type: ignore[type-arg]
    """Become the program, found on the PATH that it is given. (`os.execvpe` imports more than the runtime
    has.)"""
    if "/" in argv[0]:
        os.execve(argv[0], argv, env)
    failure = FileNotFoundError(2, "not found")
    for folder in env.get("PATH", os.defpath).split(":"):
        try:
            os.execve(f"{folder or '.'}/{argv[0]}", argv, env)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            failure = error  # type: ignore[assignment]
    raise failure


def spawn(request: tuple, stdin: int, output: int) -> "tuple[int, int]":  # type: ignore[type-arg]
    """Start a process; (0, pid) or (errno, 0), the errno with bit 16 when it is the folder's."""
    _, argv, env, cwd, *user = request
    trouble, trouble_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            for number in _RESET:
                _signal.signal(number, _signal.SIG_DFL)
            os.dup2(stdin, 0)
            os.dup2(output, 1)
            os.dup2(output, 2)
            if user:
                os.setgroups([])
                os.setgid(user[1])
                os.setuid(user[0])
            try:
                os.chdir(cwd)
            except OSError as error:
                os.write(trouble_end, b"c%d" % (error.errno or 1))
                os._exit(127)
            execute(argv, env)
        except OSError as error:
            os.write(trouble_end, b"e%d" % (error.errno or 1))
        except ValueError:
            os.write(trouble_end, b"e22")
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


def receive(channel: "_socket.socket") -> "tuple[tuple, list[int]] | None":  # type: ignore[type-arg]
    """One request with its descriptors; None when the owner is gone."""
    data, ancillary, _, _ = channel.recvmsg(4, _socket.CMSG_SPACE(3 * 4), _socket.MSG_WAITALL)
    if len(data) < 4:
        return None
    descriptors: list[int] = []
    for level, kind, content in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            descriptors += [
                int.from_bytes(content[i : i + 4], sys.byteorder) for i in range(0, len(content) // 4 * 4, 4)
            ]
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


def forward(port: int, host: str, target: int) -> None:
    """Listen on 127.0.0.1:port from now on; a port that is taken stays its holder's."""
    listener = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    listener.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        return
    _thread.start_new_thread(_accept, (listener, host, target))


def _accept(listener: "_socket.socket", host: str, target: int) -> None:
    while True:
        try:
            fd, _ = listener._accept()  # type: ignore[attr-defined]
        except OSError:
            return
        _thread.start_new_thread(_connect, (fd, host, target))


def _connect(fd: int, host: str, target: int) -> None:
    near = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM, 0, fd)
    try:
        # As bytes: for text the codec `idna` would be looked for, which the runtime does not have.
        found = _socket.getaddrinfo(host.encode(), target, 0, _socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        far = _socket.socket(family, kind | _socket.SOCK_CLOEXEC, protocol)
        far.connect(address)
    except OSError:
        near.close()
        return
    done = _thread.allocate_lock()
    done.acquire()
    _thread.start_new_thread(_copy, (far, near, done))
    _copy(near, far, None)
    done.acquire()
    near.close()
    far.close()


def _copy(source: "_socket.socket", sink: "_socket.socket", done: object) -> None:
    try:
        while True:
            part = source.recv(FORWARD_BYTES)
            if not part:
                break
            sink.sendall(part)
    except OSError:
        pass
    try:
        sink.shutdown(_socket.SHUT_WR)
    except OSError:
        pass
    if done is not None:
        done.release()  # type: ignore[attr-defined]


def connected(path: str) -> "_socket.socket":
    """As the first process of a container. Its end is the kernel's to see to."""
    for number in (_signal.SIGINT, _signal.SIGHUP, _signal.SIGPIPE):
        _signal.signal(number, _signal.SIG_IGN)
    # `docker stop` by hand: the kernel ignores what the first process of a container has no handler for.
    _signal.signal(_signal.SIGTERM, lambda *_: os._exit(143))
    channel = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    channel.connect(path)
    return channel


def adopting(descriptor: int) -> "_socket.socket":
    """As a process of this machine: what the job's processes abandon becomes its child and can be found."""
    import ctypes  # A container's Python does not have it.

    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    for number in (_signal.SIGINT, _signal.SIGTERM, _signal.SIGHUP, _signal.SIGPIPE):
        _signal.signal(number, _signal.SIG_IGN)
    os.set_inheritable(descriptor, False)
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, descriptor)


def serve(channel: "_socket.socket", statuses: "dict[int, int]") -> None:
    """Obey until the connection ends."""
    ended, ended_end = os.pipe()
    os.set_blocking(ended, False)
    os.set_blocking(ended_end, False)
    _signal.set_wakeup_fd(ended_end, warn_on_full_buffer=False)
    _signal.signal(_signal.SIGCHLD, lambda *_: None)
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    poll.register(ended, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if ended in ready:
            os.read(ended, 65536)
            reap(statuses)
        if channel.fileno() in ready:
            message = receive(channel)
            if message is None:
                return
            obey(message[0], message[1], statuses)


def obey(request: tuple, descriptors: "list[int]", statuses: "dict[int, int]") -> None:  # type: ignore[type-arg]
    if request[0] == "signal":
        try:
            os.killpg(request[1], request[2])
        except OSError:
            pass
    elif request[0] == "forward":
        forward(*request[1:])
    elif request[0] == "run":
        stdin, output, report = descriptors
        failure, pid = spawn(request, stdin, output)
        os.close(stdin)
        os.close(output)
        os.write(report, failure.to_bytes(4, "little") + pid.to_bytes(4, "little"))
        if failure:
            os.close(report)
        else:
            statuses[pid] = report


def main(argument: str) -> None:
    statuses: dict[int, int] = {}
    if not argument.isdigit():
        serve(connected(argument), statuses)
        return
    channel = adopting(int(argument))
    try:
        serve(channel, statuses)
    finally:
        kill_all(statuses)


if __name__ == "__main__":
    main(sys.argv[1])
