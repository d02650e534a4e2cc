"""Concurrency groups across processes: joining, leaving, and taking over from the dead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from akashic.driver.locks import RunBusy, RunLocks
from akashic.driver.ports import Clock
from akashic.engine.codec import encode, run_stream
from akashic.engine.concurrency import Group, GroupChanged, Joined, Member, group_stream, join, leave
from akashic.engine.events import CancelRequested
from akashic.journal.protocol import Conflict, Journal, NewRecord

_TRIES_MAX = 1000
_decoder = msgspec.json.Decoder(GroupChanged)
_encoder = msgspec.json.Encoder()


class Groups:
    """The concurrency groups of a repository, as their streams say."""

    def __init__(self, journal: Journal, locks: RunLocks, clock: Clock) -> None:
        self._journal = journal
        self._locks = locks
        self._clock = clock

    def place(
        self, name: str, member: Member, *, cancel_in_progress: bool, queue_max: int, rejoin: bool
    ) -> Literal["held", "waiting", "evicted"]:
        """The member's place in the group. It joins when it has none and `rejoin` says that it had none
        before; a member that has lost its place was pushed out by a newer one. Holders whose driver has died
        lose the group."""
        for _ in range(_TRIES_MAX):
            version, group = self._read(name)
            place = group.place_of(member)
            if place == "held":
                return "held"
            if self._take_from_the_dead(name, version, group, member):
                continue
            if place == "waiting":
                return "waiting"
            if not rejoin:
                return "evicted"
            joined = join(group, member, cancel_in_progress=cancel_in_progress, queue_max=queue_max)
            if member in joined.evicted:
                return "evicted"
            if self._append(name, version, "joined", member, joined.group, ""):
                self._tell(name, member, joined)
        raise Conflict(f"the concurrency group {name} changes too fast")

    def leave(self, name: str, member: Member) -> None:
        """Give up the member's place; nothing when it has none."""
        for _ in range(_TRIES_MAX):
            version, group = self._read(name)
            if not group.place_of(member):
                return
            if self._append(name, version, "left", member, leave(group, member), ""):
                return
        raise Conflict(f"the concurrency group {name} changes too fast")

    def members(self, name: str) -> Iterator[Member]:
        """Who holds the group, then who waits for it."""
        group = self._read(name)[1]
        if group.holder is not None:
            yield group.holder
        yield from group.pending

    def _read(self, name: str) -> tuple[int, Group]:
        stream = group_stream(name)
        version = self._journal.version(stream)
        if not version:
            return 0, Group()
        last = self._journal.read(stream, after_version=version - 1)[-1]
        return last.version, _decoder.decode(last.data).group

    def _append(
        self,
        name: str,
        version: int,
        change: Literal["joined", "left", "lost"],
        member: Member,
        group: Group,
        reason: str,
    ) -> bool:
        event = GroupChanged(change=change, member=member, reason=reason, group=group)
        record = NewRecord("GroupChanged", _encoder.encode(event))
        try:
            self._journal.append(group_stream(name), [record], at=self._clock.now(), expected_version=version)
        except Conflict:
            return False
        return True

    def _take_from_the_dead(self, name: str, version: int, group: Group, member: Member) -> bool:
        """Take the group from a holder whose driver has died; whether the group may be another one now."""
        holder = group.holder
        if holder is None or holder.run_id == member.run_id or self._locks.is_driven(holder.run_id):
            return False
        try:
            # Nobody can take the run on between our look and the record: it would believe that it holds it.
            lock = self._locks.acquire(holder.run_id)
        except RunBusy:
            return False
        try:
            self._append(name, version, "lost", holder, leave(group, holder), "its driver has died")
        finally:
            lock.release()
        return True

    def _tell(self, name: str, member: Member, joined: Joined) -> None:
        for other in joined.evicted:
            self._cancel(other, f"a newer run waits for the concurrency group {name}")
        for other in joined.to_cancel:
            self._cancel(other, f"a newer run wants the concurrency group {name}")

    def _cancel(self, member: Member, reason: str) -> None:
        request = CancelRequested(key=member.key, by="concurrency", reason=reason)
        self._journal.append(
            run_stream(member.run_id), [encode(request)], at=self._clock.now(), expected_version=None
        )
