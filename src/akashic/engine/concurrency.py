"""Concurrency groups: one holder, and those that wait, over all runs of a repository. Pure.

A group's stream is `group/<name, lower case>`; each record holds the whole group after the change, so the
last record is the state. Source: GitHub's "Concurrency" (one running, one pending; a newer pending one
replaces an older one; `queue: max` keeps up to a hundred; names are case-insensitive).
"""

from __future__ import annotations

from typing import Literal

import msgspec


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A run (`key` empty) or a job instance that wants a group."""

    run_id: str
    key: str = ""


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """A group: who holds it, and who waits, in order."""

    holder: Member | None = None
    pending: tuple[Member, ...] = ()

    def place_of(self, member: Member) -> Literal["held", "waiting", ""]:
        """Whether the member holds the group, waits for it, or has no place (any more)."""
        if self.holder == member:
            return "held"
        return "waiting" if member in self.pending else ""


class GroupChanged(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a group's stream: who joined or left and why, and the group after that."""

    change: Literal["joined", "left", "lost"]
    member: Member
    reason: str = ""
    group: Group


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """What joining does: the group after it, whom it pushes out of the queue, whom it asks to end."""

    group: Group
    evicted: tuple[Member, ...] = ()
    to_cancel: tuple[Member, ...] = ()


def group_stream(name: str) -> str:
    """The stream of a group; names differ in more than case."""
    return f"group/{name.lower()}"


def join(group: Group, member: Member, *, cancel_in_progress: bool, queue_max: int) -> Joined:
    """The group after `member` asks for it; joining twice changes nothing."""
    if group.place_of(member):
        return Joined(group=group)
    if group.holder is None:
        return Joined(group=Group(holder=member, pending=group.pending))
    to_cancel = (group.holder,) if cancel_in_progress else ()
    if queue_max > 1:
        if len(group.pending) >= queue_max:
            return Joined(group=group, evicted=(member,))
        return Joined(group=Group(holder=group.holder, pending=(*group.pending, member)), to_cancel=to_cancel)
    return Joined(
        group=Group(holder=group.holder, pending=(member,)), evicted=group.pending, to_cancel=to_cancel
    )


def leave(group: Group, member: Member) -> Group:
    """The group without `member`; when it held the group, the first that waits holds it now."""
    pending = tuple(other for other in group.pending if other != member)
    if group.holder != member:
        return Group(holder=group.holder, pending=pending)
    if not pending:
        return Group()
    return Group(holder=pending[0], pending=pending[1:])
