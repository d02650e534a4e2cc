"""Locked requirements: pip's format with a hash for every package, nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from akashic.errors import UsageError

_LOCK_OPTIONS = ("--index-url", "-i", "--extra-index-url", "--find-links", "--only-binary", "--trusted-host")


class Package(msgspec.Struct, frozen=True, kw_only=True):
    """An installed package. `license` is an SPDX expression or what came closest, `sha256` those hashes that
    the lock allows. `ecosystem` is OSV's name for where it comes from (`PyPI`, `Debian:12`); a distribution's
    advisories are about `source`, what the package was built from."""

    name: str
    version: str
    license: str = ""
    requires: tuple[str, ...] = ()
    sha256: tuple[str, ...] = ()
    ecosystem: str = "PyPI"
    source: str = ""
    source_version: str = ""


class LockedRequirement(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the lock: the normalised name, the version, and the hashes that it allows."""

    name: str
    version: str
    sha256: tuple[str, ...]
    marker: str = ""


def normal_name(name: str) -> str:
    """A distribution's name as the packaging specification normalises it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def parse_lock(text: str, file: str) -> list[LockedRequirement]:
    """The requirements of a hash-locked file (pip's format). Raises UsageError for a line that is not locked
    to one version with at least one SHA-256, and for links, paths and includes."""
    found: list[LockedRequirement] = []
    for number, line in _logical_lines(text):
        if _is_option(line):
            continue
        where = f"{file}:{number}"
        match = re.match(
            r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*==\s*([^\s;\\*]+)\s*(?:;([^\\]*?))?\s+--hash",
            line,
        )
        hashes = tuple(re.findall(r"--hash[= ]sha256:([0-9a-f]{64})\b", line))
        if line.startswith("-") or match is None or not hashes:
            raise UsageError(
                f"{where}: expected 'name==version --hash=sha256:…', got {line[:60]!r}",
                hint="write the lock with: uv export --frozen --no-dev --no-emit-project -o FILE",
            )
        name = normal_name(match[1])
        found.append(
            LockedRequirement(name=name, version=match[2], sha256=hashes, marker=(match[3] or "").strip())
        )
    return found


def lock_options(text: str) -> list[str]:
    """The lines of a lock that say where packages come from."""
    return [line for _, line in _logical_lines(text) if _is_option(line)]


def _is_option(line: str) -> bool:
    """Where packages may come from; the hashes say what they must be."""
    return line.startswith(_LOCK_OPTIONS) or line in ("--no-index", "--prefer-binary")


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    pending, first = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*$", "", raw).strip()
        first = first if pending else number
        if line.endswith("\\"):
            pending += line[:-1].rstrip() + " "
            continue
        whole, pending = (pending + line).strip(), ""
        if whole:
            yield first, whole
    if pending.strip():
        yield first, pending.strip()


def same_on_every_platform(lock_text: str, file: str) -> bool:
    """Whether no requirement of the lock is chosen by the processor (a pure layer then serves all)."""
    markers = ("platform_machine", "platform_version", "platform_release")
    return not any(word in item.marker for item in parse_lock(lock_text, file) for word in markers)
