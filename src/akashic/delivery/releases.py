"""Releases: what a deployment deploys. A release is fixed by the digest of its image; its layout is kept."""

from __future__ import annotations

from pathlib import Path

import msgspec

from akashic.driver.ports import Clock
from akashic.engine.deployment_events import ReleaseRef
from akashic.errors import AkashicError, UsageError
from akashic.images.store import Layout
from akashic.journal.protocol import Conflict, Journal, NewRecord

PREFIX = "release/"
RELEASES_SHOWN_MAX = 10_000


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A built version of the software. `id` is derived from commit and digest, so that building the same
    thing twice gives the same release; `run_id` and `workflow_sha256` say which run made it (empty: none
    did)."""

    id: str
    version: str
    commit: str
    digest: str
    created_by: str
    created_at: float
    run_id: str = ""
    workflow_sha256: str = ""
    ref: str = ""
    image: str = ""

    @property
    def reference(self) -> ReleaseRef:
        return ReleaseRef(id=self.id, version=self.version, commit=self.commit, digest=self.digest)


class ReleaseRegistered(msgspec.Struct, frozen=True, kw_only=True):
    """The event: a release exists, or was made again by another run."""

    release: Release


def short_ref(ref: str) -> str:
    """`refs/heads/main` and `refs/tags/v1` as branch policies write them."""
    return ref.removeprefix("refs/heads/").removeprefix("refs/tags/")


class Releases:
    """The releases of one repository. Their content lies in one OCI layout, `folder`, by digest."""

    def __init__(self, *, journal: Journal, folder: Path, clock: Clock) -> None:
        self.journal = journal
        self.folder = folder
        self.clock = clock

    @property
    def layout(self) -> Path:
        """The OCI layout that holds every release."""
        return self.folder

    def register(
        self,
        *,
        layout: Path,
        digest: str,
        version: str,
        commit: str,
        created_by: str,
        run_id: str = "",
        workflow_sha256: str = "",
        ref: str = "",
        image: str = "",
    ) -> Release:
        """Keep the image `digest` of `layout` as a release. Repeatable. Raises AkashicError when the image is
        damaged or cannot be kept."""
        self._keep(layout, digest)
        release = Release(
            id=f"{digest.removeprefix('sha256:')[:12]}-{(commit or 'none')[:12]}",
            version=version,
            commit=commit,
            digest=digest,
            created_by=created_by,
            created_at=self.clock.now(),
            run_id=run_id,
            workflow_sha256=workflow_sha256,
            ref=ref,
            image=image,
        )
        before = self._of_stream(PREFIX + release.id)
        if any(r.run_id == run_id and r.version == version for r in before):
            return next(r for r in before if r.run_id == run_id and r.version == version)
        record = NewRecord("ReleaseRegistered", msgspec.json.encode(ReleaseRegistered(release=release)))
        try:
            self.journal.append(
                PREFIX + release.id, [record], at=release.created_at, expected_version=len(before)
            )
        except Conflict:
            return self._of_stream(PREFIX + release.id)[-1]
        return release

    def all(self) -> list[Release]:
        """Every release, the newest first."""
        streams = self.journal.streams(PREFIX, newest_first=True, streams_max=RELEASES_SHOWN_MAX)
        found = [self._of_stream(stream)[-1] for stream in streams]
        return sorted(found, key=lambda release: release.created_at, reverse=True)

    def get(self, id_: str) -> Release | None:
        found = self._of_stream(PREFIX + id_)
        return found[-1] if found else None

    def refs(self, id_: str) -> tuple[str, ...]:
        """The branches and tags that a release was built from, each once, the newest first: the same commit
        built on two branches is one release."""
        built = reversed(self._of_stream(PREFIX + id_))
        return tuple(dict.fromkeys(short_ref(release.ref) for release in built))

    def built_by(self, id_: str, run_id: str) -> bool:
        """Whether a run built this release."""
        return any(release.run_id == run_id for release in self._of_stream(PREFIX + id_))

    def latest(self) -> Release | None:
        return next(iter(self.all()), None)

    def latest_for_run(self, run_id: str) -> Release | None:
        """The release that a run registered last."""
        found = [r for stream in self._streams() for r in self._of_stream(stream) if r.run_id == run_id]
        return max(found, key=lambda release: release.created_at, default=None)

    def find(self, word: str) -> Release:
        """The one release that `word` names: its id, version, commit or digest, or the beginning of one.

        Raises UsageError when there is none, or more than one.
        """
        releases = self.all()
        exact = [r for r in releases if word in (r.id, r.version, r.commit, r.digest)]
        if exact:
            return exact[0]
        bare = word.removeprefix("sha256:")
        found = [
            r
            for r in releases
            if len(bare) >= 4
            and (r.id.startswith(bare) or r.commit.startswith(bare) or r.digest[7:].startswith(bare))
        ]
        if not found:
            known = ", ".join(f"{r.version} ({r.id})" for r in releases[:5]) or "there is none yet"
            raise UsageError(f"there is no release {word!r}", hint=f"known releases: {known}")
        if len(found) > 1:
            names = ", ".join(r.id for r in found[:5])
            raise UsageError(f"{word!r} names more than one release: {names}", hint="write more of it")
        return found[0]

    def _streams(self) -> list[str]:
        return self.journal.streams(PREFIX, newest_first=True, streams_max=RELEASES_SHOWN_MAX)

    def _of_stream(self, stream: str) -> list[Release]:
        return [
            msgspec.json.decode(record.data, type=ReleaseRegistered).release
            for record in self.journal.read(stream)
            if record.type == "ReleaseRegistered"
        ]

    def _keep(self, layout: Path, digest: str) -> None:
        source, kept = Layout(layout), Layout(self.folder)
        if source.path.resolve() == self.folder.resolve():
            return
        try:
            kept.create()
            with kept.building():
                for part in sorted(source.reachable([digest])):
                    kept.put_file(source.blob_path(part), part)
                entry = next((e for e in source.entries() if e.get("digest") == digest), None)
                descriptor = entry or {
                    "digest": digest,
                    "mediaType": "application/vnd.oci.image.index.v1+json",
                }
                kept.change(lambda entries: [*(e for e in entries if e.get("digest") != digest), descriptor])
        except OSError as error:
            raise AkashicError(f"the release cannot be kept in {self.folder}: {error.strerror}") from error
