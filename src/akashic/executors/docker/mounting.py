"""A copy-on-write view of a prepared tree in a container that runs already.

Root may mount an overlay here and move a copy of the mount into the container's mount namespace; nothing has
to be copied then, however large the tree is. Everybody else copies, with reflinks where the file system has
them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading

from akashic.executors.host import kernel

_OPEN_TREE, _MOVE_MOUNT = 428, 429  # The same numbers on every architecture.
_AT_FDCWD, _AT_EMPTY_PATH = -100, 0x1000
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 0x4
_libc = ctypes.CDLL(None, use_errno=True)


def show_overlay(lower: str, upper: str, work: str, here: str, pid: int, there: str) -> None:
    """Mount the overlay at `here`, and for the process `pid` at `there`. Raises OSError and leaves nothing
    mounted."""
    for path in (lower, upper, work):
        if any(character in path for character in ",:\\"):
            raise OSError(22, f"{path} holds a character that overlay mounts cannot name")
    data = f"lowerdir={lower},upperdir={upper},workdir={work}"
    kernel.mount("overlay", here, "overlay", kernel.MS_NODEV, data)
    try:
        copy = _clone(here)
        try:
            _move_into(pid, copy, there)
        finally:
            os.close(copy)
    except BaseException:
        with contextlib.suppress(OSError):
            kernel.umount(here)
        raise


def hide_overlay(here: str, pid: int, there: str) -> None:
    """Take both mounts away."""
    with contextlib.suppress(OSError):
        kernel.umount(here)
    _in_namespace(pid, lambda: kernel.umount(there))


def unmount_below(folder: str) -> None:
    """Take away every mount below a folder, the deepest first."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            points = [line.split(" ")[4].encode().decode("unicode_escape") for line in file]
    except OSError:
        return
    for point in sorted((p for p in points if p.startswith(f"{folder}/")), key=len, reverse=True):
        with contextlib.suppress(OSError):
            kernel.umount(point)


def _clone(path: str) -> int:
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    fd = int(_libc.syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"open_tree {path}: {os.strerror(code)}")
    return fd


def _move_into(pid: int, mount: int, target: str) -> None:
    def move() -> None:
        outcome = _libc.syscall(
            _MOVE_MOUNT, mount, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH
        )
        if outcome < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"move_mount {target}: {os.strerror(code)}")

    _in_namespace(pid, move)


def _in_namespace(pid: int, action: object) -> None:
    """Do something in the mount namespace of a process, in a thread of its own that ends with it."""
    failure: list[BaseException] = []

    def enter() -> None:
        try:
            fd = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            try:
                # A thread that shares its root and working folder with others may not change namespaces.
                kernel.unshare(kernel.CLONE_FS)
                kernel.setns(fd, kernel.CLONE_NEWNS)
            finally:
                os.close(fd)
            action()  # type: ignore[operator]
        except OSError as error:
            failure.append(error)

    thread = threading.Thread(target=enter, name="mounting")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
