"""Whether a worker's process is as good as the client's own, and making it so where that is possible."""

import os
import resource
import sys
from collections.abc import Iterable
from contextlib import suppress

_NAMESPACES = ("mnt", "pid", "net", "user", "ipc", "uts", "cgroup")
_RIGHTS = (b"Uid:", b"Gid:", b"Groups:", b"CapEff:", b"CapPrm:", b"CapBnd:", b"NoNewPrivs:", b"Seccomp:")
"""What a process may, from /proc/PID/status: a worker that may more, or less, is no stand-in."""
_LIMITS = tuple(getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_"))
_CGROUP = "/sys/fs/cgroup"
_INSTALLED = "/site-packages/"


class Standing:
    """What a server was made from: its identity, and the files that it imported, as they were then."""

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self._files = {path: _changed_at(path) for path in sources()}

    def is_fresh(self) -> bool:
        """Whether a new process would import the same: nobody upgraded, nobody edited."""
        return all(_changed_at(path) == moment for path, moment in self._files.items())


def sources() -> "Iterable[str]":
    """The folders that are imported from: installing anything changes them. Besides, each of our modules that
    does not lie in one as installed: such files are edited where they are."""
    folders = [path for path in sys.path if path]
    yield from folders
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if path and name.startswith("akashic") and _INSTALLED not in path:
            yield path


def _changed_at(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def stands_in_for(pid: int) -> bool:
    """Have this process the same rights, view, limits, priority and accounting as process `pid`; False when
    it cannot. Raises OSError when that process is gone."""
    own = os.getpid()
    if _rights(pid) != _rights(own) or _confinement(pid) != _confinement(own):
        return False
    root, own_root = os.stat(f"/proc/{pid}/root"), os.stat("/")
    if (root.st_dev, root.st_ino) != (own_root.st_dev, own_root.st_ino):
        return False
    if any(
        os.readlink(f"/proc/{pid}/ns/{name}") != os.readlink(f"/proc/self/ns/{name}") for name in _NAMESPACES
    ):
        return False
    try:
        _share_limits(pid)
        return _share_cgroup(pid)
    except (OSError, ValueError):
        return False


def _rights(pid: int) -> list[bytes]:
    with open(f"/proc/{pid}/status", "rb") as file:
        return [line for line in file if line.startswith(_RIGHTS)]


def _confinement(pid: int) -> bytes:
    """The label of AppArmor or SELinux."""
    with suppress(OSError), open(f"/proc/{pid}/attr/current", "rb") as file:
        return file.read()
    return b""


def _share_limits(pid: int) -> None:
    for limit in _LIMITS:
        wanted = resource.prlimit(pid, limit)
        if wanted != resource.getrlimit(limit):
            resource.setrlimit(limit, wanted)
    nice = os.getpriority(os.PRIO_PROCESS, pid)
    if nice != os.getpriority(os.PRIO_PROCESS, 0):
        os.setpriority(os.PRIO_PROCESS, 0, nice)
    cores = os.sched_getaffinity(pid)
    if cores != os.sched_getaffinity(0):
        os.sched_setaffinity(0, cores)


def _share_cgroup(pid: int) -> bool:
    """Be counted where the client is: its memory and CPU limits are meant for this work."""
    with open(f"/proc/{pid}/cgroup", "rb") as file, open("/proc/self/cgroup", "rb") as own:
        wanted = file.read()
        if wanted == own.read():
            return True
    if wanted.count(b"\n") != 1 or not wanted.startswith(b"0::/"):
        return False
    path = os.fsdecode(wanted.rstrip(b"\n").removeprefix(b"0::"))
    with open(f"{_CGROUP}{path}/cgroup.procs", "w") as file:
        file.write(str(os.getpid()))
    return True
