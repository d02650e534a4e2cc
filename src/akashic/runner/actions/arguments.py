"""One string of arguments, taken apart as GitHub's runner takes `with.args` apart.

The runner is a .NET program that hands the string to the docker command line, so .NET's rules hold: spaces
and tabs part arguments, double quotes keep them together, a backslash means something before a double quote
only. Single quotes and everything else that a shell knows are plain characters.
"""

from __future__ import annotations


def split_arguments(text: str) -> list[str]:
    """The arguments in `text`."""
    found: list[str] = []
    at = 0
    while True:
        while at < len(text) and text[at] in " \t":
            at += 1
        if at == len(text):
            return found
        argument, at = _one(text, at)
        found.append(argument)


def _one(text: str, at: int) -> tuple[str, int]:
    """The argument that begins at `at`, and where it ends."""
    parts: list[str] = []
    quoted = False
    while at < len(text) and (quoted or text[at] not in " \t"):
        char = text[at]
        if char == "\\":
            end = at
            while end < len(text) and text[end] == "\\":
                end += 1
            count = end - at
            at = end
            if at < len(text) and text[at] == '"':
                parts.append("\\" * (count // 2))
                if count % 2:
                    parts.append('"')
                    at += 1
            else:
                parts.append("\\" * count)
        elif char == '"':
            if quoted and text[at + 1 : at + 2] == '"':
                parts.append('"')
                at += 2
            else:
                quoted = not quoted
                at += 1
        else:
            parts.append(char)
            at += 1
    return "".join(parts), at
