"""The loop that drives one run: fold, decide, append the intent, act, append the outcome."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from akashic.cancellation import Cancellation
from akashic.driver.groups import Groups
from akashic.driver.jobs import Jobs
from akashic.driver.locks import RunLocks
from akashic.driver.observer import RunObserver
from akashic.driver.ports import Clock, GatePort, JobPort
from akashic.driver.stream import RunStream
from akashic.engine.commands import (
    AcquireGroup,
    CancelJob,
    Command,
    OpenGate,
    PassGate,
    Record,
    ReleaseGroup,
    StartJob,
    WakeAt,
)
from akashic.engine.concurrency import Member
from akashic.engine.decide import decide
from akashic.engine.events import (
    CancelRequested,
    ConcurrencyAcquired,
    ConcurrencyReleased,
    ConcurrencyWaiting,
    GateOpened,
    GatePassed,
    GateReopened,
    JobFinished,
    JobInterrupted,
    JobRefused,
    JobStarted,
    RunEvent,
    RunFinished,
    RunResumed,
)
from akashic.engine.plan import plan_of
from akashic.engine.requests import JobRequest
from akashic.engine.runstate import InstanceState, RunState
from akashic.errors import AkashicError
from akashic.journal.protocol import Journal

LOOK_INTERVAL_S = 0.1
"""How often a driver looks at its cancellation when nothing else wakes it."""
GROUP_INTERVAL_S = 0.5
"""How often it looks whether the holder of a group it waits for is alive."""


class RunDriver:
    """Drives runs to their end. One driver may drive several runs, each in a thread of its own.

    `jobs_max` limits how many instances of a run are at work at once here; 0: no limit. `executor` is the
    name that JobStarted keeps.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        job_port: JobPort,
        gate_port: GatePort,
        clock: Clock,
        locks: RunLocks,
        executor: str = "host",
        observers: Sequence[RunObserver] = (),
        jobs_max: int = 0,
        driver_name: str = "akashic",
    ) -> None:
        self._journal = journal
        self._job_port = job_port
        self._gate_port = gate_port
        self._clock = clock
        self._locks = locks
        self._executor = executor
        self._jobs_max = jobs_max
        self._name = driver_name
        self._live = _Live(observers)

    @property
    def observer_errors(self) -> list[BaseException]:
        """What observers raised; each was dropped at its first error."""
        return self._live.errors

    def drive(self, run_id: str, cancellation: Cancellation) -> RunState:
        """Drive the run until it has ended; resumes one whose driver died. Cancelling asks the run to end,
        in order; its clean-up jobs still run unless forced.

        Raises RunBusy when another process drives it, NoRun when there is none, JournalUnavailable when
        nothing can be written any more (its jobs are ended then).
        """
        lock = self._locks.acquire(run_id)
        try:
            stream = RunStream(self._journal, run_id, self._clock, self._live.event)
            return _Drive(self, stream, cancellation).to_the_end()
        finally:
            lock.release()


class _Drive:
    """One run being driven by one process."""

    def __init__(self, driver: RunDriver, stream: RunStream, cancellation: Cancellation) -> None:
        self._journal = driver._journal
        self._port = driver._job_port
        self._gates = driver._gate_port
        self._clock = driver._clock
        self._executor = driver._executor
        self._jobs_max = driver._jobs_max
        self._name = driver._name
        self._stream = stream
        self._cancellation = cancellation
        self._asked_to_cancel = self._asked_with_force = False
        self._groups = Groups(driver._journal, driver._locks, driver._clock)
        self._wake_at = 0.0
        self._jobs = Jobs(driver._job_port, driver._clock, stream.report, driver._live)

    def to_the_end(self) -> RunState:
        try:
            self._take_over()
            while not self._stream.state.finished:
                seen = self._journal.head()
                self._stream.absorb()
                self._pass_on_cancellation()
                if self._jobs.failure is not None:
                    raise self._jobs.failure
                if not self._carry_out(self._decide()):
                    self._wait(seen)
            return self._stream.state
        finally:
            self._jobs.end_all("its driver stops", force=self._cancellation.force)

    def _decide(self) -> list[Command]:
        with self._stream.lock:
            return decide(self._stream.state, self._clock.now(), places_max=self._jobs_max)

    # -- taking over

    def _take_over(self) -> None:
        """Find out what became of the attempts that a dead driver had under way."""
        state = self._stream.state
        if state.finished:
            return
        attempts = [state.instances[key] for key in state.running]
        if attempts or state.instances or state.groups:
            self._stream.report(RunResumed(by=self._name), durable=True)
        elif state.group_wish is None:
            return
        for instance in attempts:
            result = self._port.recover(instance.idempotency_key)
            outcome: RunEvent
            if result is not None:
                outcome = JobFinished(key=instance.key, attempt=instance.attempt, result=result)
            else:
                reason = "the process that ran it is gone; its outcome is unknown"
                outcome = JobInterrupted(key=instance.key, attempt=instance.attempt, reason=reason)
            self._stream.report(outcome)
        self._check_held_groups()

    def _check_held_groups(self) -> None:
        """A group that was taken over while the driver was dead must be asked for again, and a place that it
        was given as it died must be known, so that it is given back."""
        state = self._stream.state
        own = () if state.group_wish is None else (state.group_wish.name,)
        places: list[tuple[str, Iterable[str], tuple[str, ...]]] = [("", state.groups, own)]
        for instance in state.instances.values():
            if instance.status != "finished":
                places.append((instance.key, instance.groups, _groups_wanted(state, instance)))
        for key, known, wanted in places:
            member = Member(run_id=state.run_id, key=key)
            for group in tuple(dict.fromkeys((*known, *wanted))):
                has_place = member in self._groups.members(group)
                if group in known and not has_place:
                    self._stream.report(ConcurrencyReleased(key=key, group=group))
                elif group not in known and has_place:
                    self._stream.report(ConcurrencyWaiting(key=key, group=group))

    # -- the loop's parts

    def _carry_out(self, commands: list[Command]) -> bool:
        """Do what was decided; whether anything has changed, so that it is time to decide again."""
        intents: list[RunEvent] = []
        to_start: list[JobRequest] = []
        self._wake_at = 0.0
        changed = False
        for command in commands:
            match command:
                case Record(event=event):
                    intents.append(event)
                case StartJob(request=request):
                    to_start.append(request)
                    intents.append(
                        JobStarted(
                            key=request.key,
                            attempt=request.attempt,
                            idempotency_key=request.idempotency_key,
                            executor=self._executor,
                            resumption=request.resumption,
                        )
                    )
                case CancelJob(key=key, reason=reason, force=force):
                    self._jobs.cancel(key, reason, force=force)
                case WakeAt(at=at):
                    self._wake_at = at
                case _:
                    changed = self._ask(command) or changed
        if not intents:
            return changed
        durable = bool(to_start) or any(isinstance(event, RunFinished) for event in intents)
        if changed or not self._stream.decide_and_append(intents, durable=durable):
            # What was asked in between may have changed what follows: decide again.
            return True
        for request in to_start:
            self._jobs.start(request)
        return True

    def _ask(self, command: Command) -> bool:
        match command:
            case OpenGate(request=request):
                return self._append(self._open_gate(request))
            case PassGate(request=request, approved_by=approved_by):
                return self._append(self._pass_gate(request, approved_by))
            case AcquireGroup():
                return self._acquire(command)
            case ReleaseGroup(key=key, group=group):
                self._groups.leave(group, Member(run_id=self._stream.state.run_id, key=key))
                return self._append(ConcurrencyReleased(key=key, group=group))
        raise AssertionError(command)

    def _append(self, event: RunEvent) -> bool:
        self._stream.decide_and_append((event,), durable=True)
        return True

    def _open_gate(self, request: JobRequest) -> RunEvent:
        opened = self._open(request)
        return opened if isinstance(opened, GateOpened) else JobRefused(job=request.key, reason=opened)

    def _pass_gate(self, request: JobRequest, approved_by: tuple[str, ...]) -> RunEvent:
        opened = self._open(request)
        if isinstance(opened, str):
            return JobRefused(job=request.key, reason=opened)
        if opened.binding != request.binding:
            return GateReopened(
                key=request.key,
                binding=opened.binding,
                reason="what would run is not what was approved",
            )
        return GatePassed(key=request.key, approved_by=approved_by)

    def _open(self, request: JobRequest) -> GateOpened | str:
        try:
            return self._gates.open(request, self._clock.now())
        except AkashicError as error:
            return error.message

    def _acquire(self, command: AcquireGroup) -> bool:
        state = self._stream.state
        groups = state.instances[command.key].groups if command.key else state.groups
        known = groups.get(command.group)
        member = Member(run_id=state.run_id, key=command.key)
        place = self._groups.place(
            command.group,
            member,
            cancel_in_progress=command.cancel_in_progress,
            queue_max=command.queue_max,
            rejoin=known is None,
        )
        # A place is a fact, even where a cancellation has come in between: it must be given back.
        if place == "held":
            self._stream.report(ConcurrencyAcquired(key=command.key, group=command.group), durable=True)
            return True
        if place == "evicted":
            reason = f"a newer run waits for the concurrency group {command.group}"
            return self._append(CancelRequested(key=command.key, by="concurrency", reason=reason))
        if known is None:
            self._stream.report(ConcurrencyWaiting(key=command.key, group=command.group), durable=True)
            return True
        return False

    def _pass_on_cancellation(self) -> None:
        wanted = self._cancellation
        if not wanted.is_set() or (self._asked_to_cancel and self._asked_with_force >= wanted.force):
            return
        self._asked_to_cancel, self._asked_with_force = True, wanted.force
        by, reason = wanted.source or "user", wanted.reason or "cancelled"
        self._stream.report(CancelRequested(by=by, reason=reason, force=wanted.force), durable=True)

    def _wait(self, seen: int) -> None:
        """Until the journal grows, a timer runs out, or it is time to look at the cancellation. A group's
        holder may die without a record, so those who wait for one decide again every now and then."""
        look_again_at = time.monotonic() + GROUP_INTERVAL_S
        while time.monotonic() < look_again_at:
            self._jobs.end_overdue()
            timeout_s = LOOK_INTERVAL_S
            if self._wake_at:
                timeout_s = min(timeout_s, self._wake_at - self._clock.now())
            if timeout_s <= 0:
                return
            if self._journal.wait(after_position=seen, timeout_s=timeout_s):
                # A step's end changes nothing that is decided, and a job may have thousands of them.
                steps_to = self._stream.past_steps(seen)
                if steps_to == seen:
                    return
                seen = steps_to
            if self._cancellation.is_set() and not self._asked_to_cancel:
                return
            if self._cancellation.force and not self._asked_with_force:
                return


def _groups_wanted(state: RunState, instance: InstanceState) -> tuple[str, ...]:
    job = state.job_of(instance).job
    if job.concurrency is None and job.uses is None:
        return ()
    plan = plan_of(state, instance)
    return () if isinstance(plan, str) else tuple(wish.name for wish in plan.groups)


class _Live:
    """Hands what happens to the observers, and drops one that raises: a broken view must not stop a run."""

    def __init__(self, observers: Sequence[RunObserver]) -> None:
        self._observers = list(observers)
        self.errors: list[BaseException] = []

    def event(self, state: RunState, event: RunEvent, at: float) -> None:
        for observer in tuple(self._observers):
            try:
                observer.event(state, event, at)
            except Exception as error:
                self._drop(observer, error)

    def job_ready(self, key: str, notes: tuple[str, ...]) -> None:
        for observer in tuple(self._observers):
            try:
                observer.job_ready(key, notes)
            except Exception as error:
                self._drop(observer, error)

    def step_started(self, key: str, number: int, name: str) -> None:
        for observer in tuple(self._observers):
            try:
                observer.step_started(key, number, name)
            except Exception as error:
                self._drop(observer, error)

    def lines(self, key: str, number: int, block: str) -> None:
        for observer in tuple(self._observers):
            try:
                observer.lines(key, number, block)
            except Exception as error:
                self._drop(observer, error)

    def _drop(self, observer: RunObserver, error: BaseException) -> None:
        self.errors.append(error)
        if observer in self._observers:
            self._observers.remove(observer)
