"""Mail through SMTP or Amazon SES' SMTP interface; written to the log by default."""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol
from urllib.parse import SplitResult, unquote, urlsplit

_log = logging.getLogger(__name__)
_TIMEOUT_S = 10


class Mail(Protocol):
    """Sends a plain text message to one person."""

    async def send(self, to: str, subject: str, text: str) -> None:
        """Raises OSError when the message could not be handed over."""
        ...


class ConsoleMail:
    """Writes who would have got which subject to the log; the text stays out of it."""

    async def send(self, to: str, subject: str, text: str) -> None:
        _log.info("mail", extra={"fields": {"to": to, "subject": subject, "length": len(text)}})


class SmtpMail:
    """An SMTP server; TLS from the start (smtps) or by STARTTLS wherever credentials are sent."""

    def __init__(self, *, host: str, port: int, user: str, password: str, sender: str, tls: bool) -> None:
        self._host = host
        self._port = port
        self._user = user
        self._password = password
        self._sender = sender
        self._tls = tls

    async def send(self, to: str, subject: str, text: str) -> None:
        await asyncio.to_thread(self._send, to, subject, text)

    def _send(self, to: str, subject: str, text: str) -> None:
        import smtplib
        import ssl
        from email.message import EmailMessage

        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._sender, to, subject
        message.set_content(text)
        context = ssl.create_default_context()
        connection: smtplib.SMTP
        if self._tls:
            connection = smtplib.SMTP_SSL(self._host, self._port, timeout=_TIMEOUT_S, context=context)
        else:
            connection = smtplib.SMTP(self._host, self._port, timeout=_TIMEOUT_S)
        with connection:
            if self._user:
                if not self._tls:
                    connection.starttls(context=context)
                connection.login(self._user, self._password)
            connection.send_message(message)


def open_mail(url: str, *, sender: str) -> Mail:
    """The mail port that MAIL_URL names: `console://`, `smtp://…`, `smtps://…` or `ses://user:password@region`."""
    parts = urlsplit(url)
    if parts.scheme == "console":
        return ConsoleMail()
    if parts.scheme == "ses":
        return _smtp(parts, sender, host=f"email-smtp.{parts.hostname}.amazonaws.com", port=465, tls=True)
    tls = parts.scheme == "smtps"
    return _smtp(parts, sender, host=parts.hostname or "", port=parts.port or (465 if tls else 587), tls=tls)


def _smtp(parts: SplitResult, sender: str, *, host: str, port: int, tls: bool) -> SmtpMail:
    return SmtpMail(
        host=host,
        port=port,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        sender=sender,
        tls=tls,
    )
