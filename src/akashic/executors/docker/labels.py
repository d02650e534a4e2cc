"""Whose a container, network or volume is: labels that name the process which made it."""

from __future__ import annotations

import os
import socket
from functools import lru_cache

import msgspec

from akashic.executors.host.marker import Owner, boot_id, is_alive, start_time

SANDBOX = "dev.akashic.sandbox"
RUN = "dev.akashic.run"
JOB = "dev.akashic.job"
OWNER = "dev.akashic.owner"
_MACHINE_FILE = "/etc/machine-id"


class _Label(msgspec.Struct, frozen=True, kw_only=True):
    """`machine` and `namespace` say where the process number means that process: an engine may be shared."""

    pid: int
    started: int
    boot: str
    machine: str
    namespace: str


def labels_of(mark: str, run_id: str, job_key: str) -> dict[str, str]:
    """The labels of what this process makes for a sandbox."""
    return {SANDBOX: mark, RUN: run_id, JOB: job_key, OWNER: _own()}


def is_dead(owner: str) -> bool:
    """Whether the process in a label has ended. False when that cannot be told from here."""
    try:
        label = msgspec.json.decode(owner, type=_Label)
    except msgspec.MsgspecError:
        return False
    if label.machine != _machine():
        return False
    if label.boot != boot_id():
        return True
    if label.namespace != _namespace():
        return False
    return not is_alive(Owner(pid=label.pid, started=label.started, boot=label.boot, mark=""))


def _own() -> str:
    started = start_time("self")
    assert started is not None
    label = _Label(
        pid=os.getpid(), started=started, boot=boot_id(), machine=_machine(), namespace=_namespace()
    )
    return msgspec.json.encode(label).decode()


@lru_cache(maxsize=1)
def _machine() -> str:
    try:
        with open(_MACHINE_FILE, encoding="ascii", errors="replace") as file:
            return file.read().strip() or socket.gethostname()
    except OSError:
        return socket.gethostname()


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""
