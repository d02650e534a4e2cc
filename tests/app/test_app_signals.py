"""Signals cancel whatever code they interrupt."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable

import pytest

from akashic.app.signals import cancel_on_signals
from akashic.cancellation import Cancellation
from akashic.cli.conduct_deployment import interruptible


def wait_for(event: threading.Event) -> None:
    assert event.wait(20)


def test_a_signal_cancels_and_a_second_one_is_impatient() -> None:
    cancellation = Cancellation()
    said: list[str] = []
    told = threading.Event()

    def say(text: str) -> None:
        said.append(text)
        told.set()

    before = signal.getsignal(signal.SIGINT)
    with cancel_on_signals(cancellation, say):
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(told)
        assert (cancellation.source, cancellation.reason) == ("signal", "cancelled by SIGINT")
        assert not cancellation.force
        told.clear()
        os.kill(os.getpid(), signal.SIGTERM)
        wait_for(told)
        assert cancellation.force
        assert cancellation.reason == "cancelled by SIGINT"
    assert signal.getsignal(signal.SIGINT) == before
    assert "Ctrl-C again" in said[0] and "at once" in said[1]


def test_a_terminal_that_is_gone_does_not_keep_a_signal_from_cancelling() -> None:
    cancellation = Cancellation()

    def say(text: str) -> None:
        raise OSError(5, "Input/output error")

    with cancel_on_signals(cancellation, say):
        os.kill(os.getpid(), signal.SIGHUP)
        assert cancellation.wait(20)


def test_many_signals_at_once_do_not_lock_up() -> None:
    cancellation = Cancellation()
    with cancel_on_signals(cancellation, lambda text: None):
        for number in (signal.SIGINT, signal.SIGTERM) * 50:
            os.kill(os.getpid(), number)
    assert cancellation.force


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    seen: list[object] = []

    def other() -> None:
        with cancel_on_signals(Cancellation(), lambda text: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


def test_one_that_fails_when_told_keeps_no_later_signal_from_cancelling() -> None:
    def fail() -> None:
        raise OSError("what it woke is closed")

    cancellation, told = Cancellation(), threading.Semaphore(0)
    cancellation.on_cancel(fail)
    with cancel_on_signals(cancellation, lambda text: told.release()):
        os.kill(os.getpid(), signal.SIGINT)
        assert told.acquire(timeout=20)
        os.kill(os.getpid(), signal.SIGINT)
        assert told.acquire(timeout=20)
    assert cancellation.force


def test_a_deployment_is_cancelled_also_where_the_signal_interrupts_its_cancellation() -> None:
    with interruptible() as cancellation:
        with cancellation._lock:
            os.kill(os.getpid(), signal.SIGTERM)
        assert cancellation.wait(20)
    assert (cancellation.source, cancellation.reason) == ("user", "SIGTERM")


@pytest.mark.parametrize(
    "error", [ValueError("I/O operation on closed file"), UnicodeEncodeError("x", "ä", 0, 1, "")]
)
def test_who_cannot_be_told_can_still_be_impatient(
    error: Exception, capfd: pytest.CaptureFixture[str]
) -> None:
    cancellation = Cancellation()

    def say(text: str) -> None:
        raise error

    with cancel_on_signals(cancellation, say):
        os.kill(os.getpid(), signal.SIGINT)
        assert cancellation.wait(20)
        os.kill(os.getpid(), signal.SIGINT)
    assert cancellation.force
    assert capfd.readouterr().err == ""


def test_without_a_thread_to_spare_the_next_signal_tries_again(monkeypatch: pytest.MonkeyPatch) -> None:
    start, tried = _thread.start_new_thread, list[int]()

    def scarce(function: Callable[[], None], arguments: tuple[()]) -> int:
        tried.append(1)
        if len(tried) == 1:
            raise RuntimeError("can't start new thread")
        return start(function, arguments)

    cancellation = Cancellation()
    monkeypatch.setattr(_thread, "start_new_thread", scarce)
    with cancel_on_signals(cancellation, lambda text: None):
        os.kill(os.getpid(), signal.SIGINT)
        assert len(tried) == 1 and not cancellation.is_set()
        os.kill(os.getpid(), signal.SIGINT)
        assert cancellation.wait(20)
    assert cancellation.force, "none was forgotten"
    tried.clear()
    with cancel_on_signals(Cancellation(), lambda text: None):
        os.kill(os.getpid(), signal.SIGINT)  # The end does not wait for a thread that never was.


def test_a_run_without_a_signal_has_no_thread_for_them() -> None:
    before = len(sys._current_frames())
    with cancel_on_signals(Cancellation(), lambda text: None):
        assert len(sys._current_frames()) == before
