"""Concurrency groups: one holder, whatever happens."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from akashic.engine.concurrency import Group, Member, group_stream, join, leave

A, B, C = (Member(run_id=name) for name in "abc")


def test_a_newer_one_replaces_the_one_that_waits() -> None:
    group = Group(holder=A, pending=(B,))
    joined = join(group, C, cancel_in_progress=False, queue_max=1)
    assert joined.group == Group(holder=A, pending=(C,)) and joined.evicted == (B,) and not joined.to_cancel


def test_cancel_in_progress_asks_the_holder_to_end_and_waits_for_it() -> None:
    joined = join(Group(holder=A), B, cancel_in_progress=True, queue_max=1)
    assert joined.to_cancel == (A,) and joined.group == Group(holder=A, pending=(B,))


def test_a_queue_keeps_its_order_and_its_limit() -> None:
    group = Group(holder=A, pending=(B,))
    assert join(group, C, cancel_in_progress=False, queue_max=2).group.pending == (B, C)
    full = Group(holder=A, pending=(B, C))
    assert join(full, Member(run_id="d"), cancel_in_progress=False, queue_max=2).evicted == (
        Member(run_id="d"),
    )
    assert leave(full, A) == Group(holder=B, pending=(C,))


def test_names_differ_in_more_than_case() -> None:
    assert group_stream("Prod") == group_stream("prod") != group_stream("prod2")


@given(
    moves=st.lists(
        st.tuples(st.sampled_from("abcde"), st.booleans(), st.booleans(), st.sampled_from([1, 3])),
        max_size=40,
    )
)
def test_a_group_has_one_holder_and_nobody_twice(moves: list[tuple[str, bool, bool, int]]) -> None:
    group = Group()
    for name, joins, cancels, queue_max in moves:
        member = Member(run_id=name)
        before = group.holder
        if joins:
            group = join(group, member, cancel_in_progress=cancels, queue_max=queue_max).group
            assert before is None or group.holder == before, "joining never takes a group from its holder"
        else:
            group = leave(group, member)
        assert group.holder not in group.pending and len(set(group.pending)) == len(group.pending)
        assert group.holder is not None or not group.pending, "nobody waits for a group that nobody holds"
