"""The order of versions as far as advisories need it: Python's (the specification "Version specifiers"),
Debian's (deb-version(7)) and Alpine's."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_VERSION = re.compile(
    r"v?(?:(\d+)!)?(\d+(?:\.\d+)*)(?:[-_.]?(a|alpha|b|beta|c|rc|pre|preview)[-_.]?(\d*))?"
    r"(?:(?:[-_.]?(?:post|rev|r)[-_.]?(\d*))|-(\d+))?(?:[-_.]?dev[-_.]?(\d*))?(?:\+[a-z0-9._-]+)?"
)
_PHASE = {"a": 0, "alpha": 0, "b": 1, "beta": 1, "c": 2, "rc": 2, "pre": 2, "preview": 2}
_FINAL = 3

Key = tuple[int, tuple[int, ...], int, int, int, int]


def version_key(text: str) -> Key | None:
    """Something that sorts as the version does; None when it is none."""
    match = _VERSION.fullmatch(text.strip().lower())
    if match is None:
        return None
    epoch, release, phase, phase_number, post, short_post, dev = match.groups()
    numbers = [int(part) for part in release.split(".")]
    while len(numbers) > 1 and numbers[-1] == 0:
        numbers.pop()
    is_post = post is not None or short_post is not None
    if phase is None and dev is not None and not is_post:
        stage, number = -1, 0  # 1.0.dev1 comes before 1.0a1
    else:
        stage, number = (_FINAL, 0) if phase is None else (_PHASE[phase], int(phase_number or 0))
    after = int(post or short_post or 0) if is_post else -1
    return (
        int(epoch or 0),
        tuple(numbers),
        stage,
        number,
        after,
        int(dev or 0) if dev is not None else 1 << 60,
    )


def order_of(ecosystem: str) -> Callable[[str], Any]:
    """What turns a version of an ecosystem (OSV's name) into something that sorts; None when it is none."""
    match ecosystem.partition(":")[0]:
        case "Debian" | "Ubuntu":
            return debian_key
        case "Alpine":
            return alpine_key
        case _:
            return version_key


def debian_key(text: str) -> tuple[Any, ...] | None:
    """Epoch, upstream version, revision; digits by value, letters before the rest, `~` before everything."""
    match = re.fullmatch(r"(?:(\d+):)?([A-Za-z0-9.+~:-]+?)(?:-([A-Za-z0-9.+~]+))?", text.strip())
    if match is None:
        return None
    return int(match[1] or 0), _debian_part(match[2]), _debian_part(match[3] or "0")


def _debian_part(text: str) -> tuple[Any, ...]:
    found: list[Any] = []
    for letters, digits in re.findall(r"(\D*)(\d*)", text):
        # The end of the letters sorts after `~` and before any letter.
        order = [-1 if char == "~" else ord(char) if char.isalpha() else ord(char) + 256 for char in letters]
        found.append(((*order, 0), int(digits or 0)))
    return tuple(found)


_ALPINE = re.compile(r"(\d+(?:\.\d+)*)([a-z]?)((?:_(?:alpha|beta|pre|rc|cvs|svn|git|hg|p)\d*)*)(?:-r(\d+))?")
_ALPINE_SUFFIXES = {
    "alpha": -4,
    "beta": -3,
    "pre": -2,
    "rc": -1,
    "cvs": 1,
    "svn": 2,
    "git": 3,
    "hg": 4,
    "p": 5,
}


def alpine_key(text: str) -> tuple[Any, ...] | None:
    """Numbers, a letter, suffixes (`_rc1` before none before `_p1`), the package's revision."""
    match = _ALPINE.fullmatch(text.strip())
    if match is None:
        return None
    suffixes = tuple(
        (_ALPINE_SUFFIXES[name], int(number or 0)) for name, number in re.findall(r"_([a-z]+)(\d*)", match[3])
    )
    numbers = tuple(int(part) for part in match[1].split("."))
    return numbers, match[2], (*suffixes, (0, 0)), int(match[4] or 0)
