"""A job's own namespaces, without a process of ours inside: two threads and one `cat`.

Linux keeps namespaces for each thread, and a child starts in those of the thread that makes it. So a job has
one thread of this process that has left for namespaces of the job's own (mounts, process numbers, IPC) and
does nothing but start processes there. A step therefore costs exactly its own process, its exit code comes by
an ordinary wait, and no agent has to be started. Measured on two cores: a step of one bash took 1.08 ms
through `exec` and 1.07 ms bare; opening and closing a job took 5 ms, with an agent process instead 13 ms.

Process 1 of the job is `cat` that waits on a pipe which only we hold. When it ends, the kernel kills all
in the namespace: double forks, new sessions, ignored signals, scrubbed environments. It ends when we close
the job, and also when we are killed.

What a job sees: the machine's files, read-only; its own folder, the shared paths and the tool cache writable
at their own paths; /tmp, /var/tmp and /dev/shm of its own; /proc with its own processes; no credentials in
the user's home; a copy-on-write view of the user's `~/.cache` at its own. As root it lacks the capabilities
that would undo this. The network is the machine's.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from akashic.executors.host import kernel
from akashic.executors.host.place import open_all
from akashic.executors.launching import Child, Command, DirectLauncher
from akashic.executors.protocol import ExecutorError

T = TypeVar("T")

_INIT = "trap '' CHLD HUP INT TERM; exec cat"
"""Ignoring SIGCHLD makes the kernel collect orphans by itself. `cat` ends when our end of the pipe is gone;
the shell's own `read` would also end when the first orphan does."""
_OWN = ("/tmp", "/var/tmp")
_END_TIMEOUT_S = 10.0
_DROPPED_CAPABILITIES = (
    2,  # DAC_READ_SEARCH: opens files by handle, also those that are hidden here
    9,  # LINUX_IMMUTABLE
    12,  # NET_ADMIN
    16,  # SYS_MODULE
    17,  # SYS_RAWIO
    20,  # SYS_PACCT
    21,  # SYS_ADMIN: mounts
    22,  # SYS_BOOT
    25,  # SYS_TIME
    27,  # MKNOD: the machine's disks
    30, 32, 33, 34, 35, 37, 38, 39, 40,  # audit, MAC, syslog, alarms, perfmon, BPF, checkpoints
)  # fmt: skip
_SECRETS = (".ssh", ".aws", ".azure", ".gnupg", ".kube", ".docker", ".config/gh", ".config/gcloud",
            ".config/git", ".config/akashic",
            ".netrc", ".git-credentials", ".pypirc", ".npmrc", ".vault-token", ".config/sops", ".config/age",
            ".terraform.d", ".cargo/credentials", ".cargo/credentials.toml", ".password-store")  # fmt: skip
# A folder that came with the checkout can be renamed only with `redirect_dir`, which needs root (others get
# EXDEV, and `mv` copies); one that a step made only when the overlay may leave its marks: as root in trusted
# attributes, else in `user.` ones.
_OVERLAY_OPTIONS = (",userxattr,volatile", ",userxattr", ",volatile", "")
_OVERLAY_OPTIONS_ROOT = (",redirect_dir=on,volatile", ",redirect_dir=on", *_OVERLAY_OPTIONS)
_RUNNER_FILES_OPTIONS = "mode=755,size=256m"
_PROTECTED_PROC = ("/proc/sys", "/proc/sysrq-trigger", "/proc/irq", "/proc/bus")


class View(msgspec.Struct, frozen=True, kw_only=True):
    """What the job's mount namespace shows. `writable` and `readable` stay visible at their own path, also
    below a folder that the job gets its own of; `temporary` is a folder for those. `runner_files` becomes
    one in memory."""

    folder: str
    temporary: str
    home: str
    scratch: str
    runner_files: str
    real_home: str
    writable: Sequence[str]
    readable: Sequence[str]
    hidden: Sequence[str] = ()
    """Folders of which the job sees no more than what of `folder`, `writable` and `readable` lies in them."""
    marks: Mapping[str, str] = {}
    """Variables of the job's first process, the last parent of all that cut themselves off from theirs."""


class _Outer(threading.local):
    """The mount namespace that a thread came from while it has sandboxes open."""

    count = 0
    namespace = -1
    cwd = -1


_outer = _Outer()


class NamespacePlace:
    """See `Place`. Made and best closed by the same thread, which sees the job's files meanwhile."""

    overlays = True

    def __init__(self, view: View) -> None:
        self.notes: Sequence[str] = ()
        self._view = view
        self._requests: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._owner = threading.get_ident()
        self._init: subprocess.Popen[bytes] | None = None
        self._alive = -1
        self._launcher = DirectLauncher()
        self._closed = False
        self._enter()
        self._thread = threading.Thread(target=self._serve, name="sandbox", daemon=True)
        self._thread.start()
        try:
            self._inside(self._build)
        except OSError as error:
            self.close()
            raise ExecutorError(f"cannot isolate the job: {error.strerror}") from error
        except BaseException:
            self.close()
            raise

    def launch(self, command: Command) -> Child:
        return self._inside(lambda: self._launcher.launch(command))

    def overlay(self, lower: str, destination: str, scratch: str) -> bool:
        try:
            self._inside(lambda: _mount_overlay(lower, destination, scratch))
        except OSError:
            return False
        return True

    def remove_overlay(self, destination: str) -> None:
        with contextlib.suppress(OSError):
            self._inside(lambda: kernel.umount(destination))

    def open_folders(self, paths: Sequence[str]) -> list[int]:
        return self._inside(lambda: open_all(paths))

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._init is not None:
            self._end(self._init)
        self._requests.put(None)
        self._thread.join()
        self._leave()

    def _end(self, init: subprocess.Popen[bytes]) -> None:
        """Have the kernel kill all processes of the job."""
        ended = os.pidfd_open(init.pid)
        init.kill()
        os.close(self._alive)
        # Waiting with a limit, `subprocess` would sleep for milliseconds between its looks.
        select.select([ended], [], [], _END_TIMEOUT_S)
        os.close(ended)
        init.poll()

    def _enter(self) -> None:
        """Give the calling thread a view of its own in which the job's overlays can appear."""
        if _outer.count == 0:
            _outer.namespace = os.open("/proc/thread-self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            _outer.cwd = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            kernel.unshare(kernel.CLONE_FS | kernel.CLONE_NEWNS)
            kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_SLAVE)
        _outer.count += 1
        kernel.mount(self._view.folder, self._view.folder, flags=kernel.MS_BIND)
        # Shared: what is mounted below it here appears in the job, and the other way round.
        kernel.mount("", self._view.folder, flags=kernel.MS_SHARED)

    def _leave(self) -> None:
        if threading.get_ident() == self._owner:
            _outer.count -= 1
            if _outer.count == 0:
                # The view goes with all its mounts when nobody is left in it. Threads that were started
                # meanwhile share our root and cwd, which the kernel refuses to move.
                kernel.unshare(kernel.CLONE_FS)
                kernel.setns(_outer.namespace, kernel.CLONE_NEWNS)
                os.fchdir(_outer.cwd)
                os.close(_outer.namespace)
                os.close(_outer.cwd)
                return
        with contextlib.suppress(OSError):
            kernel.umount(self._view.folder)

    def _inside(self, function: Callable[[], T]) -> T:
        """Have the job's thread call a function, and wait for it."""
        done: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

        def answer() -> None:
            try:
                done.put((function(), None))
            except BaseException as error:
                done.put((None, error))

        self._requests.put(answer)
        result, error = done.get()
        if error is not None:
            raise error
        return result  # type: ignore[return-value]

    def _serve(self) -> None:
        while (request := self._requests.get()) is not None:
            request()

    def _build(self) -> None:
        view = self._view
        kernel.unshare(kernel.CLONE_FS | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC)
        kept = _open_kept(view)
        try:
            kernel.set_read_only("/", True, recursive=True)
            kernel.set_read_only(view.folder, False, recursive=False)
            _make_own_folders(view, kept)
            for path in view.hidden:
                _hide(path, f"{view.temporary}-hidden", kept)
        finally:
            for _, fd, _ in kept:
                os.close(fd)
        kernel.mount("tmpfs", "/dev/shm", "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=1777")
        self._hold_runner_files()
        self._hide_secrets()
        self._show_caches()
        self._start_init()
        self._mount_proc()
        if os.geteuid() == 0:
            for number in _DROPPED_CAPABILITIES:
                with contextlib.suppress(OSError):
                    kernel.drop_capability(number)

    def _start_init(self) -> None:
        waiting, self._alive = os.pipe()
        with open(os.devnull, "r+b") as null:
            self._init = subprocess.Popen(
                ["/bin/sh", "-c", _INIT],
                stdin=waiting,
                stdout=null,
                stderr=null,
                cwd="/",
                env=dict(self._view.marks),
                start_new_session=True,
            )
        os.close(waiting)

    def _mount_proc(self) -> None:
        assert self._init is not None
        flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
        try:
            kernel.mount("proc", "/proc", "proc", flags, f"pidns=/proc/{self._init.pid}/ns/pid")
        except OSError:
            if not _mount_proc_in_child(flags):
                self.notes = ("the job sees the machine's process list: /proc could not be mounted",)
                return
        if os.geteuid() == 0:
            for path in _PROTECTED_PROC:
                with contextlib.suppress(OSError):
                    kernel.mount(path, path, flags=kernel.MS_BIND)
                    kernel.set_read_only(path, True, recursive=False)

    def _hold_runner_files(self) -> None:
        """Scripts and environment files are small, many, and gone with the job: on a disk, making them costs
        up to a fifth of a short step. Where memory cannot be mounted, the folder itself does."""
        flags = kernel.MS_NOSUID | kernel.MS_NODEV
        with contextlib.suppress(OSError):
            kernel.mount("tmpfs", self._view.runner_files, "tmpfs", flags, _RUNNER_FILES_OPTIONS)

    def _hide_secrets(self) -> None:
        nothing = f"{self._view.scratch}/nothing"
        for name in _SECRETS:
            path = f"{self._view.real_home}/{name}"
            with contextlib.suppress(OSError):
                kind = os.stat(path).st_mode
                if stat.S_ISDIR(kind):
                    os.makedirs(nothing, 0o555, exist_ok=True)
                    kernel.mount(nothing, path, flags=kernel.MS_BIND)
                elif stat.S_ISREG(kind):
                    kernel.mount(os.devnull, path, flags=kernel.MS_BIND)

    def _show_caches(self) -> None:
        caches = f"{self._view.home}/.cache"
        os.makedirs(caches, exist_ok=True)
        real = f"{self._view.real_home}/.cache"
        if os.path.isdir(real):
            with contextlib.suppress(OSError):
                _mount_overlay(real, caches, f"{self._view.scratch}/cache")


def _open_kept(view: View) -> list[tuple[str, int, bool]]:
    """Hold what must stay visible before anything is put on top of it, outer folders first."""
    wanted = dict.fromkeys(view.readable, False) | dict.fromkeys(view.writable, True) | {view.folder: True}
    kept = []
    for path in sorted(wanted):
        with contextlib.suppress(OSError):
            kept.append((path, os.open(path, os.O_PATH | os.O_CLOEXEC), wanted[path]))
    return kept


def _make_own_folders(view: View, kept: Sequence[tuple[str, int, bool]]) -> None:
    """Give the job folders of its own for those that all share; what lies in one and is to be seen gets a
    mount in it."""
    own = []
    for path in _OWN:
        source = view.temporary + path.replace("/", "-")
        os.makedirs(source, exist_ok=True)
        os.chmod(source, 0o1777)
        own.append((path, os.open(source, os.O_PATH | os.O_CLOEXEC)))
    for path, fd in own:
        with contextlib.suppress(FileNotFoundError):
            kernel.mount(f"/proc/self/fd/{fd}", path, flags=kernel.MS_BIND)
            kernel.set_read_only(path, False, recursive=False)
        os.close(fd)
    shown = ("/nothing", False)
    # From a folder below the checkout's top, git climbs to the top, and stops at another file system.
    names = {path for path, _, _ in kept}
    beneath_top = any(path.endswith("/.git") and os.path.dirname(path) not in names for path in names)
    for path, fd, writable in kept:
        if writable == shown[1] and path.startswith(shown[0] + "/"):
            continue  # The folder above shows it already.
        shown = (path, writable)
        hidden = next((folder for folder in _OWN if path.startswith(folder + "/")), "")
        if not (hidden or writable):
            continue
        if hidden:
            if not beneath_top:
                _hold_way_in_memory(hidden, path)
            if os.path.isdir(f"/proc/self/fd/{fd}"):
                os.makedirs(path, exist_ok=True)
            else:
                os.makedirs(os.path.dirname(path), exist_ok=True)
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        kernel.mount(f"/proc/self/fd/{fd}", path, flags=kernel.MS_BIND | kernel.MS_REC)
        kernel.set_read_only(path, not writable, recursive=False)


def _hold_way_in_memory(own: str, path: str) -> None:
    """The folders on the way from a folder of the job's own to what is shown below it are nothing but that:
    on a disk each is an inode to make and to free, a third of a job's whose repository lies below /tmp."""
    top = f"{own}/{path[len(own) + 1 :].partition('/')[0]}"
    if top == path:
        return
    with contextlib.suppress(OSError):
        os.mkdir(top)
        kernel.mount("tmpfs", top, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=755")


def _hide(folder: str, empty: str, kept: Sequence[tuple[str, int, bool]]) -> None:
    os.makedirs(empty, exist_ok=True)
    kernel.mount(empty, folder, flags=kernel.MS_BIND)
    for path, fd, writable in kept:
        if path.startswith(folder + "/"):
            os.makedirs(path, exist_ok=True)
            kernel.mount(f"/proc/self/fd/{fd}", path, flags=kernel.MS_BIND | kernel.MS_REC)
            kernel.set_read_only(path, not writable, recursive=False)
    kernel.set_read_only(folder, True, recursive=False)


def _mount_overlay(lower: str, destination: str, scratch: str) -> None:
    for path in (lower, scratch):
        if any(character in path for character in ",:\\"):
            raise OSError(22, f"{path} holds a character that overlay mounts cannot name")
    os.makedirs(scratch, exist_ok=True)
    # Where the scratch folder's file system cannot be an upper layer, memory can.
    for in_memory in (False, True):
        if in_memory:
            kernel.mount("tmpfs", scratch, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, "mode=700")
        upper, work = f"{scratch}/upper", f"{scratch}/work"
        os.makedirs(upper, exist_ok=True)
        os.makedirs(work, exist_ok=True)
        # A place that was kept has changes already; what the kernel noted about the mount of then must go.
        for name in os.listdir(work):
            shutil.rmtree(f"{work}/{name}", ignore_errors=True)
        for extra in _OVERLAY_OPTIONS_ROOT if os.geteuid() == 0 else _OVERLAY_OPTIONS:
            options = f"lowerdir={lower},upperdir={upper},workdir={work}{extra}"
            with contextlib.suppress(OSError):
                kernel.mount("overlay", destination, "overlay", kernel.MS_NODEV, options)
                return
    raise OSError(22, "overlay mounts are not possible here")


def _mount_proc_in_child(flags: int) -> bool:
    """Before Linux 6.17 only a process inside can mount its own /proc."""
    pid = os.fork()
    if pid == 0:
        try:
            kernel.mount("proc", "/proc", "proc", flags)
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    return status == 0
