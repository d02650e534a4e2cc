"""The order of Python versions (the specification "Version specifiers"), as far as advisories need it."""

from __future__ import annotations

import re

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
