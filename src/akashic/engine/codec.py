"""Events of runs as the journal keeps them: a type's name and JSON bytes."""

from __future__ import annotations

from typing import get_args

import msgspec

from akashic.engine.events import Event, RunEvent
from akashic.errors import AkashicError
from akashic.journal.protocol import JournalDamaged, NewRecord, Record

RUN_EVENT_TYPES: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(RunEvent)}

_encoder = msgspec.json.Encoder()
_decoders: dict[str, msgspec.json.Decoder[Event]] = {}


class UnknownEvent(AkashicError):
    """The journal holds an event that this version does not know."""


def encode(event: RunEvent) -> NewRecord:
    """The event as a new record."""
    return NewRecord(type(event).__name__, _encoder.encode(event))


def decode(record: Record) -> RunEvent:
    """The event of a record of a `run/…` stream. Raises UnknownEvent, JournalDamaged."""
    decoder = _decoders.get(record.type)
    if decoder is None:
        kind = RUN_EVENT_TYPES.get(record.type)
        if kind is None:
            raise UnknownEvent(
                f"record {record.position} of {record.stream} is a {record.type!r}, which this version does "
                "not know",
                hint="it was probably written by a newer Akashic: update",
            )
        decoder = _decoders[record.type] = msgspec.json.Decoder(kind)
    try:
        return decoder.decode(record.data)  # type: ignore[return-value]
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise JournalDamaged(
            f"record {record.position} of {record.stream} is no {record.type}: {error}",
            hint="run akashic journal verify",
        ) from error


def run_stream(run_id: str) -> str:
    """The name of a run's stream."""
    return f"run/{run_id}"
