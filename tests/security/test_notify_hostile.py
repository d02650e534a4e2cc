"""Rows 28, 32, 37, 38 of the known attacks, where people are told something."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.notify.addresses import AddressRefused, check_address, connect
from akashic.notify.config import MailReceiver, NotifyConfig, WebhookReceiver
from akashic.notify.mail import compose
from akashic.notify.message import Message, plain_text, safe_link
from akashic.notify.notifier import Notifier
from akashic.notify.sending import SendFailed
from akashic.notify.webhook import parse_url, payload

HOSTILE = "<!channel> <https://evil.example|click> & \r\nBcc: victim@example.com\r\n\r\nbody \x1b[2J\u202e"


@pytest.mark.parametrize(
    "address",
    [
        "169.254.169.254",
        "169.254.1.1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
        "100.100.100.200",
        "0.0.0.0",
        "::",
        "224.0.0.1",
    ],
)
def test_metadata_and_link_local_addresses_are_refused_whatever_is_allowed(address: str) -> None:
    with pytest.raises(AddressRefused):
        check_address(address, loopback=True, private=True)


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "172.16.0.1", "fd12::1", "::ffff:10.0.0.1"])
def test_private_addresses_are_refused_unless_allowed(address: str) -> None:
    with pytest.raises(AddressRefused):
        check_address(address, loopback=False, private=False)
    check_address(address, loopback=False, private=True)


def test_attack_28_a_name_that_leads_back_to_this_machine_is_refused_at_the_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 443))
    public = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [public, row])
    with pytest.raises(AddressRefused):
        connect("rebound.example", 443, private=True, timeout_s=1.0)


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example.com/x",
        "http://127.0.0.1.example.com/x",
        "http://localhost@evil.example/x",
        "https://user:pass@hooks.example.com/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://a\r\nHost: b/",
        "https://",
        "",
    ],
)
def test_only_plain_https_addresses_are_taken_and_none_is_shown(url: str) -> None:
    with pytest.raises(SendFailed) as caught:
        parse_url(url)
    assert not url or url not in str(caught.value)


@pytest.fixture
def redirecting() -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.send_response(307)
            self.send_header("Location", "/internal")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/secret-token", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_attack_28_redirects_are_not_followed(redirecting: tuple[str, list[str]]) -> None:
    url, asked = redirecting
    config = NotifyConfig(receivers=(WebhookReceiver(url_secret="HOOK"),))
    sender = Notifier(config, secret={"HOOK": url}.get, say=lambda _: None)
    (delivery,) = sender.send(Message(kind="info", title="x"))
    sender.close()
    assert delivery.status == "failed"
    assert asked == ["/secret-token"]
    assert "redirect" in delivery.error
    assert "secret-token" not in str(delivery)


def test_user_text_mentions_nobody_and_disguises_no_link() -> None:
    message = Message(
        kind="info", title=HOSTILE, text=HOSTILE, who=HOSTILE, version=HOSTILE, link="javascript:x()"
    )
    body = payload(message).decode()
    assert "<" not in body and ">" not in body
    assert "javascript" not in body
    assert msgspec.json.decode(body)["parse"] == "none"


def test_user_text_makes_no_mail_header() -> None:
    receiver = MailReceiver(to=("team@example.com",), sender="a@example.com", host="localhost")
    mail = compose(Message(kind="info", title=HOSTILE, who=HOSTILE), receiver, now=0.0)
    assert mail["Bcc"] is None
    assert sorted(mail.keys()) == sorted(set(mail.keys()))
    assert "\nBcc:" not in mail.as_bytes().partition(b"\r\n\r\n")[0].decode()


@pytest.mark.parametrize("address", ["a@example.com\nBcc: v@example.com", "a@b, c@d", "<>", "no", "a@b@c"])
def test_an_address_that_is_several_or_none_is_refused(address: str) -> None:
    receiver = MailReceiver(to=(address,), sender="a@example.com", host="localhost")
    with pytest.raises(SendFailed):
        compose(Message(kind="info", title="x"), receiver, now=0.0)


def test_mail_without_encryption_leaves_this_machine_never() -> None:
    receiver = MailReceiver(
        to=("t@example.com",), sender="a@example.com", host="mail.example.com", security="none"
    )
    sender = Notifier(NotifyConfig(receivers=(receiver,)), secret=lambda _: None, say=lambda _: None)
    (delivery,) = sender.send(Message(kind="info", title="x"))
    sender.close()
    assert "on this machine only" in delivery.error


@given(st.text(), st.text())
def test_no_text_moves_the_cursor_of_the_terminal(title: str, text: str) -> None:
    shown = plain_text(Message(kind="info", title=title, text=text, who=title, link=text))
    assert not any((ord(char) < 32 and char != "\n") or ord(char) in range(127, 160) for char in shown)


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "https://a|b", "data:text/html,x", "http://", "https://a b", "//x"]
)
def test_attack_37_links_are_http_or_nothing(link: str) -> None:
    assert safe_link(link) == ""
