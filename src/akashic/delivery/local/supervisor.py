"""The supervisor: owns proxies, instances and services of all local environments of one state folder.

It lives in a process of its own (`daemon`), outlives the commands that ask it, and finds everything again
when it was killed. Whatever it does it notes first or can find by the processes' mark, so nothing is
orphaned.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from pathlib import Path

import msgspec

from akashic.cancellation import Cancellation
from akashic.containers.errors import EngineError
from akashic.delivery.local import logs
from akashic.delivery.local.backing import Backing
from akashic.delivery.local.container_slots import ContainerSlots
from akashic.delivery.local.containers import ContainerRunner
from akashic.delivery.local.front import Front
from akashic.delivery.local.instances import ProcessRunner
from akashic.delivery.local.ledger import Ledger
from akashic.delivery.local.model import Environment, PrepareRequest, Slot
from akashic.delivery.local.paths import SHARED_BASE, LocalPaths
from akashic.delivery.local.process_slots import ProcessSlots
from akashic.delivery.local.processes import ProcessId, alive, identify, kill_group, marked, rotate
from akashic.delivery.local.rollout import Rollout
from akashic.delivery.local.slots import SlotRunner, address
from akashic.delivery.local.starting import Starter
from akashic.delivery.targets import Progress
from akashic.driver.deployment_ports import EffectOutcome, Lookup
from akashic.errors import AkashicError
from akashic.runner.masking import Masker

SLOT_ALIASES_MAX = 200
WATCH_INTERVAL_S = 0.2
LOG_BYTES_MAX = 10_000_000


class Supervisor:
    """All environments of one state folder. Thread-safe; one operation at a time for an environment."""

    def __init__(self, state_dir: Path) -> None:
        self.paths = LocalPaths(state_dir)
        self._reachable = self.paths.reachable
        self.mark = str(state_dir.resolve())
        self.ledger = Ledger(self.paths)
        self.state = self.ledger.state
        self.containers = ContainerRunner(self.mark, os.environ)
        self.runner = SlotRunner(ProcessRunner(self.mark), self.containers)
        self.front = Front(self.ledger, self.mark)
        self.backing = Backing(self.ledger, self.mark)
        processes = ProcessSlots(self.paths, self.backing, self.mark)
        containers = ContainerSlots(self.paths, self.containers)
        self.starter = Starter(self.ledger, self.runner, self.front, processes)
        self.container_starter = Starter(self.ledger, self.runner, self.front, containers)
        self.rollout = Rollout(self.ledger, self.runner, self.front)
        self._draining: list[threading.Thread] = []
        self._adopt()

    # Operations: each has a key, is carried out once, and is remembered with its outcome.

    def prepare(self, request: PrepareRequest, key: str, progress: Progress) -> EffectOutcome:
        """Start a release beside what serves; healthy, or an error and nothing of it left."""
        # A release's last words are kept with the reason, and it may have printed what it was given.
        masker = Masker(request.secrets.values())

        def work(environment: Environment, cancellation: Cancellation) -> EffectOutcome:
            standing = environment.served_by.get(request.restores, "")
            slot = environment.slots.get(standing)
            if request.rollback and slot is not None and self._stand_up(environment, slot, cancellation):
                progress(f"the release {slot.version} still stands ready")
                self._alias(environment, request.deployment, standing)
                return EffectOutcome(url=address(slot.instances[0]))
            try:
                starter = self.container_starter if request.in_container else self.starter
                made, outcome = starter.start(environment, request, progress, cancellation)
            except AkashicError as failure:
                self._drop_unfinished(environment, request.deployment)
                hint = masker.mask_text(failure.hint)
                raise AkashicError(masker.mask_text(failure.message), hint=hint) from None
            if made is None:
                self._drop_unfinished(environment, request.deployment)
            else:
                with self.ledger.lock:
                    made.kept = True
                    self._alias(environment, made.deployment, made.deployment)
            return _masked(outcome, masker)

        return self.ledger.once(request.environment, key, work)

    def apply(self, name: str, deployment: str, key: str, progress: Progress) -> EffectOutcome:
        """Give a prepared slot the traffic: at once, or instance by instance where it has idle ones."""

        def work(environment: Environment, cancellation: Cancellation) -> EffectOutcome:
            slot = environment.slots.get(environment.served_by.get(deployment, ""))
            if slot is None:
                return EffectOutcome(error="what was prepared is gone")
            before = environment.slots.get(environment.serving)
            rolls = before is not None and any(instance.idle for instance in slot.instances)
            with self.ledger.lock:
                slot.kept = True
                environment.rolling = environment.serving if rolls else ""
                environment.serving = slot.deployment
                environment.stopped = False
                self.ledger.save()
            self.front.ensure(environment)
            if rolls:
                assert before is not None
                wrong = self.rollout.roll(environment, slot, before, progress, cancellation)
                if wrong:
                    return EffectOutcome(error=wrong)
            else:
                self.front.route(environment)
            return EffectOutcome(url=self.front.url(environment))

        return self.ledger.once(name, key, work)

    def promote(self, name: str, deployment: str, key: str, progress: Progress) -> EffectOutcome:
        """Keep what serves; what served before stands by, anything older drains and ends."""

        def work(environment: Environment, cancellation: Cancellation) -> EffectOutcome:
            with self.ledger.lock:
                if environment.promoted and environment.promoted != environment.serving:
                    environment.standby = environment.promoted
                environment.promoted = environment.serving
                wanted = {environment.promoted, environment.standby}
                old = [slot for id_, slot in environment.slots.items() if id_ not in wanted]
            for slot in old:
                self._drop(environment, slot, in_background=True)
            self._collect_releases()
            logs.prune(self.paths.logs(name), environment.slots)
            return EffectOutcome()

        return self.ledger.once(name, key, work)

    def rollback(
        self, name: str, deployment: str, previous: str, key: str, progress: Progress
    ) -> EffectOutcome:
        """What served before serves again; what the deployment started ends."""

        def work(environment: Environment, cancellation: Cancellation) -> EffectOutcome:
            notes = []
            back = environment.slots.get(environment.promoted)
            if back is not None and any(instance.idle for instance in back.instances):
                wrong = self.rollout.revive(environment, back, cancellation)
                if wrong:
                    notes.append(f"{back.version} does not serve with all its instances: {wrong}")
            with self.ledger.lock:
                environment.serving = environment.promoted
                environment.rolling = ""
                mine = environment.served_by.pop(deployment, "")
                self.ledger.save()
            self.front.route(environment)
            slot = environment.slots.get(mine) or environment.slots.get(deployment)
            if slot is not None and slot.deployment not in (environment.promoted, environment.standby):
                self._drop(environment, slot, in_background=slot.kept)
            if previous and back is None:
                notes.append("what served before is not running here any more: deploy it again")
            if back is not None:
                progress(f"the release {back.version} serves again")
                self.front.ensure(environment)
            return EffectOutcome(notes=tuple(notes))

        return self.ledger.once(name, key, work)

    def look_up(self, key: str) -> Lookup:
        """What became of a key; waits while it is under way here."""
        return self.ledger.look_up(key)

    def cancel(self, key: str) -> None:
        """Ask a running operation to end early; it cleans up behind itself."""
        self.ledger.cancel(key)

    def trouble(self, name: str, deployment: str) -> str:
        """Why what a deployment applied is not in order right now; empty when it is."""
        environment = self.state.environments.get(name)
        slot = environment.slots.get(environment.served_by.get(deployment, "")) if environment else None
        if environment is None or slot is None:
            return "its processes are gone"
        for instance in slot.instances:
            if instance.idle:
                continue
            try:
                if instance.restarts or not self.runner.alive(slot, instance):
                    return f"instance {instance.index} {instance.last_exit or 'is not running'}"
            except EngineError as error:
                return error.message
        if not alive(self.front.process(environment)):
            return "the proxy is not running"
        return ""

    def stop_environment(self, name: str, progress: Progress) -> None:
        """Stop everything of an environment; data, ports and what can be started again stay known."""
        environment = self.state.environments.get(name)
        if environment is None:
            return
        with self.ledger.busy(name):
            with self.ledger.lock:
                environment.stopped = True
                slots = list(environment.slots.values())
                environment.serving = environment.rolling = environment.promoted = environment.standby = ""
                self.ledger.save()
            self.front.close(environment)
            for slot in slots:
                self._drop(environment, slot, in_background=False)
            self.backing.stop(environment, progress)
            environment.served_by.clear()
            self.ledger.save()

    def remove_environment(self, name: str, progress: Progress) -> None:
        """Stop an environment and remove everything of it, its data included. Repeatable."""
        self.stop_environment(name, progress)
        with self.ledger.busy(name), self.ledger.lock:
            self.state.environments.pop(name, None)
            self.ledger.save()
        for folder in (self.paths.environment(name), self.paths.data(name).parent):
            shutil.rmtree(folder, ignore_errors=True)
        self._collect_releases()

    def stop_all(self, progress: Progress) -> None:
        """Stop everything, and whatever carries our mark besides."""
        for name in list(self.state.environments):
            self.stop_environment(name, progress)
        for thread in self._draining:
            thread.join()
        self._kill_unknown(set())
        self._sweep_containers()
        if left := self.containers.remove_left_behind():
            progress(
                f"{left} container{'s' if left != 1 else ''} cannot be removed while the container engine is "
                "away: the next start removes them"
            )
        self._collect_releases()

    def abandon(self) -> None:
        """End everything at once: the state folder was removed."""
        self._kill_unknown(set())
        if self._reachable.parent == SHARED_BASE:
            shutil.rmtree(self._reachable, ignore_errors=True)

    # Watching.

    def watch(self) -> None:
        """One look at everything: restart what died, keep logs small. Called again and again by the
        daemon."""
        with contextlib.suppress(ChildProcessError):
            now = time.time()
            with self.ledger.lock:
                environments = [e for e in self.state.environments.values() if not e.stopped]
            for environment in environments:
                self._watch_environment(environment, now)
            self.containers.remove_left_behind()
            if not self._swept:
                self._sweep_containers()

    def _watch_environment(self, environment: Environment, now: float) -> None:
        folder = self.paths.logs(environment.name)
        changed = False
        with self.ledger.lock:
            for slot in environment.slots.values():
                if slot.kept:
                    # A container engine that does not answer says nothing about its containers.
                    with contextlib.suppress(EngineError):
                        changed |= self.runner.watch(environment.name, slot, folder, now)
            for log in (*folder.glob("service-*.log"), folder / "proxy.log"):
                rotate(log, LOG_BYTES_MAX)
            if changed:
                self.ledger.save()
        busy = self.ledger.busy(environment.name)
        if not busy.acquire(blocking=False):
            return
        try:
            if environment.stopped:
                return
            if environment.serving and not alive(self.front.process(environment)):
                with contextlib.suppress(AkashicError):
                    self.front.ensure(environment)
            self.backing.watch(environment, now)
        finally:
            busy.release()

    # Ending.

    def _drop_unfinished(self, environment: Environment, deployment: str) -> None:
        slot = environment.slots.get(deployment)
        if slot is not None:
            self._drop(environment, slot, in_background=False)

    def _drop(self, environment: Environment, slot: Slot, *, in_background: bool) -> None:
        """End a slot and forget it. In the background when it may still have requests to finish."""
        with self.ledger.lock:
            slot.kept = False
            environment.slots.pop(slot.deployment, None)
            for deployment in [d for d, s in environment.served_by.items() if s == slot.deployment]:
                del environment.served_by[deployment]
            if environment.standby == slot.deployment:
                environment.standby = ""
            self.ledger.save()
        if not in_background:
            self.runner.end(slot)
            return
        thread = threading.Thread(target=self.runner.end, args=(slot,), name=f"drain {slot.deployment}")
        thread.start()
        self._draining = [t for t in self._draining if t.is_alive()] + [thread]

    def _stand_up(self, environment: Environment, slot: Slot, cancellation: Cancellation) -> bool:
        """Whether a slot that stood by is complete, after starting again what it lacked."""
        if self.runner.in_order(slot):
            return True
        if not any(self.runner.alive(slot, instance) for instance in slot.instances):
            return False
        return not self.rollout.revive(environment, slot, cancellation)

    def _alias(self, environment: Environment, deployment: str, slot: str) -> None:
        with self.ledger.lock:
            environment.served_by[deployment] = slot
            for old in list(environment.served_by)[:-SLOT_ALIASES_MAX]:
                del environment.served_by[old]
            self.ledger.save()

    def _collect_releases(self) -> None:
        """Remove unpacked releases that no slot uses."""
        used = {slot.root for e in self.state.environments.values() for slot in e.slots.values()}
        folder = self.paths.reachable / "_releases"
        for root in folder.iterdir() if folder.is_dir() else ():
            if str(root) not in used and not root.name.startswith("."):
                shutil.rmtree(root, ignore_errors=True)
        if self.state.containers:
            images = {slot.image for e in self.state.environments.values() for slot in e.slots.values()}
            with contextlib.suppress(EngineError):
                self.containers.forget_images(images)

    # After a death.

    def _adopt(self) -> None:
        """What is known and alive goes on, what nobody knows ends."""
        known: set[int] = set()
        processes: list[ProcessId | None] = [*self.front.processes()]
        for environment in self.state.environments.values():
            for slot in [slot for slot in environment.slots.values() if not slot.kept]:
                with contextlib.suppress(EngineError):
                    self._drop(environment, slot, in_background=False)
            processes += [service.process for service in environment.services.values()]
            for slot in environment.slots.values():
                with contextlib.suppress(EngineError):
                    self.runner.recall(slot)
                processes += [instance.process for instance in slot.instances]
        known |= {process.pid for process in processes if process is not None and alive(process)}
        self._kill_unknown(known)
        self._sweep_containers()
        for environment in self.state.environments.values():
            if environment.serving:
                self.front.route(environment)
        self.ledger.save()

    def _sweep_containers(self) -> None:
        """Remove the containers of an earlier supervisor that no slot has, now or when the engine is back. It
        is asked only where there were some."""
        self._swept = not self.state.containers
        if self._swept:
            return
        slots = [slot for e in self.state.environments.values() for slot in e.slots.values()]
        known = {instance.container for slot in slots for instance in slot.instances}
        with contextlib.suppress(EngineError):
            self.containers.sweep(known)
            self._swept = True

    def _kill_unknown(self, known: set[int]) -> None:
        """End whatever carries our mark and does not belong to the session of a process that we know."""
        for pid in marked(self.mark + "/"):
            with contextlib.suppress(ProcessLookupError):
                if pid in known or os.getsid(pid) in known:
                    continue
                process = identify(pid)
                if process is not None:
                    kill_group(process)


def _masked(outcome: EffectOutcome, masker: Masker) -> EffectOutcome:
    evidence = tuple(
        msgspec.structs.replace(one, message=masker.mask_text(one.message)) for one in outcome.evidence
    )
    return msgspec.structs.replace(outcome, error=masker.mask_text(outcome.error), evidence=evidence)
