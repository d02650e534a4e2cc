"""The forms that a secret takes when a shell, a library or a serialiser has touched it.

Masking works on finished forms: whoever prints a secret rarely prints it raw. Every function here turns one
value into byte strings that may appear in an output stream.
"""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator

LINE_CHARS_MIN = 3
"""Lines of a multi-line secret shorter than this are not masked on their own: `{` or `]` would be
everywhere."""
DERIVED_BYTES_MIN = 5
"""Encoded forms shorter than this are left out: two characters of base64 hide nothing and hit everything."""

_UNRESERVED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
_URL_SAFE_SETS = (
    _UNRESERVED,
    _UNRESERVED + b"/",
    _UNRESERVED + b"!'()*",
    _UNRESERVED + b";/?:@&=+$,#!'()*",
    _UNRESERVED[:-1],
)
"""RFC 3986, Python's `quote`, `encodeURIComponent`, `encodeURI`, form encoding (which escapes the tilde)."""
_LONE_RETURN = re.compile(rb"\r(?!\n)")
_SHELL_SAFE = _UNRESERVED + b"/@%+=:,"
_BASE64_WIDTHS = (76, 64)
_HEX_WIDTHS = (60, 76)


def encodings(secret: str) -> frozenset[bytes]:
    """All forms of `secret` that are looked for: raw, single lines, JSON, URL, XML, shell, base64 at three
    offsets, base64url, hex. Empty when there is nothing to hide."""
    raw = as_bytes(secret)
    if not raw.strip():
        return frozenset()
    # A carriage return alone is a line end to whoever reads the log.
    forms: set[bytes] = {raw, raw.strip(), _LONE_RETURN.sub(b"\n", raw).strip()}
    lines = {line.strip() for line in raw.replace(b"\r", b"\n").split(b"\n")}
    parts = {raw, raw.strip()} | {line for line in lines if len(line) >= LINE_CHARS_MIN}
    forms |= parts
    for part in parts:
        for derived in (_json(part), _url(part), _xml(part), _shell(part), _base64(part), _hex(part)):
            forms.update(form for form in derived if len(form) >= DERIVED_BYTES_MIN)
    # A line end at an edge belongs to the log, not to the secret.
    return frozenset(form.strip(b"\r\n") for form in forms)


def as_bytes(text: str) -> bytes:
    """The bytes that a process would print for `text`; never fails, whatever an expression made."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace")


def _json(value: bytes) -> Iterator[bytes]:
    text = value.decode("utf-8", "replace")
    for ascii_only in (True, False):
        escaped = json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()
        yield escaped
        yield escaped.replace(b"/", b"\\/")
        # JSON inside JSON, as structured loggers write it.
        yield json.dumps(escaped.decode())[1:-1].encode()
        for sign, code in ((b"<", b"\\u003c"), (b">", b"\\u003e"), (b"&", b"\\u0026"), (b"'", b"\\u0027")):
            escaped = escaped.replace(sign, code)
        yield escaped


def _url(value: bytes) -> Iterator[bytes]:
    if not any(byte not in _UNRESERVED[:-1] for byte in value):
        return
    for safe in _URL_SAFE_SETS:
        for pattern in ("%%%02X", "%%%02x"):
            escaped = b"".join(bytes((b,)) if b in safe else (pattern % b).encode() for b in value)
            yield escaped
            yield escaped.replace(b"%20", b"+")


def _xml(value: bytes) -> Iterator[bytes]:
    text = value.replace(b"&", b"&amp;").replace(b"<", b"&lt;").replace(b">", b"&gt;")
    yield text
    quoted = text.replace(b'"', b"&quot;")
    yield quoted
    for apostrophe in (b"&apos;", b"&#39;", b"&#x27;"):
        yield quoted.replace(b"'", apostrophe)
        yield quoted.replace(b'"', b"&#34;").replace(b"'", apostrophe)


def _shell(value: bytes) -> Iterator[bytes]:
    yield value.replace(b"'", b"'\\''")
    yield value.replace(b"'", b"'\"'\"'")
    yield value.replace(b"'", b"''")
    yield _backslashed(value, b'\\"$`')
    yield _backslashed(value, b"\\'")
    yield _backslashed(value, bytes(b for b in range(128) if b not in _SHELL_SAFE))


def _backslashed(value: bytes, special: Iterable[int]) -> bytes:
    signs = frozenset(special)
    return b"".join(b"\\" + bytes((b,)) if b in signs else bytes((b,)) for b in value)


def _base64(value: bytes) -> Iterator[bytes]:
    whole: list[bytes] = [b64encode(value), b64encode(value + b"\n"), b64encode(value + b"\r\n")]
    forms = list(whole)
    for offset in range(3):
        # What stands before a secret shifts it by 0, 1 or 2 bytes; characters that mix its bits with those of
        # its neighbours are unknown and are trimmed at both ends.
        encoded = b64encode(b"\0" * offset + value)
        first = -(-offset * 8 // 6)
        last = (offset + len(value)) * 8 // 6
        forms.append(encoded[first:last])
    for width in _BASE64_WIDTHS:
        for encoded in whole[:2]:
            if len(encoded) > width:
                forms.extend(encoded[at : at + width] for at in range(0, len(encoded), width))
    for form in forms:
        yield form
        yield form.rstrip(b"=")
        yield form.replace(b"+", b"-").replace(b"/", b"_")
        yield form.rstrip(b"=").replace(b"+", b"-").replace(b"/", b"_")


def _hex(value: bytes) -> Iterator[bytes]:
    encoded = value.hex()
    forms = [encoded, value.hex(" "), value.hex(":"), "".join(f"\\x{b:02x}" for b in value)]
    for width in _HEX_WIDTHS:
        if len(encoded) > width:
            forms.extend(encoded[at : at + width] for at in range(0, len(encoded), width))
    for form in forms:
        yield form.encode()
        yield form.upper().replace("\\X", "\\x").encode()
