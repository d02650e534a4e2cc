"""Keeps an environment's stream moving: read events, ask the engine, append the intent, let the port act.

Each deployment has one owner at a time: the process that holds the file lock
`<environment>.<deployment>.lock`. The kernel frees the lock when the owner dies, however it dies and whatever
PID namespace it lived in; whoever takes the lock then looks up what was intended and goes on. Several owners
on one stream decide in order, for appending is optimistic.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from akashic.cancellation import Cancellation
from akashic.driver.deployment_ports import DeploymentPort, lookup_event, outcome_event
from akashic.driver.ports import Clock
from akashic.engine.deployment import Deployment, EnvironmentState, Status, allowed
from akashic.engine.deployment_codec import decode, encode, environment_stream, fold_records
from akashic.engine.deployment_decide import (
    AnyDeploymentCommand,
    AskRules,
    LookUp,
    Perform,
    Record,
    WakeAt,
    decide,
)
from akashic.engine.deployment_events import (
    AnyDeploymentEvent,
    DeploymentCancelled,
    DeploymentRequested,
    EffectIntended,
    RollbackStarted,
)
from akashic.journal.protocol import Conflict, Journal

WAIT_S = 0.5
"""How long a waiting owner sleeps at most before it looks whether the one before it in the queue has died."""
APPEND_ATTEMPTS_MAX = 100
"""A conflict means that somebody else made progress; so many in a row mean a bug."""


class _Lock:
    """A file lock that is held, until it is released or its holder is gone."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor = descriptor
        self._path = path

    @classmethod
    def take(cls, path: Path) -> _Lock | None:
        """None when somebody else holds it."""
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return cls(descriptor, path)

    def release(self, *, forget: bool = False) -> None:
        """Let go; `forget` when nobody will ask for this lock again."""
        if self._descriptor >= 0:
            if forget:
                self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        self.release()


class DeploymentDriver:
    """Drives the deployments of any environment of one journal. `locks` is a folder of its own."""

    def __init__(self, *, journal: Journal, port: DeploymentPort, clock: Clock, locks: Path) -> None:
        self.journal = journal
        self.port = port
        self.clock = clock
        self.locks = locks
        self._claimed: dict[str, _Lock] = {}

    def request(
        self, environment: str, deployment: str, make: Callable[[EnvironmentState], AnyDeploymentEvent | None]
    ) -> AnyDeploymentEvent | None:
        """Append the request of a new deployment, as `append` does. This process owns the deployment from
        before anybody can see it, until `drive` is done with it: nobody can take it for a dead one's."""
        lock = self._lock(environment, deployment)
        assert lock is not None, deployment
        event: AnyDeploymentEvent | None = None
        try:
            event = self.append(environment, make)
        finally:
            if event is None:
                lock.release(forget=True)
            else:
                self._claimed[deployment] = lock
        return event

    def state(self, environment: str) -> EnvironmentState:
        """The environment as the journal has it now."""
        return self._read(environment)[0]

    def let_go(self) -> None:
        """Give up what was requested here and is not driven: whoever comes next takes it on."""
        while self._claimed:
            self._claimed.popitem()[1].release()

    def append(
        self, environment: str, make: Callable[[EnvironmentState], AnyDeploymentEvent | None]
    ) -> AnyDeploymentEvent | None:
        """Append what `make` returns for the newest state; again when somebody else was faster. None: nothing
        is to be said."""
        for _ in range(APPEND_ATTEMPTS_MAX):
            state, version = self._read(environment)
            event = make(state)
            if event is None:
                return None
            assert allowed(state, event), (state.name, event)
            try:
                records = self.journal.append(
                    environment_stream(environment),
                    [encode(event)],
                    at=self.clock.now(),
                    expected_version=version,
                )
            except Conflict:
                continue
            state = fold_records(state, records)
            self.port.told(event, state.deployments[event.deployment])
            return event
        raise AssertionError(f"{APPEND_ATTEMPTS_MAX} conflicts in a row on {environment}")

    @contextmanager
    def own(self, environment: str, deployment: str) -> Iterator[bool]:
        """Hold the ownership of a deployment, or not (False) because a living process does."""
        with self._holding(self._lock(environment, deployment), environment, deployment) as owned:
            yield owned

    @contextmanager
    def _holding(self, lock: _Lock | None, environment: str, deployment: str) -> Iterator[bool]:
        if lock is None:
            yield False
            return
        ended = False
        try:
            yield True
            ended = self.state(environment).deployments[deployment].ended
        finally:
            lock.release(forget=ended)

    def _lock(self, environment: str, deployment: str) -> _Lock | None:
        self.locks.mkdir(parents=True, exist_ok=True)
        # One lock however the name is written, as it is one stream.
        name = f"{environment.casefold()}/{deployment}"
        return _Lock.take(self.locks / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.lock")

    def drive(
        self,
        environment: str,
        deployment: str,
        cancellation: Cancellation,
        *,
        waiting: Callable[[Deployment, EnvironmentState], bool] | None = None,
    ) -> Deployment:
        """Drive a deployment to its end, or only watch it while another living process owns it.

        `waiting` is called whenever there is nothing to do now; False from it leaves the deployment where it
        is. A cancellation takes it back, or rolls it back when it has started.
        """
        while True:
            seen = self.journal.head()
            lock = self._claimed.pop(deployment, None) or self._lock(environment, deployment)
            with self._holding(lock, environment, deployment) as owned:
                if owned:
                    found = self._drive_owned(environment, deployment, cancellation, waiting)
                    if found is not None:
                        return found
            state = self.state(environment)
            found = state.deployments[deployment]
            if found.ended or cancellation.is_set():
                return found
            if waiting is not None and not waiting(found, state):
                return found
            self._wait(seen, self.clock.now() + WAIT_S)

    def recover(self, environment: str, cancellation: Cancellation) -> list[Deployment]:
        """Take on every deployment whose owner died: each goes on to its end or back; one that waits for an
        approval goes on waiting. Returns those that were taken on and have changed."""
        changed: list[Deployment] = []
        for before in self.state(environment).open():
            with self.own(environment, before.id) as owned:
                if not owned:
                    continue
                self._take_on(environment, before.id)
                found = self._drive_owned(environment, before.id, cancellation, lambda *_: False)
            if found is not None and found != before:
                changed.append(found)
        return changed

    def _take_on(self, environment: str, deployment: str) -> None:
        """What the job of a run asked for is asked for again when the run is resumed; unless it has started,
        it is taken back, or it would be done twice."""

        def taken_back(state: EnvironmentState) -> AnyDeploymentEvent | None:
            found = state.deployments[deployment]
            if found.ended or found.holding or not found.request.run_id:
                return None
            return DeploymentCancelled(
                deployment=deployment, by="akashic", reason="the job that asked for it is gone"
            )

        self.append(environment, taken_back)

    def _drive_owned(
        self,
        environment: str,
        deployment: str,
        cancellation: Cancellation,
        waiting: Callable[[Deployment, EnvironmentState], bool] | None,
    ) -> Deployment | None:
        while True:
            # Before the state is read: an approval that `waiting` writes must wake us, too.
            seen = self.journal.head()
            state, version = self._read(environment)
            found = state.deployments[deployment]
            if found.ended:
                return found
            if cancellation.is_set() and found.status is not Status.ROLLING_BACK and not found.intended:
                self._give_up(environment, deployment, cancellation)
                continue
            commands = [c for c in decide(state, self.clock.now()) if c.deployment == deployment]
            wake_at = min((c.at for c in commands if isinstance(c, WakeAt)), default=float("inf"))
            remaining = [c for c in commands if not isinstance(c, WakeAt)]
            if remaining:
                for command in remaining:
                    self._execute(environment, found, version, command, cancellation)
                continue
            if waiting is not None and not waiting(found, state):
                return found
            self._adopt_blocking(environment, state, found, cancellation)
            self._wait(seen, min(wake_at, self.clock.now() + WAIT_S))

    def _adopt_blocking(
        self, environment: str, state: EnvironmentState, found: Deployment, cancellation: Cancellation
    ) -> None:
        """A dead owner's deployment would block this one for ever: end it first."""
        if found.status is not Status.QUEUED:
            return
        blocking = state.active or state.line()[0].id
        if blocking == found.id:
            return
        with self.own(environment, blocking) as owned:
            if owned:
                self._take_on(environment, blocking)
                self._drive_owned(environment, blocking, cancellation, lambda *_: False)

    def _execute(
        self,
        environment: str,
        deployment: Deployment,
        version: int,
        command: AnyDeploymentCommand,
        cancellation: Cancellation,
    ) -> None:
        match command:
            case Record(event=event):
                self._append_if(environment, version, event)
            case AskRules():
                self._append_if(environment, version, self.port.rules(deployment, self.clock.now()))
            case Perform(effect=effect, key=key):
                intent = EffectIntended(deployment=deployment.id, effect=effect, key=key)
                if not self._append_if(environment, version, intent):
                    return
                outcome = self.port.perform(effect, deployment, key, cancellation)
                event = outcome_event(effect, deployment, outcome)
                self.append(environment, lambda _: event)
            case LookUp(effect=effect, key=key):
                event = lookup_event(effect, deployment, key, self.port.look_up(effect, deployment, key))
                self.append(environment, lambda _: event)

    def _append_if(self, environment: str, version: int, event: AnyDeploymentEvent) -> bool:
        """Append only if the stream is still as it was when the engine decided."""
        try:
            records = self.journal.append(
                environment_stream(environment),
                [encode(event)],
                at=self.clock.now(),
                expected_version=version,
            )
        except Conflict:
            return False
        state = self.state(environment)
        assert records
        self.port.told(event, state.deployments[event.deployment])
        return True

    def _give_up(self, environment: str, deployment: str, cancellation: Cancellation) -> None:
        reason = f"cancelled: {cancellation.reason or 'interrupted'}"

        def end(state: EnvironmentState) -> AnyDeploymentEvent | None:
            found = state.deployments[deployment]
            if found.ended or found.status is Status.ROLLING_BACK:
                return None
            if found.holding:
                return RollbackStarted(deployment=deployment, reason=reason)
            return DeploymentCancelled(
                deployment=deployment, by=cancellation.source or "akashic", reason=reason
            )

        self.append(environment, end)

    def _read(self, environment: str) -> tuple[EnvironmentState, int]:
        records = self.journal.read(environment_stream(environment))
        name = environment
        if records:
            first = decode(records[0])
            if isinstance(first, DeploymentRequested):
                name = first.environment
        state = fold_records(EnvironmentState(name=name), records)
        return state, records[-1].version if records else 0

    def _wait(self, seen: int, until: float) -> None:
        timeout_s = max(0.0, min(until - self.clock.now(), WAIT_S))
        self.journal.wait(after_position=seen, timeout_s=timeout_s)
