"""Tells every receiver that wants to know, off the critical path.

`send` returns at once; each remote receiver gets a thread of its own that retries with back-off until its
deadline. `flush` waits for them, no longer than that deadline. Nothing here raises: a receiver that is down
is reported and fails nothing. A receiver may get a message twice (its answer was lost), never a wrong one.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from typing import Literal

from akashic.errors import AkashicError
from akashic.notify.config import AnyReceiver, ConsoleReceiver, MailReceiver, NotifyConfig, WebhookReceiver
from akashic.notify.message import Message, plain_text
from akashic.notify.sending import SendFailed

BACKOFF_FIRST_S = 0.5
BACKOFF_FACTOR = 2.0
PENDING_MAX = 64
"""More deliveries than this at once are refused: something sends in a loop."""

Status = Literal["pending", "delivered", "failed"]


class Delivery:
    """One message on its way to one receiver. `error` says why it failed, without anything secret."""

    def __init__(self, receiver: str) -> None:
        self.receiver = receiver
        self.status: Status = "pending"
        self.attempts = 0
        self.error = ""
        self._done = threading.Event()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Block until it is delivered or given up, or the time is over; whether it is decided."""
        return self._done.wait(timeout_s)

    def decide(self, status: Status, error: str = "") -> None:
        self.status, self.error = status, error

    def finish(self) -> None:
        """Let those go on who wait for it."""
        self._done.set()

    def __str__(self) -> str:
        if self.status == "failed":
            return f"{self.receiver}: not delivered after {self.attempts} attempts: {self.error}"
        return f"{self.receiver}: {self.status}"


class Notifier:
    """The receivers of a configuration.

    `secret` looks a secret up by its name (None: there is none). `say` gets lines for the console. `report`
    is called with each delivery that is decided, from its thread. `tls` is for tests with servers of their
    own.
    """

    def __init__(
        self,
        config: NotifyConfig,
        *,
        secret: Callable[[str], str | None],
        say: Callable[[str], None],
        report: Callable[[Delivery], None] | None = None,
        now: Callable[[], float] = time.time,
        backoff_first_s: float = BACKOFF_FIRST_S,
        tls: object = None,
    ) -> None:
        self._config = config
        self._secret = secret
        self._say = say
        self._report = report
        self._now = now
        self._backoff_first_s = backoff_first_s
        self._tls = tls
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._pending: list[Delivery] = []
        self._flushed_at_exit = False

    def send(self, message: Message, *, receivers: tuple[str, ...] = ()) -> list[Delivery]:
        """Tell the receivers that hear about this kind and environment (of those named, when some are).

        Returns without waiting for any of them; never raises.
        """
        wanted = [r for r in self._named() if _hears(r[1], message) and (not receivers or r[0] in receivers)]
        return [self._start(name, receiver, message) for name, receiver in wanted]

    def flush(self, timeout_s: float | None = None) -> list[Delivery]:
        """Wait for what is on its way, at most the configured deadline; what is not decided by then is given
        up. Returns the deliveries that were waited for."""
        until = time.monotonic() + (self._config.deadline_s if timeout_s is None else timeout_s)
        with self._lock:
            waited = list(self._pending)
        for delivery in waited:
            if not delivery.wait(max(0.0, until - time.monotonic())):
                self._closing.set()
                self._decide(delivery, SendFailed("it did not answer in time", retry=False))
        return waited

    def close(self) -> list[Delivery]:
        """Flush, and stop retrying what is still on its way."""
        waited = self.flush()
        self._closing.set()
        return waited

    def _named(self) -> list[tuple[str, AnyReceiver]]:
        return [(receiver.name or _kind(receiver), receiver) for receiver in self._config.receivers]

    def _start(self, name: str, receiver: AnyReceiver, message: Message) -> Delivery:
        delivery = Delivery(name)
        if isinstance(receiver, ConsoleReceiver):
            delivery.attempts = 1
            self._decide(delivery, self._attempt(receiver, message, 0.0))
            return delivery
        with self._lock:
            self._pending = [other for other in self._pending if other.status == "pending"]
            full = len(self._pending) >= PENDING_MAX
            if not full:
                self._pending.append(delivery)
            if not self._flushed_at_exit:
                atexit.register(self.close)
                self._flushed_at_exit = True
        if full:
            self._decide(delivery, SendFailed(f"{PENDING_MAX} messages are waiting already", retry=False))
            return delivery
        work = threading.Thread(
            target=self._deliver, args=(delivery, receiver, message), name=f"notify-{name}", daemon=True
        )
        try:
            work.start()
        except RuntimeError as error:
            self._decide(delivery, SendFailed(f"no thread could be started: {error}", retry=False))
        return delivery

    def _deliver(self, delivery: Delivery, receiver: AnyReceiver, message: Message) -> None:
        until = time.monotonic() + self._config.deadline_s
        pause_s = self._backoff_first_s
        while True:
            delivery.attempts += 1
            failure = self._attempt(receiver, message, until - time.monotonic())
            if failure is None or not failure.retry or delivery.attempts >= self._config.attempts_max:
                break
            wait_s = max(pause_s, failure.after_s)
            if time.monotonic() + wait_s >= until or self._closing.wait(wait_s):
                break
            pause_s *= BACKOFF_FACTOR
        self._decide(delivery, failure)

    def _attempt(self, receiver: AnyReceiver, message: Message, left_s: float) -> SendFailed | None:
        """One attempt; what went wrong, or None."""
        try:
            self._send_once(receiver, message, left_s)
        except SendFailed as failure:
            return failure
        except AkashicError as error:
            return SendFailed(error.message, retry=False)
        except Exception as error:
            # A fault of ours or of a library must not end a deployment either; its text may hold a secret.
            return SendFailed(f"unexpected {type(error).__name__}", retry=False)
        return None

    def _send_once(self, receiver: AnyReceiver, message: Message, left_s: float) -> None:
        # The senders' libraries are loaded in the thread that needs them.
        if isinstance(receiver, ConsoleReceiver):
            self._say(plain_text(message))
            return
        timeout_s = max(0.1, min(receiver.timeout_s, left_s))
        import ssl

        tls = self._tls if isinstance(self._tls, ssl.SSLContext) else None
        if isinstance(receiver, WebhookReceiver):
            from akashic.notify import webhook

            url = self._need(receiver.url_secret) if receiver.url_secret else receiver.url
            webhook.post(message, receiver, url, timeout_s=timeout_s, tls=tls)
        else:
            from akashic.notify import mail

            password = self._need(receiver.password_secret) if receiver.password_secret else ""
            mail.send(message, receiver, password, timeout_s=timeout_s, now=self._now(), tls=tls)

    def _need(self, name: str) -> str:
        value = self._secret(name)
        if not value:
            raise SendFailed(f"there is no secret {name}", retry=False)
        return value

    def _decide(self, delivery: Delivery, failure: SendFailed | None) -> None:
        with self._lock:
            if delivery.status != "pending":
                return  # it was given up meanwhile
            delivery.decide("failed" if failure else "delivered", failure.message if failure else "")
        try:
            # Before anybody goes on: who waits may end the process, and with it what we write.
            if self._report is not None:
                self._report(delivery)
        except Exception:
            return  # telling that something was told must not break anything either
        finally:
            delivery.finish()


def _hears(receiver: AnyReceiver, message: Message) -> bool:
    if receiver.on and message.kind not in receiver.on:
        return False
    return not (receiver.environments and message.environment) or message.environment in receiver.environments


def _kind(receiver: AnyReceiver) -> str:
    if isinstance(receiver, MailReceiver):
        return "mail"
    return "slack" if isinstance(receiver, WebhookReceiver) else "console"
