"""Posts a message to a Slack-compatible incoming webhook.

The payload is Slack's (api.slack.com/messaging/webhooks, secondary attachments), which Mattermost,
Rocket.Chat and Discord's `/slack` address read as well. User text is escaped as Slack asks (`&`, `<`, `>`),
so that it can neither mention a channel nor disguise a link. Redirects are not followed.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from urllib.parse import SplitResult, urlsplit

import msgspec

from akashic.notify.addresses import AddressRefused, connect, is_loopback_name
from akashic.notify.config import MessageKind, WebhookReceiver
from akashic.notify.message import SIGNS, Message, facts, one_line, safe_link, several_lines
from akashic.notify.sending import SendFailed

COLORS: dict[MessageKind, str] = {
    "success": "#2eb67d",
    "failure": "#e01e5a",
    "rollback": "#ecb22e",
    "approval_wanted": "#36c5f0",
    "info": "#808080",
}
RETRY_AFTER_S_MAX = 60.0


def payload(message: Message) -> bytes:
    """The JSON that is posted."""
    title = f"{SIGNS[message.kind]} {escape(one_line(message.title))}"
    attachment = {
        "color": COLORS[message.kind],
        "fallback": title,
        "text": escape(several_lines(message.text)),
        "fields": [{"title": name, "value": escape(value), "short": True} for name, value in facts(message)],
        "mrkdwn_in": [],
    }
    if link := safe_link(message.link):
        attachment |= {"title": "Details", "title_link": link}
    # Without parsing, user text cannot mention anybody or format itself.
    return msgspec.json.encode(
        {"text": title, "mrkdwn": False, "parse": "none", "link_names": 0, "attachments": [attachment]}
    )


def escape(text: str) -> str:
    """Slack's three control characters as entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def parse_url(url: str) -> SplitResult:
    """The webhook's address. Raises SendFailed (never showing it) unless it is https, or http on loopback."""
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        raise SendFailed("the webhook's address is not a URL", retry=False) from None
    odd = any(ord(char) <= 32 or ord(char) == 127 for char in url.strip())
    if not host or odd or parts.username is not None or parts.scheme not in ("http", "https"):
        raise SendFailed("the webhook's address is not a plain https URL", retry=False)
    if parts.scheme == "http" and not is_loopback_name(host):
        raise SendFailed("the webhook's address must be https (http is for this machine only)", retry=False)
    return parts


def post(
    message: Message,
    receiver: WebhookReceiver,
    url: str,
    *,
    timeout_s: float,
    tls: ssl.SSLContext | None = None,
) -> None:
    """One attempt. Raises SendFailed."""
    parts = parse_url(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        raw = connect(host, port, private=receiver.allow_private, timeout_s=timeout_s)
    except AddressRefused as refused:
        raise SendFailed(refused.message, retry=False) from None
    except OSError as error:
        raise SendFailed(f"{host} cannot be reached: {error.strerror or error}", retry=True) from None
    # A receiver that answers one byte at a time would keep each single read alive.
    timer = threading.Timer(timeout_s, _shut, (raw,))
    timer.daemon = True
    timer.start()
    try:
        if parts.scheme == "https":
            raw = (tls or ssl.create_default_context()).wrap_socket(raw, server_hostname=host)
        _exchange(raw, parts, host, payload(message))
    except ssl.SSLCertVerificationError as error:
        raise SendFailed(
            f"{host}: its certificate is not valid: {error.verify_message}", retry=False
        ) from None
    except (OSError, http.client.HTTPException) as error:
        raise SendFailed(f"{host} did not answer properly ({type(error).__name__})", retry=True) from None
    finally:
        timer.cancel()
        raw.close()


def _exchange(raw: socket.socket, parts: SplitResult, host: str, body: bytes) -> None:
    connection = http.client.HTTPConnection(host, parts.port)
    connection.sock = raw
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    headers = {
        "Content-Type": "application/json; charset=utf-8",
        "User-Agent": "akashic",
        "Connection": "close",
    }
    connection.request("POST", target, body, headers)
    response = connection.getresponse()
    status = response.status
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        raise SendFailed(f"{host} answered with a redirect ({status}), which is not followed", retry=False)
    after = response.headers.get("Retry-After", "")
    after_s = min(float(after), RETRY_AFTER_S_MAX) if after.isdecimal() and len(after) < 8 else 0.0
    retry = status >= 500 or status in (408, 425, 429)
    raise SendFailed(f"{host} answered {status}", retry=retry, after_s=after_s)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # it is closed already
