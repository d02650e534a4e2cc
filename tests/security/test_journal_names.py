"""Stored names stay inside their folder (CVE-2023-22726), whatever a run, a job or a digest is called."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.journal.blobs import BlobMissing, BlobStore
from akashic.journal.logs import LogStore

HOSTILE = [
    "..",
    "../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "%2e%2e",
    "..%2f",
    ".",
    "",
    "a/../../b",
    "\u202e",
    "é" * 300,
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_runs_and_jobs_stay_inside_the_log_folder(tmp_path: Path, name: str) -> None:
    logs = LogStore(tmp_path / "logs")
    with logs.writer(name, name, 1) as writer:
        writer.append(1, 1.0, b"line\n")
    assert [line.text for line in logs.read(name, name, 1)] == ["line"]
    path = logs.path(name, name, 1)
    assert path.resolve().parent.parent == logs.folder.resolve()
    assert [entry.name for entry in tmp_path.iterdir()] == ["logs"]


@given(names=st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_two_names_never_share_a_log(names: list[str]) -> None:
    logs = LogStore("/nowhere")
    assert logs.path("R", names[0], 1) != logs.path("R", names[1], 1)
    assert logs.path(names[0], "k", 1) != logs.path(names[1], "k", 1)


def test_names_that_differ_only_in_unicode_form_do_not_share_a_log() -> None:
    logs = LogStore("/nowhere")
    composed, decomposed = "é", unicodedata.normalize("NFD", "é")
    assert logs.path("R", composed, 1) != logs.path("R", decomposed, 1)


@pytest.mark.parametrize(
    "digest", [*HOSTILE, "sha256:../../x", "sha256:" + "0" * 63 + "/", "sha256:" + "A" * 64]
)
def test_what_is_no_digest_opens_nothing(tmp_path: Path, digest: str) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    with pytest.raises(BlobMissing):
        blobs.open(digest)
    with pytest.raises(BlobMissing):
        blobs.has(digest)
