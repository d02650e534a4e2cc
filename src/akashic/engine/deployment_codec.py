"""Events of environments as the journal keeps them: a type's name and JSON bytes."""

from __future__ import annotations

from typing import get_args

import msgspec

from akashic.engine.deployment import EnvironmentState, apply
from akashic.engine.deployment_events import AnyDeploymentEvent
from akashic.errors import AkashicError
from akashic.journal.protocol import JournalDamaged, NewRecord, Record

EVENT_TYPES: dict[str, type[AnyDeploymentEvent]] = {
    kind.__name__: kind for kind in get_args(AnyDeploymentEvent)
}
PREFIX = "environment/"
_encoder = msgspec.json.Encoder()


class UnknownDeploymentEventError(AkashicError):
    """The journal holds an event of an environment that this version does not know."""


def environment_stream(name: str) -> str:
    """The name of an environment's stream; names differ in more than case."""
    return PREFIX + name.casefold()


def encode(event: AnyDeploymentEvent) -> NewRecord:
    """The event as a new record."""
    return NewRecord(type(event).__name__, _encoder.encode(event))


def decode(record: Record) -> AnyDeploymentEvent:
    """The event of a record of an `environment/…` stream.

    Raises UnknownDeploymentEventError, JournalDamaged.
    """
    kind = EVENT_TYPES.get(record.type)
    if kind is None:
        raise UnknownDeploymentEventError(
            f"record {record.position} of {record.stream} is a {record.type!r}, which this version does "
            "not know",
            hint="it was probably written by a newer Akashic: update",
        )
    try:
        return msgspec.json.decode(record.data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise JournalDamaged(
            f"record {record.position} of {record.stream} is no {record.type}: {error}",
            hint="run akashic journal verify",
        ) from error


def fold_records(state: EnvironmentState, records: list[Record]) -> EnvironmentState:
    """The state after these records."""
    for record in records:
        state = apply(state, decode(record), record.at)
    return state
