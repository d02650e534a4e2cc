"""The few system calls for namespaces and mounts that Python does not have. Errors are OSErrors that name
the call. All act on the calling thread (or, for mounts, on its mount namespace)."""

from __future__ import annotations

import ctypes
import os

CLONE_FS = 0x00000200
CLONE_NEWNS = 0x00020000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_BIND = 4096
MS_REC = 16384
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2

_AT_RECURSIVE = 0x8000
_AT_FDCWD = -100
_MOUNT_SETATTR = 442  # The same number on every architecture.
_PR_CAPBSET_DROP = 24


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)
_quick = ctypes.PyDLL(None, use_errno=True)
"""For calls that take a few microseconds: to let other threads have the interpreter meanwhile costs more."""


def _check(outcome: int, call: str) -> None:
    if outcome < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")


def unshare(flags: int) -> None:
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    _check(_libc.setns(fd, kind), "setns")


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    _check(
        (_quick if flags & MS_BIND else _libc).mount(
            os.fsencode(source) or None,
            os.fsencode(target),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            os.fsencode(data) or None,
        ),
        f"mount {kind or 'bind'} on {target}",
    )


def umount(target: str) -> None:
    _check(_libc.umount2(os.fsencode(target), MNT_DETACH), f"umount {target}")


def set_read_only(path: str, read_only: bool, *, recursive: bool) -> None:
    """Whether the mount at `path` (and all below) can be written through. Needs Linux 5.12."""
    attributes = _MountAttributes(MS_RDONLY if read_only else 0, 0 if read_only else MS_RDONLY, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    outcome = (_libc if recursive else _quick).syscall(
        _MOUNT_SETATTR, _AT_FDCWD, os.fsencode(path), flags, ctypes.byref(attributes), 32
    )
    _check(outcome, f"mount_setattr {path}")


def drop_capability(number: int) -> None:
    """Take a capability from every programme that this thread starts from now on."""
    _check(_quick.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "prctl PR_CAPBSET_DROP")
