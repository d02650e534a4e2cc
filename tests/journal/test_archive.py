"""Packing and unpacking: what goes in comes out, and nothing else."""

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from akashic.journal.archive import ArchiveRefused, Limits, Member, safe_parts
from akashic.journal.beneath import open_beneath
from akashic.journal.tars import extract_tar, write_tar
from akashic.journal.zips import extract_zip, write_zip


def _unzip(path: Path, target: Path, limits: Limits | None = None, *, modes: bool = True) -> None:
    target.mkdir(exist_ok=True)
    with open(path, "rb") as source, open_beneath(str(target), (), create=False) as folder:
        extract_zip(source, folder, limits=limits or Limits(), modes=modes)


def _zip(path: Path, entries: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


@pytest.mark.parametrize("level", [0, 1, 9])
def test_a_zip_gives_back_content_and_modes(tmp_path: Path, level: int) -> None:
    (tmp_path / "a").write_bytes(b"a" * 100_000)
    (tmp_path / "run").write_bytes(os.urandom(50_000))
    (tmp_path / "run").chmod(0o755)
    with open(tmp_path / "z", "wb") as out:
        facts = write_zip(
            out,
            [Member(name="d/a", path=str(tmp_path / "a")), Member(name="run", path=str(tmp_path / "run"))],
            level=level,
        )
    assert (facts.files, facts.bytes) == (2, 150_000)
    _unzip(tmp_path / "z", tmp_path / "out")
    assert (tmp_path / "out/d/a").read_bytes() == b"a" * 100_000
    assert os.access(tmp_path / "out/run", os.X_OK)
    _unzip(tmp_path / "z", tmp_path / "plain", modes=False)
    assert not os.access(tmp_path / "plain/run", os.X_OK)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["d", "run"]


def test_unpacking_joins_folders_and_replaces_files(tmp_path: Path) -> None:
    target = tmp_path / "out"
    (target / "d").mkdir(parents=True)
    (target / "d/old").write_text("stays")
    (target / "d/same").write_text("before")
    _unzip(_zip(tmp_path / "z", {"d/same": b"after", "d/new": b"n"}), target)
    assert {p.name: p.read_text() for p in (target / "d").iterdir()} == {
        "old": "stays",
        "same": "after",
        "new": "n",
    }


def test_a_refused_archive_places_nothing(tmp_path: Path) -> None:
    archive = _zip(tmp_path / "z", {"good": b"1", "../bad": b"2"})
    with pytest.raises(ArchiveRefused):
        _unzip(archive, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_many_folders_are_no_problem(tmp_path: Path) -> None:
    entries = {f"{i}/{j}/f": b"x" for i in range(20) for j in range(20)}
    _unzip(_zip(tmp_path / "z", entries), tmp_path / "out")
    assert len(list((tmp_path / "out").rglob("f"))) == 400


def test_a_tar_keeps_links_modes_and_empty_folders(tmp_path: Path) -> None:
    source = tmp_path / "s"
    (source / "empty").mkdir(parents=True)
    (source / "x").write_text("x")
    (source / "x").chmod(0o755)
    (source / "l").symlink_to("x")
    members = [Member(name=f"w/{n}", path=str(source / n)) for n in ("empty", "l", "x", "gone")]
    with open(tmp_path / "t", "wb") as out:
        assert write_tar(out, members).files == 2
    (tmp_path / "out").mkdir()
    with (
        open(tmp_path / "t", "rb") as packed,
        open_beneath(str(tmp_path / "out"), (), create=False) as folder,
    ):
        extract_tar(packed, {"w": folder}, limits=Limits(), links="keep")
    assert (tmp_path / "out/empty").is_dir()
    assert (tmp_path / "out/l").readlink() == Path("x")
    assert os.access(tmp_path / "out/x", os.X_OK)


@given(st.text(max_size=30))
def test_a_name_is_safe_or_refused(name: str) -> None:
    try:
        parts = safe_parts(name)
    except ArchiveRefused:
        return
    assert parts
    assert not any(part in ("", ".", "..") or "/" in part or "\0" in part for part in parts)


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=600))
def test_any_bytes_are_an_archive_or_refused(content: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as source:
        source.write(content)
        with open_beneath(folder, (), create=False) as place:
            for unpack in (
                lambda: extract_zip(source, place, limits=Limits()),
                lambda: extract_tar(source, {"w": place}, limits=Limits()),
            ):
                source.seek(0)
                try:
                    unpack()
                except ArchiveRefused:
                    assert list(Path(folder).iterdir()) == []


def test_a_truncated_tar_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("w/f")
        info.size = 5000
        archive.addfile(info, io.BytesIO(b"x" * 5000))
    (tmp_path / "t").write_bytes(buffer.getvalue()[:2000])
    with (
        open(tmp_path / "t", "rb") as source,
        open_beneath(str(tmp_path), (), create=False) as folder,
        pytest.raises(ArchiveRefused),
    ):
        extract_tar(source, {"w": folder}, limits=Limits())
