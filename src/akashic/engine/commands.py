"""What the engine wants done: data that a driver carries out, in order.

A command is repeated by every `decide` until an event says that it happened, so carrying one out twice must
be harmless; a driver remembers what it has under way.
"""

from __future__ import annotations

import msgspec

from akashic.engine.events import RunEvent
from akashic.engine.requests import JobRequest


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """The base of all commands."""


class Record(Command, frozen=True, kw_only=True):
    """Append this event: a consequence of what has happened, with nothing to do in the world."""

    event: RunEvent


class OpenGate(Command, frozen=True, kw_only=True):
    """Ask the gate port which protection rules hold for this job instance and append what it says:
    GateOpened, or JobRefused for the instance."""

    request: JobRequest


class PassGate(Command, frozen=True, kw_only=True):
    """The rules of an open gate hold. Ask the port again what would run: append GatePassed when that is what
    the gate is bound to, GateReopened when it is something else, JobRefused when it is refused now."""

    request: JobRequest
    approved_by: tuple[str, ...] = ()


class AcquireGroup(Command, frozen=True, kw_only=True):
    """Ask for a concurrency group for the run (`key` empty) or a job instance, or look whether it is free
    now; append ConcurrencyWaiting or ConcurrencyAcquired when that changed. At most `queue_max` may wait."""

    key: str
    group: str
    cancel_in_progress: bool
    queue_max: int = 1


class ReleaseGroup(Command, frozen=True, kw_only=True):
    """Give the group back, held or waited for."""

    key: str
    group: str


class StartJob(Command, frozen=True, kw_only=True):
    """Append JobStarted, then hand the request to the job port. The key names an attempt that was never
    started; of a run's StartJobs each has another instance."""

    request: JobRequest


class CancelJob(Command, frozen=True, kw_only=True):
    """Ask a running job instance to end; `force` skips grace periods."""

    key: str
    reason: str
    force: bool = False


class WakeAt(Command, frozen=True, kw_only=True):
    """Decide again at this time (seconds since the epoch), whatever happens before."""

    at: float
