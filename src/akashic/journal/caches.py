"""Caches: files that jobs keep for later runs, found by key, separated by scope.

Layout: `<folder>/<hash of scope>/<id>/manifest.json` with `content.tar` beside it. A cache appears with one
rename and never changes. The content is an uncompressed tar: Python packs 300 MB/s into plain tar (3,000
files, two cores) but compresses 90 MB/s at zlib's level 1, and the disk is bounded by eviction anyway.
Source: GitHub's "Dependency caching reference" (key matching, restrictions, eviction) and the documentation
of `actions/cache`.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

import msgspec

from akashic.errors import AkashicError
from akashic.journal.archive import ArchiveFacts, Limits, Member
from akashic.journal.folders import discard, locked, new_scratch, remove, scratch_in
from akashic.journal.tars import extract_tar, write_tar

SIZE_BYTES_MAX = 10 << 30
"""All caches together; GitHub's limit for a repository."""
AGE_S_MAX = 7 * 86400.0
"""A cache that nobody restored for so long is removed, as on GitHub."""
KEY_CHARACTERS_MAX = 512
KEYS_MAX = 10
STALE_S = 24 * 3600.0


class CacheError(AkashicError):
    """The cache cannot be saved or read; the message says why."""


class CacheScopes(msgspec.Struct, frozen=True, kw_only=True):
    """Full refs (`refs/heads/main`, `refs/pull/7/merge`): those that a job may read, own ref first, and the
    one that it may write; None where it may write none (a fork)."""

    read: tuple[str, ...]
    write: str | None


class CacheEntry(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a cache. `version` stands for the paths and the format; `size` is bytes on disk; times
    are seconds since the epoch."""

    id: str
    scope: str
    key: str
    version: str
    size: int
    digest: str
    files: int
    bytes: int
    created_at: float
    last_used_at: float = 0.0


def cache_version(paths: Sequence[str], *, cross_os: bool = False, os_name: str = "Linux") -> str:
    """The version of a cache: caches of other paths, or of another system, are never found."""
    parts = [*paths, "akashic-tar-1"]
    if not cross_os and os_name == "Windows":
        parts.append("windows-only")
    return hashlib.sha256("|".join(parts).encode()).hexdigest()


def check_keys(keys: Sequence[str]) -> None:
    """Raise CacheError for keys that GitHub refuses."""
    if len(keys) > KEYS_MAX:
        raise CacheError(f"at most {KEYS_MAX} keys are allowed, got {len(keys)}")
    for key in keys:
        if len(key) > KEY_CHARACTERS_MAX:
            raise CacheError(f"a cache key is longer than {KEY_CHARACTERS_MAX} characters: {key[:60]}…")
        if "," in key:
            raise CacheError(f"a cache key cannot contain commas: {key!r}")


class CacheStore:
    """The caches of a repository below one folder. Any number of threads and processes may use it."""

    def __init__(
        self,
        folder: Path | str,
        *,
        now: Callable[[], float] = time.time,
        size_bytes_max: int = SIZE_BYTES_MAX,
        age_s_max: float = AGE_S_MAX,
    ) -> None:
        self._folder = Path(folder)
        self._now = now
        self._size_bytes_max = size_bytes_max
        self._age_s_max = age_s_max

    def find(
        self, key: str, restore_keys: Sequence[str], version: str, scopes: CacheScopes
    ) -> CacheEntry | None:
        """The cache that a job gets. Scope by scope, own first; in each the exact key, then the newest whose
        key begins with it, then the same for each restore key."""
        wanted = [key, *restore_keys]
        check_keys(wanted)
        oldest = self._now() - self._age_s_max
        for scope in scopes.read:
            entries = [
                entry
                for entry in self._of_scope(scope)
                if entry.version == version and entry.last_used_at >= oldest
            ]
            entries.sort(key=lambda entry: entry.created_at, reverse=True)
            for candidate in wanted:
                exact = [entry for entry in entries if entry.key == candidate]
                prefixed = exact or [entry for entry in entries if entry.key.startswith(candidate)]
                if prefixed:
                    return prefixed[0]
        return None

    def save(
        self, key: str, version: str, scopes: CacheScopes, members: Iterable[Member]
    ) -> CacheEntry | None:
        """Keep files (see `restore` for their names). None when the scope has this key and version already: a
        cache never changes. Raises CacheError where the job may not write."""
        check_keys([key])
        if scopes.write is None:
            raise CacheError("this run may not write caches: it is from a fork")
        if self._taken(scopes.write, key, version):
            return None
        with scratch_in(self._folder) as scratch:
            with open(scratch / "content.tar", "wb") as sink:
                facts = write_tar(sink, members)
            with open(scratch / "content.tar", "rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            now = self._now()
            entry = CacheEntry(
                id=scratch.name,
                scope=scopes.write,
                key=key,
                version=version,
                size=(scratch / "content.tar").stat().st_size,
                digest=f"sha256:{digest}",
                files=facts.files,
                bytes=facts.bytes,
                created_at=now,
                last_used_at=now,
            )
            return self._publish(entry, scratch)

    def scratch(self) -> Path:
        """A fresh folder for content that `adopt` shall take; whoever asked removes it."""
        return new_scratch(self._folder)

    def adopt(self, key: str, version: str, scopes: CacheScopes, content: Path) -> CacheEntry | None:
        """Keep an archive that a client packed in its own way: `content`, a file below `scratch()`, is moved,
        not copied. None when the scope has this key and version already. Raises CacheError as `save`."""
        check_keys([key])
        if scopes.write is None:
            raise CacheError("this run may not write caches: it is from a fork")
        with open(content, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = os.fstat(file.fileno()).st_size
        now = self._now()
        with scratch_in(self._folder) as scratch:
            content.rename(scratch / "content.tar")
            entry = CacheEntry(
                id=scratch.name,
                scope=scopes.write,
                key=key,
                version=version,
                size=size,
                digest=f"sha256:{digest}",
                files=1,
                bytes=size,
                created_at=now,
                last_used_at=now,
            )
            return self._publish(entry, scratch)

    def taken(self, key: str, version: str, scopes: CacheScopes) -> bool:
        """Whether the scope that a job writes has this key and version already."""
        return scopes.write is not None and self._taken(scopes.write, key, version)

    def open(self, entry: CacheEntry) -> BufferedReader:
        """The stored bytes as they are; counts as a use. Raises CacheError when it was evicted meanwhile, or
        when some of it is missing. What else is wrong with it, whoever packed it must see."""
        place = self._place(entry)
        now = self._now()
        try:
            os.utime(place / "manifest.json", (now, now))
            content = open(place / "content.tar", "rb")  # noqa: SIM115 (the caller's)
        except FileNotFoundError:
            raise CacheError(f"the cache {entry.key!r} no longer exists") from None
        if os.fstat(content.fileno()).st_size != entry.size:
            content.close()
            self.delete(entry)
            raise CacheError(f"the stored content of cache {entry.key!r} has changed: removed, not used")
        return content

    def _publish(self, entry: CacheEntry, scratch: Path) -> CacheEntry | None:
        (scratch / "manifest.json").write_bytes(msgspec.json.encode(entry))
        with locked(self._folder):
            if self._taken(entry.scope, entry.key, entry.version):
                return None
            place = self._place(entry)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.utime(scratch / "manifest.json", (entry.created_at, entry.created_at))
            scratch.rename(place)
            self._evict(keep=entry.id)
        return entry

    def restore(
        self,
        entry: CacheEntry,
        destinations: Mapping[str, int],
        *,
        allow: Iterable[tuple[str, ...]] | None = None,
    ) -> ArchiveFacts:
        """Unpack a cache. The first part of each name picks the folder (its descriptor) in `destinations`;
        `allow` lists the places that were asked for (see `extract_tar`). Raises CacheError when it was
        evicted meanwhile or is damaged (then it is removed, and nothing was placed)."""
        place = self._place(entry)
        try:
            content = open(place / "content.tar", "rb")  # noqa: SIM115 (closed below)
        except FileNotFoundError:
            raise CacheError(f"the cache {entry.key!r} no longer exists") from None
        with content:
            if f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}" != entry.digest:
                self.delete(entry)
                raise CacheError(f"the stored content of cache {entry.key!r} has changed: removed, not used")
            content.seek(0)
            now = self._now()
            with suppress(FileNotFoundError):
                os.utime(place / "manifest.json", (now, now))
            limits = Limits(bytes_max=entry.bytes, ratio_max=float("inf"))
            return extract_tar(content, destinations, limits=limits, links="keep", allow=allow)

    def find_all(self, *, key_prefix: str = "", scope: str | None = None) -> list[CacheEntry]:
        """All caches, or those of a scope or whose key begins so; the last used first."""
        found = [
            entry
            for entry in self._all()
            if entry.key.startswith(key_prefix) and (scope is None or entry.scope == scope)
        ]
        return sorted(found, key=lambda entry: entry.last_used_at, reverse=True)

    def delete(self, entry: CacheEntry) -> None:
        """Remove it; nothing happens when it is gone already."""
        with locked(self._folder):
            discard(self._folder, self._place(entry))

    def evict(self) -> list[CacheEntry]:
        """Remove what nobody used for too long, then the least recently used until the size fits, then what
        killed processes left. Happens by itself at every save; returns what was removed."""
        with locked(self._folder):
            return self._evict(keep="")

    def _evict(self, *, keep: str) -> list[CacheEntry]:
        now = self._now()
        entries = sorted(self._all(), key=lambda entry: entry.last_used_at)
        total = sum(entry.size for entry in entries)
        removed = []
        for entry in entries:
            too_old = now - entry.last_used_at > self._age_s_max
            if entry.id != keep and (too_old or total > self._size_bytes_max):
                discard(self._folder, self._place(entry))
                total -= entry.size
                removed.append(entry)
        for left in (self._folder / "tmp").glob("*"):
            with suppress(FileNotFoundError):
                if now - left.stat().st_mtime > STALE_S:
                    remove(left)
        return removed

    def _taken(self, scope: str, key: str, version: str) -> bool:
        return any(entry.key == key and entry.version == version for entry in self._of_scope(scope))

    def _all(self) -> Iterator[CacheEntry]:
        try:
            with os.scandir(self._folder) as found:
                names = [entry.name for entry in found if entry.is_dir() and entry.name != "tmp"]
        except OSError:
            return
        for name in names:
            yield from self._in_folder(self._folder / name)

    def _of_scope(self, scope: str) -> Iterator[CacheEntry]:
        for entry in self._in_folder(self._folder / _scope_folder(scope)):
            if entry.scope == scope:
                yield entry

    def _in_folder(self, folder: Path) -> Iterator[CacheEntry]:
        try:
            names = [place.name for place in folder.iterdir()]
        except OSError:
            return
        for name in names:
            manifest = folder / name / "manifest.json"
            # What is evicted at this moment, damaged, or left by another version is simply no cache.
            with suppress(OSError, msgspec.MsgspecError):
                entry = msgspec.json.decode(manifest.read_bytes(), type=CacheEntry)
                if entry.id == name:
                    yield msgspec.structs.replace(entry, last_used_at=manifest.stat().st_mtime)

    def _place(self, entry: CacheEntry) -> Path:
        return self._folder / _scope_folder(entry.scope) / entry.id


def _scope_folder(scope: str) -> str:
    return hashlib.sha256(scope.encode("utf-8", "surrogateescape")).hexdigest()[:32]
