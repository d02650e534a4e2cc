"""One instance of a release as a process of this machine: started, looked at, ended."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from akashic.delivery.local.logs import LOG_END_TIMEOUT_S, log_of, open_log
from akashic.delivery.local.model import Instance, Slot
from akashic.delivery.local.ports import LOOPBACK
from akashic.delivery.local.processes import MARK, alive, environment_of, spawn, stop, tail, wait_gone
from akashic.errors import AkashicError

"""How long the last words of a process may take to reach its log."""


class InstanceRunner(Protocol):
    """How instances of a slot come and go. Calls for one instance come one at a time."""

    def start(
        self, environment: str, slot: Slot, instance: Instance, env: dict[str, str], logs: Path
    ) -> None:
        """Start it at `instance.port`, its output masked and kept in `logs`. Raises AkashicError."""
        ...

    def alive(self, instance: Instance) -> bool: ...

    def exit_text(self, instance: Instance) -> str:
        """How a dead one ended: ` with exit code 3`; empty when nobody knows."""
        ...

    def recall(self, slot: Slot, instance: Instance) -> dict[str, str]:
        """The environment that a living one was started with; empty when it cannot be known."""
        ...

    def stop(self, instance: Instance, *, grace_s: float) -> None:
        """Ask it to finish what it accepted, and end it after `grace_s`. Repeatable."""
        ...


class ProcessRunner:
    """Instances as processes."""

    def __init__(self, mark: str) -> None:
        self.mark = mark

    def start(
        self, environment: str, slot: Slot, instance: Instance, env: dict[str, str], logs: Path
    ) -> None:
        variables = {
            **env,
            "PORT": str(instance.port),
            "HOST": LOOPBACK,
            MARK: f"{self.mark}/{environment}/{slot.deployment}",
            "AKASHIC_INSTANCE": str(instance.index),
        }
        log = log_of(logs, slot.deployment, str(instance.index))
        try:
            output, instance.log_writer = open_log(
                log, bytes_max=slot.log_bytes_max, secrets=secret_texts(slot.secret_env, env)
            )
            instance.process, _ = spawn(slot.argv, env=variables, cwd=slot.cwd, log=output, user=slot.user)
        except OSError as error:
            raise AkashicError(f"the release cannot be started: {slot.argv[0]}: {error.strerror}") from error

    def alive(self, instance: Instance) -> bool:
        return alive(instance.process)

    def exit_text(self, instance: Instance) -> str:
        if instance.process is None:
            return ""
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(instance.process.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                if code < 0:
                    return f" by {signal.Signals(-code).name}"
                return f" with exit code {code}"
        return ""

    def recall(self, slot: Slot, instance: Instance) -> dict[str, str]:
        if instance.process is None or not alive(instance.process):
            return {}
        return environment_of(instance.process)

    def stop(self, instance: Instance, *, grace_s: float) -> None:
        if instance.process is not None:
            stop(instance.process, grace_s=grace_s)
            instance.process = None


def last_words(slot: Slot, instance: Instance, logs: Path) -> str:
    """The end of what a dead instance printed, masked."""
    if instance.log_writer is not None:
        wait_gone(instance.log_writer, LOG_END_TIMEOUT_S)
    return tail(log_of(logs, slot.deployment, str(instance.index)))


def secret_texts(names: tuple[str, ...], env: dict[str, str]) -> list[str]:
    """What must not be read in a log: the values that hold secrets, and the passwords of those that are
    addresses. A password that is the user's name too is masked within its address only: who knows the name
    knows it, and the name is a word that logs are full of."""
    values = [env[name] for name in names if name in env]
    passwords = []
    for value in values:
        with contextlib.suppress(ValueError):
            address = urlsplit(value)
            if address.password and address.password != address.username:
                passwords.append(address.password)
    return values + passwords
