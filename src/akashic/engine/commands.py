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


class CheckGate(Command, frozen=True, kw_only=True):
    """A gate is open: ask the port whether what would run is still what the gate is bound to, and append
    GateReopened when it is not."""

    request: JobRequest


class AcquireGroup(Command, frozen=True, kw_only=True):
    """Ask for a concurrency group for the run (`key` empty) or a job instance. `replaces_pending` is false
    for groups that keep a queue (`queue: max`)."""

    key: str
    group: str
    cancel_in_progress: bool
    replaces_pending: bool = True


class ReleaseGroup(Command, frozen=True, kw_only=True):
    """Give the group back, held or waited for."""

    key: str
    group: str


class StartJob(Command, frozen=True, kw_only=True):
    """Append JobStarted, then hand the request to the job port."""

    request: JobRequest


class CancelJob(Command, frozen=True, kw_only=True):
    """Ask a running job instance to end."""

    key: str
    reason: str


class WakeAt(Command, frozen=True, kw_only=True):
    """Decide again at this time (seconds since the epoch), whatever happens before."""

    at: float
