"""`akashic journal`: is the record sound, what does it say, and a copy of it as text."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from akashic.app.identity import user_name
from akashic.cli.command import CommandContext
from akashic.errors import EXIT_FAILED, EXIT_OK, UsageError
from akashic.journal.protocol import Fault, Record
from akashic.journal.sqlite import SqliteJournal

HELP = "check, show or export the journal"

_PAGE_RECORDS = 1000
_SUMMARY_CHARACTERS_MAX = 160
_ANCHOR = "POSITION:HASH"


def configure(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    verify = actions.add_parser(
        "verify", help="check that nothing was edited, removed, reordered or truncated"
    )
    verify.add_argument(
        "--expect",
        metavar=_ANCHOR,
        help="a record that must be there, as an earlier verify printed it (kept elsewhere, it also shows a "
        "journal that was replaced as a whole)",
    )
    verify.add_argument(
        "--accept-loss",
        action="store_true",
        help="record that the missing end is known, so that later checks begin from here",
    )
    show = actions.add_parser("show", help="print records, oldest first")
    show.add_argument("--stream", metavar="S", help="only the records of this stream, for example run/01J…")
    show.add_argument("--last", type=int, metavar="N", default=0, help="only the last N")
    actions.add_parser("export", help="print every record as one JSON object a line, with its hashes")


def run(args: argparse.Namespace, context: CommandContext) -> int:
    application = context.application()
    path = Path(application.state_dir) / "journal.db"
    if not path.exists():
        raise UsageError(f"{path}: there is no journal yet", hint="akashic run makes one")
    if args.action == "verify":
        if args.accept_loss:
            _accept_loss(path, application.clock.now(), context)
        return _verify(path, args.expect, context)
    journal = SqliteJournal(path, read_only=True)
    try:
        if args.action == "show":
            _show(journal, args.stream, args.last, context)
        else:
            for record in _all(journal):
                context.stdout.write(_json(_exported(record)))
    finally:
        journal.close()
    return EXIT_OK


def _verify(path: Path, expect: str | None, context: CommandContext) -> int:
    journal = SqliteJournal(path, read_only=True)
    try:
        faults = journal.verify()
        head = journal.head() if not faults else 0
        last = next(journal.read_all(after_position=head - 1), None) if head else None
        if expect is not None:
            faults = [*faults, *_unmet(journal, expect)]
    finally:
        journal.close()
    if context.json:
        for fault in faults:
            context.stdout.write(_json({"position": fault.position, "message": fault.message}))
        summary: dict[str, Any] = {"sound": not faults, "faults": len(faults)}
        if last is not None:
            summary |= {"records": head, "head": f"{head}:{last.hash}"}
        context.stdout.write(_json(summary))
    elif faults:
        for fault in faults:
            context.stdout.write(f"{fault.position:>8}  {_printable(fault.message)}\n")
        count = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
        context.stdout.write(f"the journal is NOT sound: {count}\n")
    else:
        context.stdout.write(f"the journal is sound: {head} records\n")
        if last is not None:
            context.stdout.write(f"head {head}:{last.hash}\n")
    return EXIT_FAILED if faults else EXIT_OK


def _unmet(journal: SqliteJournal, expect: str) -> list[Fault]:
    position, _, digest = expect.partition(":")
    if not position.isdigit() or len(digest) != 64:
        raise UsageError(f"--expect {expect}: expected {_ANCHOR}, as akashic journal verify prints it")
    record = next(journal.read_all(after_position=int(position) - 1, records_max=1), None)
    if record is not None and record.position == int(position) and record.hash == digest.lower():
        return []
    return [Fault(position=int(position), message=f"record {position} is not the expected one")]


def _accept_loss(path: Path, now: float, context: CommandContext) -> None:
    journal = SqliteJournal(path)
    try:
        record = journal.accept_loss(at=now, by=user_name(context.environ))
    finally:
        journal.close()
    text = "nothing was lost" if record is None else f"record {record.position} says what was lost"
    context.stderr.write(f"{text}\n")


def _show(journal: SqliteJournal, stream: str | None, last: int, context: CommandContext) -> None:
    if last < 0:
        raise UsageError(f"--last {last}: expected a number above 0")
    records: Iterator[Record]
    if stream is not None:
        found = journal.read(stream)
        if not found:
            known = ", ".join(journal.streams(streams_max=5)) or "none"
            raise UsageError(f"there is no stream {stream}", hint=f"the newest are: {known}")
        records = iter(found[-last:] if last else found)
    else:
        records = _all(journal, after_position=max(0, journal.head() - last) if last else 0)
    for record in records:
        if context.json:
            context.stdout.write(_json(_exported(record)))
        else:
            context.stdout.write(_line(record))


def _all(journal: SqliteJournal, after_position: int = 0) -> Iterator[Record]:
    while True:
        page = list(journal.read_all(after_position=after_position, records_max=_PAGE_RECORDS))
        if not page:
            return
        yield from page
        after_position = page[-1].position


def _line(record: Record) -> str:
    data = _printable(record.data.decode(errors="replace"))
    if len(data) > _SUMMARY_CHARACTERS_MAX:
        data = data[: _SUMMARY_CHARACTERS_MAX - 1] + "…"
    return (
        f"{record.position:>8}  {_time(record.at)}  {_printable(record.stream)}:{record.version}  "
        f"{_printable(record.type)}  {data}\n"
    )


def _exported(record: Record) -> dict[str, Any]:
    try:
        data = json.loads(record.data)
    except ValueError:
        data = record.data.decode(errors="replace")
    return {
        "position": record.position,
        "stream": record.stream,
        "version": record.version,
        "at": record.at,
        "type": record.type,
        "data": data,
        "previous_hash": record.previous_hash,
        "hash": record.hash,
    }


def _time(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "????-??-??T??:??:??Z"


def _printable(text: str) -> str:
    """Without control characters: the journal may hold a hostile branch name; a terminal obeys escapes."""
    return "".join(character if character.isprintable() else "�" for character in text)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=True) + "\n"
