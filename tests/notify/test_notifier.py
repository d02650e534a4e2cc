from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any, Protocol

import msgspec
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as Handler

from akashic.notify.config import ConsoleReceiver, MailReceiver, NotifyConfig, WebhookReceiver
from akashic.notify.message import Message, duration_text
from akashic.notify.notifier import Delivery, Notifier

MESSAGE = Message(
    kind="success",
    title="production serves 1.2.3",
    text="All checks passed.",
    version="1.2.3",
    environment="production",
    who="maria",
    duration_s=125.2,
    link="https://example.com/runs/7",
)


class Server(Protocol):
    url: str
    answers: list[tuple[int, dict[str, str]]]
    got: list[tuple[str, bytes]]


def notifier(
    *receivers: Any, secrets: dict[str, str] | None = None, said: list[str] | None = None, **options: Any
) -> Notifier:
    config = NotifyConfig(
        receivers=tuple(receivers), attempts_max=options.pop("attempts_max", 3), deadline_s=10.0
    )
    lines = [] if said is None else said
    return Notifier(config, secret=(secrets or {}).get, say=lines.append, backoff_first_s=0.01, **options)


def send(sender: Notifier, message: Message = MESSAGE) -> Delivery:
    (delivery,) = sender.send(message)
    sender.close()
    return delivery


def test_the_console_gets_every_fact() -> None:
    said: list[str] = []
    delivery = send(notifier(ConsoleReceiver(name="here"), said=said))
    assert delivery.status == "delivered"
    assert said == [
        "✓ production serves 1.2.3\n  Version: 1.2.3\n  Environment: production\n  By: maria\n"
        "  Duration: 2 min 05 s\n  All checks passed.\n  https://example.com/runs/7"
    ]


def test_a_webhook_whose_address_is_a_secret_gets_a_slack_payload(webhook_server: Server) -> None:
    receiver = WebhookReceiver(name="team", url_secret="HOOK")
    delivery = send(notifier(receiver, secrets={"HOOK": webhook_server.url}))

    assert (delivery.status, delivery.attempts) == ("delivered", 1)
    ((path, body),) = webhook_server.got
    value = msgspec.json.decode(body)
    assert path == "/services/secret-path"
    assert value["text"] == "✓ production serves 1.2.3"
    assert value["attachments"][0]["title_link"] == "https://example.com/runs/7"
    assert {f["title"]: f["value"] for f in value["attachments"][0]["fields"]}["By"] == "maria"


def test_a_receiver_that_recovers_gets_the_message_once_more(webhook_server: Server) -> None:
    webhook_server.answers[:] = [(503, {}), (429, {"Retry-After": "0"})]
    delivery = send(notifier(WebhookReceiver(url=webhook_server.url)))
    assert (delivery.status, delivery.attempts, len(webhook_server.got)) == ("delivered", 3, 3)


def test_a_receiver_that_stays_down_is_given_up_and_reported(webhook_server: Server) -> None:
    webhook_server.answers[:] = [(500, {})] * 9
    reported: list[Delivery] = []
    delivery = send(notifier(WebhookReceiver(name="team", url=webhook_server.url), report=reported.append))
    assert (delivery.status, delivery.attempts) == ("failed", 3)
    assert str(delivery) == "team: not delivered after 3 attempts: 127.0.0.1 answered 500"
    assert reported == [delivery]


def test_who_waits_goes_on_when_it_has_been_reported(webhook_server: Server) -> None:
    """Else the process ends while a thread still writes: the words are lost, or the interpreter aborts."""
    webhook_server.answers[:] = [(404, {})]
    seen: list[bool] = []
    send(notifier(WebhookReceiver(url=webhook_server.url), report=lambda one: seen.append(one.wait(0))))
    assert seen == [False]


def test_a_refusal_is_not_repeated(webhook_server: Server) -> None:
    webhook_server.answers[:] = [(404, {})]
    assert send(notifier(WebhookReceiver(url=webhook_server.url))).attempts == 1


def test_nothing_that_goes_wrong_raises() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]

    def broken(_: object) -> None:
        raise RuntimeError("broken")

    for receiver in (
        WebhookReceiver(url=f"http://127.0.0.1:{port}/"),
        WebhookReceiver(url="not a url"),
        WebhookReceiver(url_secret="ABSENT"),
        MailReceiver(to=("a@example.com",), sender="b@example.com", host="127.0.0.1", port=port),
        MailReceiver(to=("nonsense",), sender="b@example.com", host="127.0.0.1", port=port),
    ):
        delivery = send(notifier(receiver, report=broken))
        assert delivery.status == "failed"
        assert delivery.error


def test_receivers_hear_about_their_kinds_and_environments_only() -> None:
    sender = notifier(
        ConsoleReceiver(name="all"),
        ConsoleReceiver(name="failures", on=("failure", "rollback")),
        ConsoleReceiver(name="staging", environments=("staging",)),
        ConsoleReceiver(name="production", environments=("production",)),
    )
    assert [d.receiver for d in sender.send(MESSAGE)] == ["all", "production"]
    assert [d.receiver for d in sender.send(MESSAGE, receivers=("all",))] == ["all"]
    failure = Message(kind="failure", title="x", environment="staging")
    assert [d.receiver for d in sender.send(failure)] == ["all", "failures", "staging"]


def test_sending_does_not_wait_for_a_silent_receiver() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        sender = notifier(WebhookReceiver(url=url, timeout_s=0.3), attempts_max=1)
        (delivery,) = sender.send(MESSAGE)
        assert delivery.status == "pending"
        sender.flush()
        assert delivery.status == "failed"


class Mailbox(Handler):
    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Any] = []

    def handle_message(self, message: Any) -> None:
        self.mails.append(message)


@pytest.fixture
def mail_server() -> Iterator[tuple[Mailbox, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    box = Mailbox()
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, port
    controller.stop()


def mail(port: int, **changes: Any) -> MailReceiver:
    settings: dict[str, Any] = {
        "to": ("Team <team@example.com>",),
        "sender": "akashic@example.com",
        "host": "127.0.0.1",
    }
    return MailReceiver(**(settings | {"port": port, "security": "none"} | changes))


def test_mail_arrives_with_its_subject_and_body(mail_server: tuple[Mailbox, int]) -> None:
    box, port = mail_server
    delivery = send(notifier(mail(port), now=lambda: 1_700_000_000.0))
    assert delivery.status == "delivered", delivery
    (got,) = box.mails
    assert got["Date"] == "Tue, 14 Nov 2023 22:13:20 +0000"
    assert "production serves 1.2.3" in str(got.get_payload(decode=True).decode())
    assert got["X-RcptTo"] == "team@example.com"


def test_mail_is_not_sent_in_the_open_when_the_server_offers_no_encryption(
    mail_server: tuple[Mailbox, int],
) -> None:
    box, port = mail_server
    delivery = send(notifier(mail(port, security="starttls")))
    assert delivery.status == "failed"
    assert "does not offer" in delivery.error
    assert box.mails == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (59.94, "59.9 s"), (60, "1 min 00 s"), (3661, "1 h 01 min"), (119.99, "2 min 00 s")],
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
