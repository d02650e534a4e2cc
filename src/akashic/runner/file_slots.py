"""The files behind GITHUB_ENV and its siblings: made once a job, read when touched, emptied after use.

A step may replace its files, or their folder, by links to anywhere. They are read through a descriptor of the
folder that we made, never through a link, and never when they are not plain files.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading

from akashic.executors.protocol import Sandbox, Unsupported
from akashic.runner import places
from akashic.runner.files import FILE_BYTES_MAX, KINDS, CommandFiles

FOLDER = "_runner_file_commands"


class FileSlots:
    """Slots of five files. Steps that run at the same time have slots of their own."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self.folder = places.runner_files(sandbox)
        """Where scripts may lie, too."""
        self._folder = f"{self.folder}/{FOLDER}"
        # Nobody outside the job can know the names, nothing earlier can have prepared them.
        self._token = os.urandom(8).hex()
        self._free: list[CommandFiles] = []
        self._count = 0
        self._lock = threading.Lock()
        self._host_folder: str | None
        try:
            self._host_folder = sandbox.host_path(self._folder)
        except Unsupported:
            self._host_folder = None
        self._descriptor = -1
        if self._host_folder is not None:
            self._open_folder()

    def take(self) -> CommandFiles:
        """A slot of empty files."""
        with self._lock:
            if self._free:
                return self._free.pop()
            self._count += 1
            slot = CommandFiles.in_folder(self._folder, f"{self._token}_{self._count}")
        for path in slot.paths.values():
            self._create(path)
        return slot

    def give_back(self, slot: CommandFiles) -> None:
        """The slot's files are empty again and may be used by another step."""
        with self._lock:
            self._free.append(slot)

    def collect(self, slot: CommandFiles) -> dict[str, bytes]:
        """What was written, by kind; the files are empty afterwards."""
        written: dict[str, bytes] = {}
        for kind in KINDS:
            content = self._drain(slot.paths[kind])
            if content:
                written[kind] = content
        return written

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open_folder(self) -> None:
        assert self._host_folder is not None
        os.makedirs(self._host_folder, mode=0o777, exist_ok=True)  # noqa: PTH103 - a plain string path
        self._descriptor = os.open(
            self._host_folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        )

    def _create(self, path: str) -> None:
        if self._descriptor < 0:
            self._sandbox.write(path, b"")
            return
        name = path.rsplit("/", 1)[-1]
        try:
            self._make(name)
        except FileExistsError:
            with contextlib.suppress(OSError):
                if stat.S_ISDIR(os.stat(name, dir_fd=self._descriptor, follow_symlinks=False).st_mode):
                    # Nothing is removed that a step made: the folder only leaves the file's place.
                    aside = f"{name}.{os.urandom(4).hex()}"
                    os.rename(name, aside, src_dir_fd=self._descriptor, dst_dir_fd=self._descriptor)
                else:
                    os.unlink(name, dir_fd=self._descriptor)
                self._make(name)
        except FileNotFoundError:
            # The step removed the folder; the next one shall find it.
            os.close(self._descriptor)
            self._open_folder()
            self._make(name)

    def _make(self, name: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o666, dir_fd=self._descriptor)
        if self._host_folder != self._folder:
            # A process in a container may be any user; the names are known in the job only.
            os.fchmod(descriptor, 0o666)
        os.close(descriptor)

    def _drain(self, path: str) -> bytes:
        if self._descriptor < 0:
            content = self._sandbox.read(path, bytes_max=FILE_BYTES_MAX + 1) or b""
            if content:
                self._sandbox.write(path, b"")
            return content
        name = path.rsplit("/", 1)[-1]
        try:
            info = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
        except OSError:
            self._create(path)
            return b""
        if not stat.S_ISREG(info.st_mode):
            self._create(path)
            return b""
        if info.st_size == 0:
            return b""
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self._descriptor)
        except OSError:
            self._create(path)
            return b""
        with open(descriptor, "r+b") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return b""
            content = file.read(FILE_BYTES_MAX + 1)
            file.truncate(0)
        return content
