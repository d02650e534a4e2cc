"""Sends a message as mail over SMTP. Encrypted unless the server is this machine; user text stays in the body
and in one-line headers."""

from __future__ import annotations

import hashlib
import re
import smtplib
import ssl
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, getaddresses

from akashic.notify.addresses import AddressRefused, connect, is_loopback_name
from akashic.notify.config import MailReceiver
from akashic.notify.message import SIGNS, Message, one_line, plain_text
from akashic.notify.sending import SendFailed

_ADDRESS = re.compile(r"[^\s@<>,;:\"()\[\]\\]{1,64}@[A-Za-z0-9.-]{1,255}")


def compose(message: Message, receiver: MailReceiver, *, now: float) -> EmailMessage:
    """The mail. Its Message-ID follows from its content, so that a retried mail is recognised as the same.
    Raises SendFailed for an address that is none."""
    mail = EmailMessage(policy=SMTP)
    subject = one_line(f"{SIGNS[message.kind]} {message.title}")
    mail["Subject"] = subject
    mail["From"] = _address(receiver.sender)
    mail["To"] = [_address(to) for to in receiver.to]
    mail["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    body = plain_text(message)
    unique = hashlib.sha256(f"{now}\0{subject}\0{body}".encode()).hexdigest()[:32]
    mail["Message-ID"] = f"<{unique}@{_address(receiver.sender).domain}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(body)
    return mail


def send(
    message: Message,
    receiver: MailReceiver,
    password: str,
    *,
    timeout_s: float,
    now: float,
    tls: ssl.SSLContext | None = None,
) -> None:
    """One attempt. Raises SendFailed."""
    mail = compose(message, receiver, now=now)
    if receiver.security == "none" and not is_loopback_name(receiver.host):
        raise SendFailed("mail without encryption is for a server on this machine only", retry=False)
    try:
        with _server(receiver, timeout_s, tls or ssl.create_default_context()) as server:
            if receiver.username:
                server.login(receiver.username, password)
            refused = server.send_message(mail)
    except AddressRefused as error:
        raise SendFailed(error.message, retry=False) from None
    except smtplib.SMTPAuthenticationError as error:
        raise SendFailed(
            f"{receiver.host} refused the user name or password ({error.smtp_code})", retry=False
        ) from None
    except smtplib.SMTPRecipientsRefused:
        raise SendFailed(f"{receiver.host} refused every recipient", retry=False) from None
    except smtplib.SMTPNotSupportedError:
        raise SendFailed(
            f"{receiver.host} does not offer what is configured ({receiver.security})", retry=False
        ) from None
    except smtplib.SMTPResponseException as error:
        # RFC 5321: 4yz is transient, 5yz is permanent.
        raise SendFailed(f"{receiver.host} answered {error.smtp_code}", retry=error.smtp_code < 500) from None
    except ssl.SSLCertVerificationError as error:
        raise SendFailed(
            f"{receiver.host}: its certificate is not valid: {error.verify_message}", retry=False
        ) from None
    except (OSError, smtplib.SMTPException) as error:
        raise SendFailed(f"{receiver.host} cannot be reached ({type(error).__name__})", retry=True) from None
    if refused:
        raise SendFailed(
            f"{receiver.host} refused {len(refused)} of {len(receiver.to)} recipients", retry=False
        )


class _CheckedSMTP(smtplib.SMTP):
    """Connects only where notifications may go."""

    def _get_socket(self, host: str, port: int, timeout: float) -> object:
        return connect(host, port, private=True, timeout_s=timeout)


class _CheckedTLS(smtplib.SMTP_SSL):
    """The same, encrypted from the first byte."""

    def _get_socket(self, host: str, port: int, timeout: float) -> object:
        raw = connect(host, port, private=True, timeout_s=timeout)
        return self.context.wrap_socket(raw, server_hostname=host)


def _server(receiver: MailReceiver, timeout_s: float, tls: ssl.SSLContext) -> smtplib.SMTP:
    if receiver.security == "tls":
        return _CheckedTLS(receiver.host, receiver.port, timeout=timeout_s, context=tls)
    server = _CheckedSMTP(receiver.host, receiver.port, timeout=timeout_s)
    try:
        if receiver.security == "starttls":
            server.starttls(context=tls)
    except BaseException:
        server.close()
        raise
    return server


def _address(text: str) -> Address:
    # Several addresses in one field would tell people whom nobody listed.
    name, address = found[0] if len(found := getaddresses([one_line(text)])) == 1 else ("", "")
    if not _ADDRESS.fullmatch(address) or one_line(text) != text.strip():
        raise SendFailed(f"{one_line(text, 80)!r} is not a mail address", retry=False)
    return Address(display_name=name, addr_spec=address)
