"""Who is told, about what, and how: as `akashic.yaml` says under `notifications:`."""

from __future__ import annotations

from typing import Literal

import msgspec

MessageKind = Literal["success", "failure", "rollback", "approval_wanted", "info"]
KINDS: tuple[MessageKind, ...] = ("success", "failure", "rollback", "approval_wanted", "info")


class Receiver(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", forbid_unknown_fields=True):
    """The base of all receivers. `name` is how reports call it. `on` are the kinds of message it gets, and
    `environments` those it hears about; empty means all."""

    name: str = ""
    on: tuple[MessageKind, ...] = ()
    environments: tuple[str, ...] = ()


class ConsoleReceiver(Receiver, frozen=True, kw_only=True, tag="console", forbid_unknown_fields=True):
    """Lines on the terminal of whoever runs the command."""


class WebhookReceiver(Receiver, frozen=True, kw_only=True, tag="slack", forbid_unknown_fields=True):
    """A Slack-compatible incoming webhook.

    `url_secret` names the secret that holds the URL; `url` gives it in the open and is for receivers on this
    machine. Plain http is accepted for loopback only. `allow_private` accepts an https receiver with a
    private address; link-local and metadata addresses never.
    """

    url_secret: str = ""
    url: str = ""
    allow_private: bool = False
    timeout_s: float = 5.0


class MailReceiver(Receiver, frozen=True, kw_only=True, tag="mail", forbid_unknown_fields=True):
    """Mail over SMTP. STARTTLS is asked for unless `security` says otherwise (`none` for loopback only).
    `username` and the secret named `password_secret` log in."""

    to: tuple[str, ...]
    sender: str
    host: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password_secret: str = ""
    timeout_s: float = 10.0


AnyReceiver = ConsoleReceiver | WebhookReceiver | MailReceiver


class NotifyConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All receivers. `attempts_max` and `deadline_s` bound what one message may cost, in all its retries."""

    receivers: tuple[AnyReceiver, ...] = (ConsoleReceiver(name="console"),)
    attempts_max: int = 4
    deadline_s: float = 20.0
