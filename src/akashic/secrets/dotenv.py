"""Reads `NAME=value` files, to import what was kept elsewhere."""

from __future__ import annotations

import re

from akashic.errors import UsageError
from akashic.secrets.secret import Secret

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)", re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$", "`": "`"}


def parse_dotenv(text: str, file: str) -> dict[str, Secret]:
    """The names and values. Quotes as in a shell: single ones are literal and both may span lines; nothing is
    expanded. Raises UsageError with file and line, never with the line's content."""
    found: dict[str, Secret] = {}
    lines = text.removeprefix("\ufeff").splitlines()
    number = 0
    while number < len(lines):
        first, line = number + 1, lines[number].strip()
        number += 1
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise UsageError(f"{file}:{first}: expected NAME=value")
        name, value = match[1], match[2]
        if value[:1] in ("'", '"'):
            while not _closed(value) and number < len(lines):
                value += "\n" + lines[number]
                number += 1
            if not _closed(value):
                raise UsageError(f"{file}:{first}: the quote after {name}= is not closed")
            value = _unquote(value.strip())
        else:
            value = re.split(r"\s#", value, maxsplit=1)[0].strip()
        found[name] = Secret(value)
    return found


def _closed(value: str) -> bool:
    return re.fullmatch(r"""('[^']*'|"(?:[^"\\]|\\.)*")\s*(#.*)?""", value, re.DOTALL) is not None


def _unquote(value: str) -> str:
    if value.startswith("'"):
        return value[1 : value.index("'", 1)]
    body = re.match(r'"((?:[^"\\]|\\.)*)"', value, re.DOTALL)
    assert body is not None
    return re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[0]), body[1], flags=re.DOTALL)
