"""Path patterns of actions: `~`, `*`, `?`, `[…]`, `**`, `!exclusions`, comments; hidden files included.

Source: the documentation of the actions toolkit's glob package.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import msgspec

from akashic.actions.protocol import ActionContext, ActionFailed
from akashic.executors.protocol import Unsupported

FOUND_MAX = 1_000_000
_WILD = re.compile(r"[*?\[]")


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a pattern list: its absolute, normalised text, and the part before the first wildcard."""

    text: str
    base: str
    negated: bool


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A file, folder or link that matches; absolute path as the job sees it."""

    path: str
    mode: int


def parse(patterns: Iterable[str], *, workspace: str, home: str) -> list[Pattern]:
    """The patterns of an input's lines; relative ones start at the workspace. Raises ActionFailed for NUL."""
    parsed = []
    for line in patterns:
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if "\0" in line:
            raise ActionFailed(f"a path cannot hold a NUL character: {line!r}")
        negated = line.startswith("!")
        body = line[1:].strip() if negated else line
        if body == "~" or body.startswith("~/"):
            body = home + body[1:]
        absolute = os.path.normpath(body if body.startswith("/") else f"{workspace}/{body}")
        # Two leading slashes mean something else in POSIX, and are kept by normpath.
        parsed.append(Pattern(text="/" + absolute.lstrip("/"), base=_base(absolute), negated=negated))
    return parsed


def search_paths(patterns: Sequence[Pattern]) -> list[str]:
    """Where a search starts: the bases of the including patterns, without those below another one."""
    bases = list(dict.fromkeys(p.base for p in patterns if not p.negated))
    return [b for b in bases if not any(o != b and b.startswith(o.rstrip("/") + "/") for o in bases)]


def find(ctx: ActionContext, patterns: Sequence[Pattern], *, hidden: bool, follow: bool) -> Iterator[Found]:
    """Everything that matches, in order of its path; what lies below a matching folder matches too.

    `follow` looks through links as long as they stay in the job's own folders (a link out of them is told
    and left out); otherwise links are found as links. Unreadable folders are ActionFailed.
    """
    count = 0
    roots = own_folders(ctx)
    for base in sorted(search_paths(patterns)):
        for found in _walk(ctx, base, roots, follow=follow, hidden=hidden, seen=()):
            if matches(found.path, patterns):
                count += 1
                if count > FOUND_MAX:
                    raise ActionFailed(f"the path patterns match more than {FOUND_MAX:,} files")
                yield found


def own_folders(ctx: ActionContext) -> tuple[str, ...]:
    """The folders that belong to the job (or to all jobs), as real paths."""
    box = ctx.sandbox
    found: list[str] = []
    for path in (box.workspace, box.temp, box.home, box.tool_cache, "/tmp", "/var/tmp"):
        with suppress(Unsupported):  # A container's own folders are out of our sight.
            found.append(os.path.realpath(box.host_path(path)))
    return tuple(found)


def matches(path: str, patterns: Sequence[Pattern]) -> bool:
    """Whether a path matches: the last pattern that says something about it decides."""
    included = False
    for pattern in patterns:
        if included == pattern.negated and _regexp(pattern.text).fullmatch(path):
            included = not pattern.negated
    return included


def _walk(
    ctx: ActionContext, path: str, roots: Sequence[str], *, follow: bool, hidden: bool, seen: tuple[str, ...]
) -> Iterator[Found]:
    try:
        host = ctx.sandbox.host_path(path)
    except Unsupported as error:
        raise ActionFailed(
            f"{path} lies inside of the container, where only the job's own processes reach it",
            hint="Have a step copy it into the workspace, RUNNER_TEMP or HOME first.",
        ) from error
    try:
        mode = os.lstat(host).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISLNK(mode) and follow:
        real = os.path.realpath(host)
        if not any(real == root or real.startswith(root + "/") for root in roots):
            ctx.annotate("warning", f"{path} is a link out of the job's folders: left out")
            return
        try:
            mode = os.stat(host).st_mode  # noqa: PTH116
        except OSError:
            return  # A link that leads nowhere is left out, as GitHub does.
        if real in seen:
            return
        seen = (*seen, real)
    yield Found(path=path, mode=mode)
    if not stat.S_ISDIR(mode):
        return
    try:
        names = sorted(entry.name for entry in Path(host).iterdir())
    except PermissionError:
        raise ActionFailed(f"{path}: no permission to read this folder") from None
    for name in names:
        if hidden or not name.startswith("."):
            yield from _walk(
                ctx, f"{path.rstrip('/')}/{name}", roots, follow=follow, hidden=hidden, seen=seen
            )


def _base(path: str) -> str:
    parts = path.split("/")
    for number, part in enumerate(parts):
        if _WILD.search(part):
            return "/".join(parts[:number]) or "/"
    return path


@lru_cache(maxsize=1024)
def _regexp(text: str) -> re.Pattern[str]:
    out: list[str] = []
    for segment in text.strip("/").split("/"):
        # `**` swallows its own separator, so that `a/**/b` matches `a/b`.
        out.append("(?:/[^/]+)*" if segment == "**" else "/" + _segment(segment))
    return re.compile("".join(out) + "(?:/.*)?", re.DOTALL)


def _segment(segment: str) -> str:
    out = ""
    at = 0
    while at < len(segment):
        character = segment[at]
        end = segment.find("]", at + 2) if character == "[" else -1
        if character == "*":
            out += "[^/]*"
        elif character == "?":
            out += "[^/]"
        elif end > 0:
            inner = segment[at + 1 : end]
            negated = inner[0] in "!^"
            body = re.sub(r"([\\\[\]&~|^])", r"\\\1", inner[1:] if negated else inner)
            out += f"[{'^' if negated else ''}{body}]"
            at = end
        else:
            out += re.escape(character)
        at += 1
    return out
