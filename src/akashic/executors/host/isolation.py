"""Whether this machine lets us make namespaces, found out once, and entering them without being root."""

from __future__ import annotations

import errno
import os
import threading

import msgspec

from akashic.executors.host import kernel


class Isolation(msgspec.Struct, frozen=True):
    """What is possible: `missing` says in words why not, and is empty when isolation works."""

    missing: str = ""


_lock = threading.Lock()
_found: Isolation | None = None


def probe() -> Isolation:
    """Find out, once for this process.

    For root it costs a thread and three system calls. For others a user namespace is needed, which only a
    process with a single thread can enter: it is tried in a child first (2 ms), then **this process moves
    into it**, with its own user and group mapped to themselves. Call it early."""
    global _found
    with _lock:
        if _found is None:
            _found = _probe()
        return _found


def describe() -> str:
    """For `Capabilities.isolation`."""
    missing = probe().missing
    return f"none: {missing}" if missing else "Linux namespaces"


def _probe() -> Isolation:
    if _has_admin():
        return Isolation(_in_thread())
    if len(os.listdir("/proc/self/task")) > 1:
        return Isolation("this process has threads already, so it cannot enter a user namespace")
    reason = _in_child()
    if reason:
        return Isolation(reason)
    try:
        _enter_user_namespace()
    except OSError as error:
        return Isolation(_words(error))
    return Isolation()


def _has_admin() -> bool:
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> 21 & 1)
    return False


def _in_thread() -> str:
    """Try what a job needs in a thread that ends at once, and its namespaces with it."""
    reasons: list[str] = []

    def attempt() -> None:
        try:
            _try_namespaces()
        except OSError as error:
            reasons.append(_words(error))

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    return reasons[0] if reasons else ""


def _try_namespaces() -> None:
    kernel.unshare(kernel.CLONE_FS | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC)
    kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_SLAVE)
    kernel.set_read_only("/", True, recursive=True)


def _in_child() -> str:
    report, report_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            _enter_user_namespace()
            _try_namespaces()
        except OSError as error:
            os.write(report_end, _words(error).encode())
        finally:
            os._exit(0)
    os.close(report_end)
    with open(report, "rb") as file:
        reason = file.read().decode()
    os.waitpid(pid, 0)
    return reason


def _enter_user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    kernel.unshare(kernel.CLONE_NEWUSER | kernel.CLONE_NEWNS)
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{uid} {uid} 1"),
        ("gid_map", f"{gid} {gid} 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(content)


def _words(error: OSError) -> str:
    if error.errno in (errno.EPERM, errno.EACCES):
        return (
            f"this machine does not allow it ({error.strerror}); "
            "it needs root, or unprivileged user namespaces (sysctl user.max_user_namespaces, AppArmor)"
        )
    if error.errno == errno.ENOSYS:
        return f"the kernel is too old ({error.strerror}); it needs Linux 5.12"
    if error.errno == errno.ENOSPC:
        return f"no more namespaces are allowed ({error.strerror}); see sysctl user.max_*_namespaces"
    return str(error.strerror)
