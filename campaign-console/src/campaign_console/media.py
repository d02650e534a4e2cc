"""Which files may be uploaded. The type is found in the bytes; what the browser claims is not asked."""

from __future__ import annotations

import re

SIZE_BYTES_MAX = 5 * 1024 * 1024
_SIGNATURES: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89PNG\r\n\x1a\n", "image/png", ".png"),
    (b"\xff\xd8\xff", "image/jpeg", ".jpg"),
    (b"GIF87a", "image/gif", ".gif"),
    (b"GIF89a", "image/gif", ".gif"),
    (b"%PDF-", "application/pdf", ".pdf"),
)
_UNSAFE = re.compile(r"[^\w .()+-]+")
_NAME_LENGTH_MAX = 100


def media_type(data: bytes) -> tuple[str, str] | None:
    """Media type and file ending of a PNG, JPEG, GIF, WebP or PDF; None for anything else."""
    for signature, kind, ending in _SIGNATURES:
        if data.startswith(signature):
            return kind, ending
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp", ".webp"
    return None


def safe_name(name: str, ending: str) -> str:
    """A name for people: no folders, no control or markup characters, with the true ending."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    stem = last.rsplit(".", 1)[0] if "." in last else last
    cleaned = _UNSAFE.sub("-", stem).strip(" .-")[:_NAME_LENGTH_MAX]
    return (cleaned or "asset") + ending
