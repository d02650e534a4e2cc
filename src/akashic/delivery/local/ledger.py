"""What the supervisor knows, kept on disk, and its operations: each has a key, is carried out once, and is
remembered with its outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from akashic.cancellation import Cancellation
from akashic.delivery.local.model import Environment, Operation, SupervisorState
from akashic.delivery.local.paths import LocalPaths
from akashic.driver.deployment_ports import EffectOutcome, Lookup
from akashic.errors import AkashicError

OPERATIONS_MAX = 500
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
Work = Callable[[Environment, Cancellation], EffectOutcome]


class Ledger:
    """The state of one supervisor. Hold `lock` to change `state`; `save` afterwards."""

    def __init__(self, paths: LocalPaths) -> None:
        self.paths = paths
        self.lock = threading.RLock()
        self._busy: dict[str, threading.Lock] = {}
        self._running: dict[str, tuple[threading.Event, Cancellation]] = {}
        self.state = self._load()

    def once(self, name: str, key: str, work: Work) -> EffectOutcome:
        """Carry out `work` for an environment, or give the outcome that the key has already (waiting for one
        that is under way). What a machine or a release can cause is an outcome, never an exception."""
        with self.lock:
            known = self.state.operations.get(key)
            running = self._running.get(key)
            if known is None:
                done, cancellation = threading.Event(), Cancellation()
                self._running[key] = (done, cancellation)
                self.state.operations[key] = Operation(key=key, at=time.time())
                for old in list(self.state.operations)[:-OPERATIONS_MAX]:
                    del self.state.operations[old]
                environment = self.state.environments.setdefault(name, Environment(name=name))
                self.save()
        if known is not None:
            if running is not None:
                running[0].wait()
            return known.outcome or EffectOutcome(error="it was under way when the supervisor died")
        outcome = EffectOutcome(error="the supervisor failed; its log says why")
        try:
            with self.busy(name):
                outcome = work(environment, cancellation)
        except AkashicError as error:
            outcome = EffectOutcome(error=f"{error.message}" + (f" ({error.hint})" if error.hint else ""))
        except OSError as error:
            outcome = EffectOutcome(error=f"{error.filename or 'the machine'}: {error.strerror}")
        finally:
            # Whatever happened, nobody waits for the outcome for ever, or sees none once it has ended.
            with self.lock:
                self.state.operations[key].outcome = outcome
                self._running.pop(key, None)
                try:
                    self.save()
                finally:
                    done.set()
        return outcome

    def look_up(self, key: str) -> Lookup:
        """What became of a key; waits while it is under way here."""
        running = self._running.get(key)
        if running is not None:
            running[0].wait()
        with self.lock:
            operation = self.state.operations.get(key)
        if operation is None:
            return Lookup(state="absent")
        if operation.outcome is None:
            return Lookup(state="unknown")
        return Lookup(state="done", outcome=operation.outcome)

    def cancel(self, key: str) -> None:
        """Ask a running operation to end early; it cleans up behind itself."""
        running = self._running.get(key)
        if running is not None:
            running[1].cancel(source="user", reason="cancelled")

    def busy(self, name: str) -> threading.Lock:
        """Held while something is done to an environment."""
        with self.lock:
            return self._busy.setdefault(name, threading.Lock())

    def save(self) -> None:
        with self.lock:
            content = msgspec.json.encode(self.state)
            temporary = self.paths.state_file.with_name("state.json.new")
            temporary.write_bytes(content)
            temporary.chmod(0o600)
            temporary.rename(self.paths.state_file)

    def _load(self) -> SupervisorState:
        self.paths.supervisor.mkdir(parents=True, exist_ok=True, mode=0o700)
        boot = _boot()
        try:
            state = msgspec.json.decode(self.paths.state_file.read_bytes(), type=SupervisorState)
        except FileNotFoundError:
            return SupervisorState(boot=boot)
        except msgspec.MsgspecError:
            # Better to know nothing than to end: what runs is found by its mark and ended.
            self.paths.state_file.rename(self.paths.state_file.with_name("state.json.damaged"))
            return SupervisorState(boot=boot)
        if state.boot != boot:
            _forget_processes(state)
            state.boot = boot
        return state


def _boot() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return ""


def _forget_processes(state: SupervisorState) -> None:
    """The machine was started again: a number of a process names another one now."""
    for front in state.fronts.values():
        front.proxy = None
    for environment in state.environments.values():
        environment.proxy = None
        for service in environment.services.values():
            service.process = None
        for slot in environment.slots.values():
            for instance in slot.instances:
                instance.process = instance.log_writer = None
