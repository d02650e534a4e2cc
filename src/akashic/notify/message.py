"""What people are told, and how it reads as plain text."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

from akashic.notify.config import MessageKind

TEXT_LENGTH_MAX = 2000
LINE_LENGTH_MAX = 200

SIGNS: dict[MessageKind, str] = {
    "success": "✓",
    "failure": "✗",
    "rollback": "↩",
    "approval_wanted": "?",
    "info": "·",
}

# What is not printable could move the cursor, hide text, or begin a new header or line.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]+")


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to tell. All texts may come from users and are hostile: senders escape them.

    `who` started it, `duration_s` is how long it took (None: not over), `link` is where to look next (http or
    https).
    """

    kind: MessageKind
    title: str
    text: str = ""
    version: str = ""
    environment: str = ""
    who: str = ""
    duration_s: float | None = None
    link: str = ""


def one_line(text: str, length_max: int = LINE_LENGTH_MAX) -> str:
    """The text on one line without control characters, cut where it is too long."""
    line = _CONTROL.sub(" ", text).strip()
    return line if len(line) <= length_max else line[: length_max - 1] + "…"


def several_lines(text: str) -> str:
    """The text with its line breaks, without other control characters, cut where it is too long."""
    lines = [_CONTROL.sub(" ", line).rstrip() for line in text.splitlines()]
    whole = "\n".join(lines).strip()
    return whole if len(whole) <= TEXT_LENGTH_MAX else whole[: TEXT_LENGTH_MAX - 1] + "…"


def duration_text(seconds: float) -> str:
    """Like `7.3 s` or `2 min 05 s`."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def safe_link(link: str) -> str:
    """The link when it is an http or https address without anything odd, else nothing."""
    if _CONTROL.search(link) or any(char in link for char in " <>|\"'`\\"):
        return ""
    try:
        parts = urlsplit(link)
    except ValueError:
        return ""
    return link if parts.scheme in ("http", "https") and parts.hostname else ""


def facts(message: Message) -> list[tuple[str, str]]:
    """The facts of a message with their names, those that it has, each on one line."""
    pairs = [("Version", message.version), ("Environment", message.environment), ("By", message.who)]
    if message.duration_s is not None:
        pairs.append(("Duration", duration_text(message.duration_s)))
    return [(name, one_line(value)) for name, value in pairs if value]


def plain_text(message: Message) -> str:
    """The whole message as lines of plain text."""
    lines = [f"{SIGNS[message.kind]} {one_line(message.title)}"]
    lines += [f"  {name}: {value}" for name, value in facts(message)]
    if body := several_lines(message.text):
        lines += [f"  {line}" for line in body.splitlines()]
    if link := safe_link(message.link):
        lines.append(f"  {link}")
    return "\n".join(lines)
