"""Folders of closed sandboxes, emptied and used again for later ones.

A disk's file system is slow to give out what was given back a moment ago: ext4 passes over every inode that
was freed within the last minute, one by one. Measured for a matrix of sixty jobs: a fifth of all processor
time went there, and a folder that is renamed into place needs none of it.

Nothing that a job could leave behind reaches the next one. A folder stays only when it is as a new one would
be: empty, ours, with a new one's mode, and without attributes, access lists or flags. Everything else in it
is removed, and a place that a fork's job has used, or one that was not isolated, is never used again.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import shutil
import stat
from collections.abc import Iterable

from akashic.executors.host.marker import OWNER_FILE

SPARES_FOLDER = "spares"
SPARES_MAX = 8
"""More jobs than this are rarely at work at once on one machine."""

_GETFLAGS = 0x80086601
"""FS_IOC_GETFLAGS on x86 and ARM of 64 bits."""
_HARMLESS_FLAGS = 0x00080000 | 0x00001000
"""How ext4 keeps a folder: in extents, with an index."""
_OF_OVERLAY = {"trusted.overlay.uuid", "user.overlay.uuid"}
"""How the kernel names an overlay mount whose changes lay in a folder; the next mount takes the name on."""
_NEW_FOLDER_BYTES_MAX = 4096
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Skeleton = dict[str, "Skeleton"]
"""Folders by name, each with those in it."""


def skeleton_of(folder: str, paths: Iterable[str]) -> Skeleton:
    """The folders at `paths` below `folder`, and all above them, as a tree; others are left out."""
    skeleton: Skeleton = {}
    for path in paths:
        if path.startswith(folder + "/"):
            here = skeleton
            for name in path[len(folder) + 1 :].split("/"):
                here = here.setdefault(name, {})
    return skeleton


class Spares:
    """The spare folders of one state folder; any number of processes may share them."""

    def __init__(self, state_dir: str) -> None:
        self._folder = f"{state_dir}/{SPARES_FOLDER}"
        self._mode = 0o777 & ~_umask()
        # Who wants folders for itself alone must not get those that others may look into.
        self._suffix = f".{self._mode:o}"

    def take(self, folder: str) -> bool:
        """Make a spare one appear at `folder`, where nothing is; whether there was one."""
        try:
            names = os.listdir(self._folder)
        except OSError:
            return False
        for name in names:
            if name.endswith(self._suffix):
                path = f"{self._folder}/{name}"
                # Another process takes it first, or `folder` is there: then nothing happens.
                with contextlib.suppress(OSError):
                    # A folder without an owner is swept when it is old.
                    os.utime(path)
                    os.rename(path, folder)
                    return True
        return False

    def give(self, folder: str, skeleton: Skeleton) -> bool:
        """Take what is left of a sandbox nobody uses any more. False when it must be removed: it is not as
        new, or there are enough."""
        try:
            if len(os.listdir(self._folder)) >= SPARES_MAX:
                return False
        except FileNotFoundError:
            with contextlib.suppress(OSError):
                os.mkdir(self._folder, 0o700)
        except OSError:
            return False
        try:
            return self._reset(folder, skeleton) and self._put(folder)
        except OSError:
            return False

    def _put(self, folder: str) -> bool:
        for number in range(SPARES_MAX):
            # The name is somebody else's spare: the kernel replaces no folder with something in it.
            with contextlib.suppress(FileExistsError, OSError):
                os.rename(folder, f"{self._folder}/{number}{self._suffix}")
                return True
        return False

    def _reset(self, folder: str, skeleton: Skeleton) -> bool:
        descriptor = os.open(folder, _FLAGS)
        try:
            if not _as_new(descriptor, self._mode):
                return False
            self._empty(descriptor, skeleton, but=OWNER_FILE)
            # Whose it is goes last: what a crash leaves until then has a dead owner, and is swept.
            os.unlink(OWNER_FILE, dir_fd=descriptor)
            return True
        finally:
            os.close(descriptor)

    def _empty(self, folder: int, skeleton: Skeleton, *, but: str = "") -> None:
        """Remove all but the skeleton's folders, and those too that are not as new ones. Raises OSError."""
        with os.scandir(folder) as found:
            entries = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in found]
        for name, is_folder in entries:
            if not is_folder:
                if name != but:
                    os.unlink(name, dir_fd=folder)
            elif name not in skeleton or not self._emptied(folder, name, skeleton[name]):
                shutil.rmtree(name, dir_fd=folder)

    def _emptied(self, above: int, name: str, skeleton: Skeleton) -> bool:
        descriptor = os.open(name, _FLAGS, dir_fd=above)
        try:
            if not _as_new(descriptor, self._mode):
                return False
            self._empty(descriptor, skeleton)
            return True
        finally:
            os.close(descriptor)


def _as_new(descriptor: int, mode: int) -> bool:
    """Whether an open folder is as one that was made now with `mode`, which it has afterwards."""
    info = os.fstat(descriptor)
    if info.st_uid != os.geteuid() or info.st_gid != os.getegid() or info.st_size > _NEW_FOLDER_BYTES_MAX:
        return False
    # An access list is an attribute, too.
    if set(os.listxattr(descriptor)) - _OF_OVERLAY or _flags_of(descriptor) & ~_HARMLESS_FLAGS:
        return False
    if stat.S_IMODE(info.st_mode) != mode:
        os.fchmod(descriptor, mode)
    return True


def _flags_of(descriptor: int) -> int:
    """What `lsattr` shows; 0 where the file system has no such flags."""
    flags = array.array("i", [0, 0])
    try:
        fcntl.ioctl(descriptor, _GETFLAGS, flags)
    except OSError:
        return 0
    return flags[0]


def _umask() -> int:
    """This process's; asking the kernel by `umask` would change it for a moment, for all threads."""
    with open("/proc/self/status", "rb") as file:
        for line in file:
            if line.startswith(b"Umask:"):
                return int(line.split()[1], 8)
    return 0o077
