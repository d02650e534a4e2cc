"""Where each character of a YAML scalar's text stands in the file, through folding, quotes and escapes."""

from __future__ import annotations

import re
from bisect import bisect_right

_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_ESCAPE_CHARACTERS = {"x": 4, "u": 6, "U": 10}
"""So many characters an escape in double quotes has; all others have two."""


class Lines:
    """The lines of a file, cut when somebody asks."""

    __slots__ = ("_lines", "_text")

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines: list[str] | None = None

    def at(self, number: int) -> str | None:
        """A line by its number, which counts from 1; None after the last."""
        if self._lines is None:
            self._lines = _LINE_BREAK.split(self._text)
        return self._lines[number - 1] if number <= len(self._lines) else None


class Places:
    """A scalar's text, cut into pieces that stand together in one line of the file."""

    def __init__(self, text: str, style: str, lines: Lines, line: int, column: int) -> None:
        self._offsets: list[int] = []
        self._starts: list[tuple[int, int]] = []
        self._text = text
        if style in ("|", ">"):
            self._read_block(lines, line + 1)
        else:
            self._read_flow(lines, style, line, column - 1 + len(style))

    def _read_block(self, lines: Lines, line: int) -> None:
        """Blocks have no escapes: what is no space stands there in the same order."""
        offset, end = 0, len(self._text)
        while offset < end and (source := lines.at(line)) is not None:
            if source.strip():
                while offset < end and self._text[offset].isspace():
                    offset += 1
                offset = self._read_line(source, "|", line, _indentation(source), offset)
            line += 1

    def _read_flow(self, lines: Lines, style: str, line: int, at: int) -> None:
        offset, end = 0, len(self._text)
        source = lines.at(line)
        while source is not None and offset < end:
            escaped = style == '"' and (len(source) - len(source.rstrip("\\"))) % 2 == 1
            offset = self._read_line(source if escaped else source.rstrip(), style, line, at, offset)
            last = line
            line += 1
            while (source := lines.at(line)) is not None and not source.strip():
                line += 1
            # A line break is a space, or as many line breaks as there are empty lines after it.
            offset += max(line - last - 1, 0 if escaped else 1)
            at = _indentation(source or "")

    def _read_line(self, source: str, style: str, line: int, at: int, offset: int) -> int:
        """Follow the text along one line; gives the offset after it."""
        text = self._text
        begins = True
        while at < len(source) and offset < len(text):
            if style == "'" and source.startswith("''", at):
                at, offset, begins = at + 2, offset + 1, True
                continue
            if style == '"' and source[at] == "\\":
                if at + 1 == len(source):
                    break
                at, offset, begins = at + _ESCAPE_CHARACTERS.get(source[at + 1], 2), offset + 1, True
                continue
            if source[at] != text[offset]:
                break
            if begins:
                self._offsets.append(offset)
                self._starts.append((line, at + 1))
                begins = False
            at, offset = at + 1, offset + 1
        return offset

    def find(self, offset: int) -> tuple[int, int] | None:
        """(line, column) of a character, counted from 1; None when that is not known."""
        index = bisect_right(self._offsets, offset) - 1
        if index < 0:
            return None
        line, column = self._starts[index]
        return line, column + offset - self._offsets[index]


def _indentation(source: str) -> int:
    return len(source) - len(source.lstrip())
