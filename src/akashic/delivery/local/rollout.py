"""Rolling a slot in place of another, a few instances at a time, behind the proxy.

At every moment at least `all - unavailable_max` instances get traffic and at most `all + surge_max` run, not
counting the last old instance: it stays, idle, until the new release is promoted and then as its standby, so
that a way back needs no more than starting the others again (it also keeps what they are started with).
"""

from __future__ import annotations

import time

from akashic.cancellation import Cancellation
from akashic.delivery.checks import failures
from akashic.delivery.local.front import Front
from akashic.delivery.local.ledger import Ledger
from akashic.delivery.local.model import Environment, Instance, Slot
from akashic.delivery.local.slots import SlotRunner
from akashic.delivery.targets import Progress

LAST_REQUESTS_S = 0.5
"""After the switch a request may still be on its way to where the proxy sent it just before."""


class Rollout:
    """Replaces instances of one slot by those of another."""

    def __init__(self, ledger: Ledger, runner: SlotRunner, front: Front) -> None:
        self.ledger = ledger
        self.runner = runner
        self.front = front

    def roll(
        self, environment: Environment, new: Slot, old: Slot, progress: Progress, cancellation: Cancellation
    ) -> str:
        """Roll `new`, whose first instances are healthy already, in place of `old`; why that failed, empty
        when it did not. Then both are as they were at that moment, and `restore` goes back."""
        count = len(new.instances)
        for instance in new.instances:
            instance.idle = not self.runner.alive(new, instance)
        self._route(environment)
        while _busy(old) or _idle(new):
            ready = len(_busy(new)) + len(_busy(old))
            spare = ready - (count - new.unavailable_max)
            leaving = _busy(old)[: max(0, spare)]
            if leaving:
                self._retire(environment, old, leaving)
            running = len(_busy(new)) + len(_busy(old))
            room = count + new.surge_max - running
            coming = _idle(new)[: max(0, room)]
            assert leaving or coming, (count, ready, running)
            if coming:
                logs = self.ledger.paths.logs(environment.name)
                evidence = self.runner.start_healthy(environment.name, new, coming, logs, cancellation)
                wrong = failures(evidence)
                if wrong:
                    return f"instance {coming[len(evidence) - 1].index} did not become healthy: {wrong}"
                for instance in coming:
                    instance.idle = False
                self._route(environment)
            progress(f"{len(_busy(new))} of {count} instances are new")
        environment.rolling = ""
        self._route(environment)
        return ""

    def revive(self, environment: Environment, slot: Slot, cancellation: Cancellation) -> str:
        """Start again what a slot lacks and wait until it is healthy; why that failed, empty when it did
        not. Nothing about traffic changes."""
        missing = [instance for instance in slot.instances if not self.runner.alive(slot, instance)]
        if missing and not self.runner.recall(slot):
            return "what it was started with is not known any more"
        logs = self.ledger.paths.logs(environment.name)
        wrong = failures(self.runner.start_healthy(environment.name, slot, missing, logs, cancellation))
        if not wrong:
            for instance in slot.instances:
                instance.idle = False
        self.ledger.save()
        return wrong

    def _retire(self, environment: Environment, old: Slot, leaving: list[Instance]) -> None:
        for instance in leaving:
            instance.idle = True
        self._route(environment)
        time.sleep(LAST_REQUESTS_S)
        living = [instance for instance in old.instances if self.runner.alive(old, instance)]
        # The last one stays.
        self.runner.stop(old, [i for i in leaving if i is not living[-1]] if living else leaving)
        self.ledger.save()

    def _route(self, environment: Environment) -> None:
        self.ledger.save()
        self.front.route(environment)


def _busy(slot: Slot) -> list[Instance]:
    return [instance for instance in slot.instances if not instance.idle]


def _idle(slot: Slot) -> list[Instance]:
    return [instance for instance in slot.instances if instance.idle]
