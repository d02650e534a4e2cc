"""The processes of one slot: start them, see whether they live, start them again, end them."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

from akashic.cancellation import Cancellation
from akashic.delivery.checks import await_healthy
from akashic.delivery.local.model import Instance, Slot
from akashic.delivery.local.ports import LOOPBACK, free_port
from akashic.delivery.local.processes import (
    MARK,
    alive,
    environment_of,
    spawn,
    stop,
    tail,
)
from akashic.engine.deployment_events import Evidence
from akashic.errors import AkashicError

BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 30.0
STEADY_S = 60.0
"""An instance that lived so long starts its back-off anew."""


class SlotRunner:
    """Starts and ends instances. The environments of slots, with their secrets, live in memory only."""

    def __init__(self, mark: str) -> None:
        self.mark = mark
        self._env: dict[str, dict[str, str]] = {}

    def remember(self, slot: Slot, env: dict[str, str]) -> None:
        self._env[slot.deployment] = env

    def recall(self, slot: Slot) -> bool:
        """After a supervisor's death: take a slot's environment from one of its living processes. Whether it
        is
        known."""
        if slot.deployment in self._env:
            return True
        for instance in slot.instances:
            if instance.process is not None and alive(instance.process):
                env = environment_of(instance.process)
                if env:
                    self._env[slot.deployment] = env
                    return True
        return False

    def forget(self, slot: Slot) -> None:
        self._env.pop(slot.deployment, None)

    def start(self, environment: str, slot: Slot, instance: Instance, logs: Path) -> None:
        """Start one instance. Raises AkashicError."""
        env = {
            **self._env[slot.deployment],
            "PORT": str(instance.port),
            "HOST": LOOPBACK,
            MARK: f"{self.mark}/{environment}/{slot.deployment}",
            "AKASHIC_INSTANCE": str(instance.index),
        }
        try:
            instance.process, _ = spawn(
                slot.argv, env=env, cwd=slot.cwd, log=log_of(logs, slot, instance), user=slot.user
            )
        except OSError as error:
            raise AkashicError(f"the release cannot be started: {slot.argv[0]}: {error.strerror}") from error
        instance.started_at = time.time()
        instance.next_start = 0.0

    def start_all(
        self,
        environment: str,
        slot: Slot,
        count: int,
        logs: Path,
        *,
        timeout_s: float,
        cancellation: Cancellation,
    ) -> tuple[Evidence, ...]:
        """Start `count` instances and wait until each is healthy; the evidence of each, failed ones last."""
        for index in range(count):
            instance = Instance(index=index, port=free_port())
            slot.instances.append(instance)
            self.start(environment, slot, instance, logs)
        evidence: list[Evidence] = []
        deadline = time.monotonic() + timeout_s
        for instance in slot.instances:
            found = await_healthy(
                address(instance),
                slot.health,
                timeout_s=max(0.0, deadline - time.monotonic()),
                cancellation=cancellation,
                alive=lambda instance=instance: death_of(slot, instance, logs),
            )
            evidence.append(found)
            if not found.passed:
                break
        return tuple(evidence)

    def end(self, slot: Slot, *, grace_s: float | None = None) -> None:
        """End all instances, at the same time; they have the slot's drain time to finish what they
        accepted."""
        grace = slot.drain_timeout_s if grace_s is None else grace_s
        threads = []
        for instance in slot.instances:
            if instance.process is not None:
                thread = threading.Thread(target=stop, args=(instance.process,), kwargs={"grace_s": grace})
                thread.start()
                threads.append(thread)
        for thread in threads:
            thread.join()
        for instance in slot.instances:
            instance.process = None
        self.forget(slot)

    def watch(self, environment: str, slot: Slot, logs: Path, now: float) -> bool:
        """Restart what died, with growing pauses. Whether something changed."""
        changed = False
        for instance in slot.instances:
            if alive(instance.process):
                continue
            if not instance.next_start:
                _note_death(instance, now)
                changed = True
            elif now >= instance.next_start and self.recall(slot):
                instance.restarts += 1
                try:
                    self.start(environment, slot, instance, logs)
                except AkashicError as error:
                    instance.last_exit = error.message
                    instance.next_start = now + BACKOFF_MAX_S
                changed = True
        return changed


def address(instance: Instance) -> str:
    return f"http://{LOOPBACK}:{instance.port}"


def log_of(logs: Path, slot: Slot, instance: Instance) -> Path:
    return logs / f"{slot.deployment}.{instance.index}.log"


def death_of(slot: Slot, instance: Instance, logs: Path) -> str:
    """Why an instance that is being prepared will never be healthy; empty while it lives."""
    if alive(instance.process):
        return ""
    how = _exit_text(instance)
    return f"the process ended{how} before it was healthy; its last lines:\n" + (
        tail(log_of(logs, slot, instance)) or "(it printed nothing)"
    )


def _exit_text(instance: Instance) -> str:
    """How a child of ours ended; empty when it was not ours, or somebody else has asked already."""
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


def _note_death(instance: Instance, now: float) -> None:
    lived_s = now - instance.started_at
    if lived_s > STEADY_S:
        instance.restarts = 0
    instance.last_exit = f"ended{_exit_text(instance)} after {lived_s:.0f} s"
    instance.next_start = now + min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2**instance.restarts)
