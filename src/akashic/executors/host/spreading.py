"""Where a disk puts the folders of sandboxes: apart from each other.

ext4 without a journal of its own gives out no inode that was freed within the last minute while it has
others, and finds out one by one (`find_inode_bit` in the kernel's fs/ext4/ialloc.c). What closed jobs gave
back lies where the next job's folders would go, so that a matrix of sixty jobs spent a fifth of all its
processor time on passing it over. A folder that bears the attribute T has every folder in it put into
another group of blocks (`man chattr`), where nothing was freed. Folders are never used again instead:
whoever still holds one of an ended job (a container that it left, a process that it handed a descriptor to)
would reach into the next.
"""

from __future__ import annotations

from akashic.executors.host.inode_flags import TOP_FOLDER, change_flags


def spread(folder: str) -> None:
    """Have the folders that will be made in this one lie apart on the disk, where its file system can. Other
    file systems have no such attribute, and most of them do not need it."""
    change_flags(folder, add=TOP_FOLDER)
