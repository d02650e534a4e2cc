"""The store of artifacts.

Layout: `<folder>/<run id>/<artifact id>/manifest.json` with `content` beside it. An artifact is prepared in
`<folder>/tmp/` and appears with one rename, so a process that is killed never leaves half of one. An
artifact's own name is never part of a path.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import msgspec

from akashic.journal.archive import ArchiveFacts, Limits, Member
from akashic.journal.artifact import (
    RETENTION_DAYS_DEFAULT,
    RETENTION_DAYS_MAX,
    Artifact,
    ArtifactError,
    check_name,
    matches,
    retention_of,
)
from akashic.journal.beneath import staged
from akashic.journal.folders import discard, locked, new_scratch, remove, scratch_in
from akashic.journal.zips import extract_zip, write_zip, zip_facts

ARTIFACTS_PER_JOB_MAX = 500
STALE_S = 24 * 3600


class ArtifactStore:
    """The artifacts of all runs below one folder. Any number of threads and processes may use it."""

    def __init__(self, folder: Path | str, *, now: Callable[[], float] = time.time) -> None:
        self._folder = Path(folder)
        self._now = now

    def create(
        self,
        name: str,
        members: Iterable[Member],
        *,
        run_id: str,
        run_attempt: int,
        job_key: str = "",
        overwrite: bool = False,
        compression_level: int = 6,
        retention_days: int = 0,
        archive: bool = True,
    ) -> Artifact:
        """Store files under a name that is unique in the run's attempt. `retention_days` 0 is the default of
        90; `archive=False` keeps the only file as it is. Raises ArtifactError when the name is taken (and not
        `overwrite`) or is no name, ArchiveRefused for a file name that no archive may hold."""
        check_name(name)
        _check_run(run_id)
        days = retention_of(retention_days)
        members = list(members)
        if not archive and len(members) != 1:
            raise ArtifactError("exactly one file can be uploaded when 'archive' is false")
        self.check_free(name, run_id=run_id, run_attempt=run_attempt, overwrite=overwrite, job_key=job_key)
        with scratch_in(self._folder) as scratch:
            with open(scratch / "content", "wb") as sink:
                facts = _pack(sink, members, compression_level, archive)
            with open(scratch / "content", "rb") as content:
                digest = _digest(content)
            now = self._now()
            draft = Artifact(
                id=0,
                name=name,
                run_id=run_id,
                run_attempt=run_attempt,
                job_key=job_key,
                size=(scratch / "content").stat().st_size,
                digest=digest,
                files=facts.files,
                bytes=facts.bytes,
                created_at=now,
                expires_at=now + days * 86400,
                filename="" if archive else members[0].name.rsplit("/", 1)[-1],
            )
            return self._publish(draft, scratch, overwrite=overwrite)

    def scratch(self) -> Path:
        """A fresh folder for content that `adopt` shall take; whoever asked removes it."""
        return new_scratch(self._folder)

    def adopt(
        self,
        name: str,
        content: Path,
        *,
        run_id: str,
        run_attempt: int,
        job_key: str = "",
        overwrite: bool = False,
        expires_at: float = 0,
        digest: str = "",
    ) -> Artifact:
        """Keep what a client sent: `content`, a file below `scratch()`, is moved, not copied. A zip becomes
        an artifact like any other, anything else one file of the artifact's name. `expires_at` 0 means the
        default retention; another time is brought between the shortest and the longest. Raises ArtifactError
        as `create` does, and when `digest` is given and is not that of the content."""
        check_name(name)
        _check_run(run_id)
        self.check_free(name, run_id=run_id, run_attempt=run_attempt, overwrite=overwrite, job_key=job_key)
        now = self._now()
        with open(content, "rb") as file:
            found = _digest(file)
            if digest and digest != found:
                raise ArtifactError(f"the content of artifact {name!r} is {found}, not {digest} as announced")
            facts = zip_facts(file)
            size = os.fstat(file.fileno()).st_size
        earliest, latest = now + 86400, now + RETENTION_DAYS_MAX * 86400
        draft = Artifact(
            id=0,
            name=name,
            run_id=run_id,
            run_attempt=run_attempt,
            job_key=job_key,
            size=size,
            digest=found,
            files=facts.files if facts else 1,
            bytes=facts.bytes if facts else size,
            created_at=now,
            expires_at=min(max(expires_at, earliest), latest)
            if expires_at
            else now + RETENTION_DAYS_DEFAULT * 86400,
            filename="" if facts else name,
            foreign=facts is not None,
        )
        with scratch_in(self._folder) as scratch:
            content.rename(scratch / "content")
            return self._publish(draft, scratch, overwrite=overwrite)

    def check_free(
        self, name: str, *, run_id: str, run_attempt: int, overwrite: bool = False, job_key: str = ""
    ) -> None:
        """Raise ArtifactError when the name is taken in this attempt, or the job has too many artifacts."""
        mine = [a for a in self._of_run(run_id) if a.run_attempt == run_attempt]
        if not overwrite and any(artifact.name == name for artifact in mine):
            raise ArtifactError(
                f"an artifact with the name {name!r} already exists on this workflow run",
                hint="Give it another name (in a matrix: with the matrix values), or set 'overwrite: true'.",
            )
        if sum(a.job_key == job_key and a.name != name for a in mine) >= ARTIFACTS_PER_JOB_MAX:
            raise ArtifactError(f"a job can create at most {ARTIFACTS_PER_JOB_MAX} artifacts")

    def find_all(
        self, run_id: str | None = None, *, run_attempt: int | None = None, pattern: str = "*"
    ) -> list[Artifact]:
        """Artifacts that have not expired, oldest first: all, or a run's. Of one name in a run only the
        newest, of `run_attempt` or an earlier one. `pattern` is matched against the name."""
        runs = self._runs() if run_id is None else [run_id]
        found: list[Artifact] = []
        for run in runs:
            newest: dict[str, Artifact] = {}
            for artifact in self._of_run(run):
                if run_attempt is None or artifact.run_attempt <= run_attempt:
                    newest[artifact.name] = artifact
            found += newest.values()
        return sorted((a for a in found if matches(a.name, pattern)), key=lambda artifact: artifact.id)

    def get(self, artifact_id: int) -> Artifact | None:
        """An artifact by its id; None when there is none or it has expired."""
        for run in self._runs():
            artifact = self._read(self._folder / run / str(artifact_id))
            if artifact is not None:
                return artifact if artifact.expires_at > self._now() else None
        return None

    def find(self, name: str, *, run_id: str, run_attempt: int | None = None) -> Artifact | None:
        """The newest artifact with exactly this name in a run."""
        for artifact in self.find_all(run_id, run_attempt=run_attempt):
            if artifact.name == name:
                return artifact
        return None

    def extract(self, artifact: Artifact, destination: int, *, modes: bool = False) -> ArchiveFacts:
        """Unpack into the folder with this descriptor. `modes` keeps executable bits (GitHub does not).
        Raises ArtifactError when it is gone or its content is not what was stored; then nothing is placed."""
        with self.open(artifact) as content:
            if _digest(content) != artifact.digest:
                raise ArtifactError(f"the stored content of artifact {artifact.name!r} has changed: not used")
            content.seek(0)
            if artifact.filename:
                return _place_file(content, artifact, destination)
            limits = Limits()
            if not artifact.foreign:
                # What we packed ourselves may shrink well, and its true size is known: no ratio.
                limits = Limits(entries_max=artifact.files, bytes_max=artifact.bytes, ratio_max=float("inf"))
            return extract_zip(content, destination, limits=limits, modes=modes)

    def open(self, artifact: Artifact) -> BufferedReader:
        """The stored bytes: a zip, or the file itself. Raises ArtifactError when it was deleted."""
        try:
            return open(self._place(artifact) / "content", "rb")
        except FileNotFoundError:
            raise ArtifactError(f"the artifact {artifact.name!r} no longer exists") from None

    def delete(self, artifact: Artifact) -> None:
        """Remove it; nothing happens when it is gone already."""
        with locked(self._folder):
            discard(self._folder, self._place(artifact))

    def remove_expired(self) -> list[Artifact]:
        """Remove what has expired and what killed processes left; returns the artifacts that were removed."""
        now = self._now()
        removed = []
        with locked(self._folder):
            for run in self._runs():
                for place in self._places(run):
                    artifact = self._read(place)
                    if artifact is not None and artifact.expires_at <= now:
                        discard(self._folder, place)
                        removed.append(artifact)
                with suppress(OSError):
                    (self._folder / run).rmdir()
            _sweep(self._folder / "tmp", now)
        return removed

    def _publish(self, draft: Artifact, scratch: Path, *, overwrite: bool) -> Artifact:
        with locked(self._folder):
            self.check_free(
                draft.name,
                run_id=draft.run_id,
                run_attempt=draft.run_attempt,
                overwrite=overwrite,
                job_key=draft.job_key,
            )
            artifact = msgspec.structs.replace(draft, id=self._next_id())
            (scratch / "manifest.json").write_bytes(msgspec.json.encode(artifact))
            place = self._place(artifact)
            place.parent.mkdir(parents=True, exist_ok=True)
            scratch.rename(place)
            if overwrite:
                for other in self._of_run(artifact.run_id):
                    same = other.name == artifact.name and other.run_attempt == artifact.run_attempt
                    if same and other.id != artifact.id:
                        discard(self._folder, self._place(other))
        return artifact

    def _next_id(self) -> int:
        counter = self._folder / "next-id"
        try:
            number = int(counter.read_text())
        except (FileNotFoundError, ValueError):
            # Lost or torn: go on above everything that exists.
            number = 1 + max((int(p.name) for run in self._runs() for p in self._places(run)), default=0)
        fresh = counter.with_suffix(".new")
        fresh.write_text(str(number + 1))
        fresh.replace(counter)
        return number

    def _runs(self) -> Sequence[str]:
        try:
            with os.scandir(self._folder) as entries:
                return sorted(e.name for e in entries if e.is_dir() and e.name != "tmp")
        except FileNotFoundError:
            return []

    def _places(self, run_id: str) -> Sequence[Path]:
        try:
            names = [place.name for place in (self._folder / run_id).iterdir()]
        except FileNotFoundError:
            return []
        return [self._folder / run_id / name for name in sorted((n for n in names if n.isdigit()), key=int)]

    def _of_run(self, run_id: str) -> Iterator[Artifact]:
        _check_run(run_id)
        now = self._now()
        for place in self._places(run_id):
            artifact = self._read(place)
            if artifact is not None and artifact.expires_at > now:
                yield artifact

    def _read(self, place: Path) -> Artifact | None:
        try:
            return msgspec.json.decode((place / "manifest.json").read_bytes(), type=Artifact)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError:
            # The rename makes this impossible short of a damaged disk; such an artifact cannot be trusted.
            return None

    def _place(self, artifact: Artifact) -> Path:
        return self._folder / artifact.run_id / str(artifact.id)


def _check_run(run_id: str) -> None:
    if not run_id or run_id == "tmp" or "/" in run_id or "\0" in run_id or run_id.startswith("."):
        raise ArtifactError(f"{run_id[:80]!r} is no run")


def _pack(sink: BinaryIO, members: Sequence[Member], level: int, archive: bool) -> ArchiveFacts:
    if archive:
        return write_zip(sink, members, level=level)
    total = 0
    with open(members[0].path, "rb") as source:
        while chunk := source.read(1 << 20):
            sink.write(chunk)
            total += len(chunk)
    return ArchiveFacts(files=1, bytes=total)


def _place_file(content: BinaryIO, artifact: Artifact, destination: int) -> ArchiveFacts:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with (
        staged(destination) as fresh,
        open(os.open(artifact.filename, flags, 0o644, dir_fd=fresh), "wb") as sink,
    ):
        while chunk := content.read(1 << 20):
            sink.write(chunk)
    return ArchiveFacts(files=1, bytes=artifact.bytes)


def _digest(content: BufferedReader) -> str:
    return f"sha256:{hashlib.file_digest(content, 'sha256').hexdigest()}"


def _sweep(folder: Path, now: float) -> None:
    for left in folder.iterdir() if folder.is_dir() else ():
        if now - left.stat().st_mtime > STALE_S:
            remove(left)
