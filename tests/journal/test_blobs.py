"""Blobs: what was put is what comes out, or an error."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.journal.blobs import BlobDamaged, BlobMissing, BlobStore, BlobUnavailable


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@given(content=st.binary(max_size=2000))
def test_content_comes_back_by_its_digest(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    blobs = BlobStore(tmp_path_factory.mktemp("blobs"))
    digest = blobs.put_bytes(content)
    assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert blobs.read_bytes(digest) == content and blobs.has(digest)


def test_a_file_is_kept_as_it_was(blobs: BlobStore, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"before")
    digest = blobs.put_file(file)
    file.write_bytes(b"after")
    assert blobs.read_bytes(digest) == b"before"


def test_putting_twice_keeps_one_and_leaves_nothing_else(blobs: BlobStore) -> None:
    threads = [threading.Thread(target=blobs.put_bytes, args=(b"same" * 1000,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    files = [path for path in blobs.folder.rglob("*") if path.is_file()]
    assert files == [blobs.path(blobs.put_bytes(b"same" * 1000))]


def test_a_changed_blob_is_never_handed_out(blobs: BlobStore) -> None:
    digest = blobs.put_bytes(b"right")
    path = blobs.path(digest)
    path.chmod(0o600)
    path.write_bytes(b"wrong")
    with pytest.raises(BlobDamaged):
        blobs.open(digest)


def test_a_blob_that_is_not_there_is_told(blobs: BlobStore) -> None:
    with pytest.raises(BlobMissing):
        blobs.path("sha256:" + "0" * 64)


def test_a_file_that_is_not_there_is_told(blobs: BlobStore, tmp_path: Path) -> None:
    with pytest.raises(BlobUnavailable):
        blobs.put_file(tmp_path / "nothing")
