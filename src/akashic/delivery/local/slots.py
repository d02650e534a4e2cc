"""The instances of one slot together: start them, see whether they live, start them again, end them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from akashic.cancellation import Cancellation
from akashic.containers.errors import EngineError
from akashic.delivery.checks import await_healthy
from akashic.delivery.local.instances import InstanceRunner, last_words
from akashic.delivery.local.model import Instance, Slot
from akashic.delivery.local.ports import LOOPBACK, free_port
from akashic.engine.deployment_events import Evidence
from akashic.errors import AkashicError

BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 30.0
STEADY_S = 60.0
"""An instance that lived so long starts its back-off anew."""


class SlotRunner:
    """Starts and ends slots. Their environments, with their secrets, live in memory only."""

    def __init__(self, processes: InstanceRunner, containers: InstanceRunner | None = None) -> None:
        self._processes = processes
        self._containers = containers
        self._env: dict[str, dict[str, str]] = {}

    def remember(self, slot: Slot, env: dict[str, str]) -> None:
        self._env[slot.deployment] = env

    def recall(self, slot: Slot) -> bool:
        """After a supervisor's death: take a slot's environment from one of its living instances. Whether it
        is known."""
        if slot.deployment in self._env:
            return True
        for instance in slot.instances:
            env = self._runner(slot).recall(slot, instance)
            if env:
                self._env[slot.deployment] = env
                return True
        return False

    def alive(self, slot: Slot, instance: Instance) -> bool:
        return self._runner(slot).alive(instance)

    def in_order(self, slot: Slot) -> bool:
        """Whether every instance lives and gets traffic when the slot does."""
        return bool(slot.instances) and all(not i.idle and self.alive(slot, i) for i in slot.instances)

    def start(self, environment: str, slot: Slot, instance: Instance, logs: Path) -> None:
        """Start one instance, at a port of its own. Raises AkashicError."""
        instance.port = instance.port or free_port()
        self._runner(slot).start(environment, slot, instance, self._env[slot.deployment], logs)
        instance.started_at = time.time()
        instance.next_start = 0.0

    def start_healthy(
        self,
        environment: str,
        slot: Slot,
        instances: Iterable[Instance],
        logs: Path,
        cancellation: Cancellation,
    ) -> tuple[Evidence, ...]:
        """Start instances and wait until each is healthy; the evidence of each, a failed one last. Raises
        AkashicError when one cannot be started."""
        chosen = list(instances)
        for instance in chosen:
            self.start(environment, slot, instance, logs)
        evidence: list[Evidence] = []
        deadline = time.monotonic() + slot.start_timeout_s
        for instance in chosen:
            found = await_healthy(
                address(instance),
                slot.health,
                timeout_s=max(0.0, deadline - time.monotonic()),
                cancellation=cancellation,
                alive=lambda instance=instance: self._death_of(slot, instance, logs),
            )
            evidence.append(found)
            if not found.passed:
                break
        return tuple(evidence)

    def stop(self, slot: Slot, instances: Iterable[Instance], *, grace_s: float | None = None) -> None:
        """End instances, at the same time; they have the slot's drain time to finish what they accepted."""
        grace = slot.drain_timeout_s if grace_s is None else grace_s
        runner = self._runner(slot)

        def end(instance: Instance) -> None:
            # What an engine that is away cannot remove now is found by its label later.
            with contextlib.suppress(EngineError):
                runner.stop(instance, grace_s=grace)

        threads = [threading.Thread(target=end, args=(instance,)) for instance in instances]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def end(self, slot: Slot) -> None:
        """End all instances and forget the slot's environment."""
        self.stop(slot, slot.instances)
        self._env.pop(slot.deployment, None)

    def watch(self, environment: str, slot: Slot, logs: Path, now: float) -> bool:
        """Restart what died, with growing pauses. Whether something changed."""
        changed = False
        for instance in slot.instances:
            if instance.idle or self.alive(slot, instance):
                continue
            if not instance.next_start:
                self._note_death(slot, instance, now)
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

    def _runner(self, slot: Slot) -> InstanceRunner:
        if not slot.image:
            return self._processes
        assert self._containers is not None, slot.deployment
        return self._containers

    def _death_of(self, slot: Slot, instance: Instance, logs: Path) -> str:
        """Why an instance that is being prepared will never be healthy; empty while it lives."""
        if self.alive(slot, instance):
            return ""
        how = self._runner(slot).exit_text(instance)
        what = "container" if slot.image else "process"
        return f"the {what} ended{how} before it was healthy; its last lines:\n" + (
            last_words(slot, instance, logs) or "(it printed nothing)"
        )

    def _note_death(self, slot: Slot, instance: Instance, now: float) -> None:
        lived_s = now - instance.started_at
        if lived_s > STEADY_S:
            instance.restarts = 0
        how = self._runner(slot).exit_text(instance)
        instance.last_exit = f"ended{how} after {lived_s:.0f} s"
        instance.next_start = now + min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2**instance.restarts)


def address(instance: Instance) -> str:
    return f"http://{LOOPBACK}:{instance.port}"
