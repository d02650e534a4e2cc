"""What `lsattr` shows and `chattr` sets, on file systems that have it (`man ioctl_iflags`)."""

from __future__ import annotations

import array
import fcntl
import os
import stat

_GETFLAGS, _SETFLAGS = 0x80086601, 0x40086602
"""FS_IOC_GETFLAGS and FS_IOC_SETFLAGS on x86 and ARM of 64 bits; elsewhere the kernel refuses them."""
IMMUTABLE = 0x00000010
APPEND_ONLY = 0x00000020
TOP_FOLDER = 0x00020000
"""FS_TOPDIR_FL, which `lsattr` shows as T."""


def change_flags(path: str, *, add: int = 0, remove: int = 0) -> None:
    """Change the flags of a file or folder where that is possible; a link is not followed."""
    flags = array.array("i", [0, 0])
    try:
        kind = os.lstat(path).st_mode
        # To open a device may do something.
        if not stat.S_ISDIR(kind) and not stat.S_ISREG(kind):
            return
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.ioctl(descriptor, _GETFLAGS, flags)
        wanted = (flags[0] | add) & ~remove
        if wanted != flags[0]:
            flags[0] = wanted
            fcntl.ioctl(descriptor, _SETFLAGS, flags)
    except OSError:
        return
    finally:
        os.close(descriptor)
