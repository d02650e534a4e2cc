"""Log text for a terminal: colours pass, every other control sequence is shown instead of sent.

A log may hold sequences that move the cursor, set the title or make a terminal answer (CVE-2021-25743). The
log itself is stored as it came.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    r"\x1b\[[0-9;:]{0,64}m|[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def safe_for_terminal(text: str) -> str:
    """`text` with SGR colours kept and all other control characters made visible (`\\x1b` becomes `␛`).
    Newlines and tabs stay; characters that turn the writing direction are shown as `<U+202E>`."""
    return _UNSAFE.sub(_shown, text)


def _shown(match: re.Match[str]) -> str:
    found = match.group()
    if len(found) > 1:
        return found
    code = ord(found)
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return f"<U+{code:04X}>"
