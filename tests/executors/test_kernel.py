"""What the kernel refuses is an error with its reason, however the call is made."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable

import pytest

from akashic.executors.host import isolation, kernel

NOWHERE = "/no-such-folder/here"

CALLS: dict[str, tuple[Callable[[], None], set[int]]] = {
    "mount bind on": (lambda: kernel.mount(NOWHERE, NOWHERE, flags=kernel.MS_BIND), {errno.ENOENT}),
    "mount tmpfs on": (lambda: kernel.mount("tmpfs", NOWHERE, "tmpfs"), {errno.ENOENT}),
    "mount_setattr": (
        lambda: kernel.set_read_only(NOWHERE, True, recursive=False),
        {errno.ENOENT, errno.EPERM},
    ),
    "mount_setattr ": (
        lambda: kernel.set_read_only(NOWHERE, True, recursive=True),
        {errno.ENOENT, errno.EPERM},
    ),
    "umount": (lambda: kernel.umount(NOWHERE), {errno.ENOENT, errno.EPERM}),
    "setns": (lambda: kernel.setns(-1, kernel.CLONE_NEWNS), {errno.EBADF}),
    "unshare": (lambda: kernel.unshare(-1), {errno.EINVAL}),
    "prctl": (lambda: kernel.drop_capability(9999), {errno.EINVAL, errno.EPERM}),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_refusal_names_the_call_and_the_reason(call: str) -> None:
    function, reasons = CALLS[call]
    with pytest.raises(OSError, match=call.strip()) as caught:
        function()
    assert caught.value.errno in reasons


def test_each_thread_is_told_its_own_reason() -> None:
    wrong: list[object] = []

    def ask(function: Callable[[], None], reason: int) -> None:
        for _ in range(300):
            try:
                function()
            except OSError as error:
                if error.errno != reason:
                    wrong.append(error)

    asked = [
        (lambda: kernel.mount(NOWHERE, NOWHERE, flags=kernel.MS_BIND), errno.ENOENT),
        (lambda: kernel.setns(-1, kernel.CLONE_NEWNS), errno.EBADF),
        (lambda: kernel.unshare(-1), errno.EINVAL),
    ]
    threads = [threading.Thread(target=ask, args=pair) for pair in asked]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(bool(isolation.probe().missing), reason="no namespaces on this machine")
def test_a_thread_that_leaves_changes_nothing_for_the_others() -> None:
    names = ("mnt", "pid_for_children", "ipc")
    before = [os.readlink(f"/proc/self/ns/{name}") for name in names]  # noqa: PTH115
    inside: list[str] = []

    def leave() -> None:
        kernel.unshare(kernel.CLONE_FS | kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC)
        inside.append(os.readlink("/proc/thread-self/ns/mnt"))  # noqa: PTH115

    thread = threading.Thread(target=leave)
    thread.start()
    thread.join()
    assert inside != before[:1]
    assert [os.readlink(f"/proc/self/ns/{name}") for name in names] == before  # noqa: PTH115
