"""Everybody who asked to be told is told, and nobody who has gone."""

from __future__ import annotations

import threading

import pytest

from akashic.cancellation import Cancellation
from tests.waiting import PATIENCE_S


def test_one_that_fails_keeps_the_request_from_nobody() -> None:
    cancellation, told = Cancellation(), []

    def fail() -> None:
        raise OSError("what it woke is closed")

    cancellation.on_cancel(fail)
    cancellation.on_cancel(lambda: told.append(cancellation.reason))
    with pytest.raises(OSError, match="closed"):
        cancellation.cancel(source="user", reason="Ctrl-C")
    assert told == ["Ctrl-C"]


def test_who_takes_a_callback_back_waits_for_its_end() -> None:
    """What the callback uses is closed next, and its number may be another's at once."""
    cancellation = Cancellation()
    inside, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def wake() -> None:
        inside.set()
        assert go_on.wait(PATIENCE_S)
        order.append("told")

    forget = cancellation.on_cancel(wake)
    caller = threading.Thread(target=lambda: cancellation.cancel(source="user", reason="Ctrl-C"))
    caller.start()
    assert inside.wait(PATIENCE_S)

    def close() -> None:
        forget()
        order.append("closed")

    closer = threading.Thread(target=close)
    closer.start()
    go_on.set()
    for thread in (caller, closer):
        thread.join()
    assert order == ["told", "closed"]


def test_what_was_taken_back_in_the_meantime_is_not_called() -> None:
    cancellation, told = Cancellation(), []
    forgets = []
    cancellation.on_cancel(lambda: forgets[0]())
    forgets.append(cancellation.on_cancel(lambda: told.append("second")))
    cancellation.cancel(source="user", reason="Ctrl-C")
    assert told == []


def test_a_callback_may_ask_again() -> None:
    cancellation, told = Cancellation(), []

    def again() -> None:
        told.append(cancellation.force)
        if not cancellation.force:
            cancellation.cancel(source="user", reason="Ctrl-C", force=True)

    cancellation.on_cancel(again)
    cancellation.cancel(source="user", reason="Ctrl-C")
    assert told == [False, True]
