"""Opening files below a folder that a job may write to: no link leads out, not even one made meanwhile."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Mapping

from akashic.executors.protocol import ExecutorError

_OPENAT2 = 437  # The same number on every architecture.
_RESOLVE_BENEATH = 0x08
_RESOLVE_NO_MAGICLINKS = 0x02
_O_PATH_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


class Roots:
    """The folders that a job's files lie in: by the path at which the job sees each, a descriptor of it that
    is this object's to close."""

    def __init__(self, folders: Mapping[str, int]) -> None:
        # The nearest first, so that links inside the workspace stay inside it.
        self._folders = {path: folders[path] for path in sorted(folders, key=len, reverse=True)}

    def locate(self, path: str) -> tuple[int, str]:
        """The folder that a path lies in, and the rest of the path. Raises ExecutorError."""
        normal = os.path.normpath(path)
        if not normal.startswith("/"):
            raise ExecutorError(f"{path} is not an absolute path")
        for place, folder in self._folders.items():
            if normal == place or normal.startswith(place.rstrip("/") + "/"):
                return folder, normal[len(place) :].lstrip("/")
        raise ExecutorError(f"{path} lies outside the job's folders")

    def write(self, path: str, content: bytes, *, executable: bool) -> None:
        """See `akashic.executors.protocol.Sandbox.write`. Raises ExecutorError."""
        folder, relative = self.locate(path)
        try:
            write_beneath(folder, relative, content, executable=executable)
        except OSError as error:
            raise ExecutorError(f"cannot write {path}: {error.strerror}") from error

    def read(self, path: str, bytes_max: int) -> bytes | None:
        """See `akashic.executors.protocol.Sandbox.read`. Raises ExecutorError."""
        folder, relative = self.locate(path)
        try:
            return read_beneath(folder, relative, bytes_max)
        except OSError as error:
            raise ExecutorError(f"cannot read {path}: {error.strerror}") from error

    def close(self) -> None:
        for folder in self._folders.values():
            os.close(folder)


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


_libc = ctypes.CDLL(None, use_errno=True)


def open_beneath(folder: int, path: str, flags: int, mode: int = 0) -> int:
    """Open a relative path below the folder `folder` (a descriptor). Links are followed as long as they stay
    below it; OSError with EXDEV when one does not, or `path` has too many `..`."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, _RESOLVE_BENEATH | _RESOLVE_NO_MAGICLINKS)
    for _ in range(16):  # EAGAIN: something was renamed meanwhile, so the kernel could not be sure.
        fd = int(
            _libc.syscall(_OPENAT2, folder, os.fsencode(path or "."), ctypes.byref(how), ctypes.sizeof(how))
        )
        if fd >= 0:
            return fd
        code = ctypes.get_errno()
        if code == errno.ENOSYS:
            return _open_checked(folder, path, flags, mode)
        if code != errno.EAGAIN:
            break
    raise OSError(code, os.strerror(code), path)


def _open_checked(folder: int, path: str, flags: int, mode: int) -> int:
    """The same for kernels before 5.6: no link at all is followed, step by step."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if path.startswith("/") or ".." in parts:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path)
    current = os.dup(folder)
    try:
        for part in parts[:-1]:
            below = os.open(part, _O_PATH_DIRECTORY | os.O_NOFOLLOW, dir_fd=current)
            os.close(current)
            current = below
        last = parts[-1] if parts else "."
        return os.open(last, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=current)
    finally:
        os.close(current)


def make_folders(folder: int, path: str) -> None:
    """Make a folder below `folder` with all above it; those that are there may be links that stay below."""
    parts = [part for part in path.split("/") if part]
    for count in range(1, len(parts) + 1):
        here = "/".join(parts[:count])
        try:
            os.close(open_beneath(folder, here, _O_PATH_DIRECTORY))
        except FileNotFoundError:
            above = open_beneath(folder, "/".join(parts[: count - 1]), _O_PATH_DIRECTORY)
            try:
                os.mkdir(parts[count - 1], 0o755, dir_fd=above)
            except FileExistsError:
                os.close(open_beneath(folder, here, _O_PATH_DIRECTORY))
            finally:
                os.close(above)


def write_beneath(folder: int, path: str, content: bytes, *, executable: bool) -> None:
    """Write a file below `folder`, with the folders above it."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK
    mode = 0o755 if executable else 0o644
    try:
        fd = open_beneath(folder, path, flags, mode)
    except FileNotFoundError:
        make_folders(folder, path.rpartition("/")[0])
        fd = open_beneath(folder, path, flags, mode)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        if executable:
            os.fchmod(fd, 0o755)
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def read_beneath(folder: int, path: str, bytes_max: int) -> bytes | None:
    """A regular file's first `bytes_max` bytes; None when there is none."""
    try:
        # Without O_NONBLOCK a named pipe in place of the file would hold us for ever.
        fd = open_beneath(folder, path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            return None
        parts: list[bytes] = []
        while bytes_max > 0 and (part := os.read(fd, min(bytes_max, 1 << 20))):
            parts.append(part)
            bytes_max -= len(part)
        return b"".join(parts)
    finally:
        os.close(fd)


def bring(source: str, folder: int, path: str) -> None:
    """Put a file or link of ours at a path below `folder`, in place of what is there."""
    info = os.lstat(source)
    remove_beneath(folder, path)
    if stat.S_ISLNK(info.st_mode):
        make_folders(folder, path.rpartition("/")[0])
        above = open_beneath(folder, path.rpartition("/")[0], _O_PATH_DIRECTORY)
        try:
            os.symlink(os.readlink(source), path.rpartition("/")[2], dir_fd=above)
        finally:
            os.close(above)
        return
    with open(source, "rb") as file:
        write_beneath(folder, path, file.read(), executable=bool(info.st_mode & 0o111))


def remove_beneath(folder: int, path: str) -> None:
    """Remove a file or link below `folder`; nothing happens when there is none, or a folder."""
    try:
        above = open_beneath(folder, path.rpartition("/")[0], _O_PATH_DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        os.unlink(path.rpartition("/")[2], dir_fd=above)
    except (FileNotFoundError, IsADirectoryError):
        return
    finally:
        os.close(above)
