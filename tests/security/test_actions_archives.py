"""Attacks 1, 15, 16: stored names and archives never reach outside of their folder."""

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from akashic.journal.archive import ArchiveRefused, Limits
from akashic.journal.beneath import open_beneath
from akashic.journal.tars import extract_tar
from akashic.journal.zips import extract_zip

EVIL = ["../x", "a/../../x", "/etc/x", "a//../x", "..", "a\\..\\x", "C:/x", "x\0y", "\\\\host\\x"]


def _snapshot(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def _zip_raw(name: str, *, mode: int = 0, content: bytes = b"evil") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("Q" * len(name.encode()))
        info.external_attr = mode << 16
        archive.writestr(info, content)
    made = buffer.getvalue().replace(b"Q" * len(name.encode()), name.encode())
    (found,) = zipfile.ZipFile(io.BytesIO(made)).infolist()
    assert found.orig_filename.encode() == name.encode(), "the archive itself is sound"
    return made


def _try_zip(tmp_path: Path, data: bytes, limits: Limits | None = None) -> None:
    (tmp_path / "z").write_bytes(data)
    (tmp_path / "in/out").mkdir(parents=True, exist_ok=True)
    before = _snapshot(tmp_path)
    with (
        open(tmp_path / "z", "rb") as source,
        open_beneath(str(tmp_path / "in/out"), (), create=False) as folder,
        pytest.raises(ArchiveRefused),
    ):
        extract_zip(source, folder, limits=limits or Limits())
    assert _snapshot(tmp_path) == before


@pytest.mark.parametrize("name", EVIL)
def test_attack_15_zip_slip_is_refused(tmp_path: Path, name: str) -> None:
    _try_zip(tmp_path, _zip_raw(name))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_attack_15_links_and_devices_in_a_zip_are_refused(tmp_path: Path, kind: int) -> None:
    _try_zip(tmp_path, _zip_raw("link", mode=kind | 0o777, content=b"/etc/passwd"))


def test_attack_15_bombs_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", b"\0" * (80 << 20))
    _try_zip(tmp_path, buffer.getvalue())
    _try_zip(tmp_path, buffer.getvalue(), Limits(bytes_max=1000))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(20):
            archive.writestr(str(number), b"")
    _try_zip(tmp_path, buffer.getvalue(), Limits(entries_max=10))


def test_attack_1_names_that_only_unicode_tells_apart_are_refused(tmp_path: Path) -> None:
    for first, second in (("caf\u00e9", "cafe\u0301"), ("a", "a"), ("a", "a/b")):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr(first, b"1")
            if first == second:
                with pytest.warns(UserWarning):
                    archive.writestr(second, b"2")
            else:
                archive.writestr(second, b"2")
        _try_zip(tmp_path, buffer.getvalue())


def test_attack_1_percent_escapes_are_only_characters(tmp_path: Path) -> None:
    (tmp_path / "z").write_bytes(_zip_raw("%2e%2e%2fx"))
    (tmp_path / "out").mkdir()
    with (
        open(tmp_path / "z", "rb") as source,
        open_beneath(str(tmp_path / "out"), (), create=False) as folder,
    ):
        extract_zip(source, folder, limits=Limits())
    assert _snapshot(tmp_path / "out") == ["%2e%2e%2fx"]


def test_attack_34_a_link_that_waits_in_the_destination_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    (tmp_path / "in/out").mkdir(parents=True)
    (tmp_path / "in/out/d").symlink_to(tmp_path / "secret")
    _try_zip(tmp_path, _zip_raw("d/x"))
    with pytest.raises(ArchiveRefused), open_beneath(str(tmp_path / "in/out"), ("d",), create=True):
        pass
    assert list((tmp_path / "secret").iterdir()) == []


def _tar(*entries: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for info in entries:
            archive.addfile(info, io.BytesIO(b"x" * info.size))
    return buffer.getvalue()


def _entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, size
    return info


@pytest.mark.parametrize(
    "entries",
    [
        (_entry("w/../x"),),
        (_entry("/w/x"),),
        (_entry("other/x"),),
        (_entry("w/x", tarfile.LNKTYPE, "/etc/passwd"),),
        (_entry("w/x", tarfile.CHRTYPE),),
        (_entry("w/x", tarfile.FIFOTYPE),),
        # CVE-2025-4517: a link first, then an entry that goes through it.
        (_entry("w/d", tarfile.SYMTYPE, "/"), _entry("w/d/x")),
        (_entry("w/d", tarfile.SYMTYPE, "../.."), _entry("w/d", tarfile.DIRTYPE)),
        (_entry("w/a" + "/b" * 3000),),
    ],
)
@pytest.mark.parametrize("links", ["keep", "refuse"])
def test_attack_16_tar_entries_that_leave_are_refused(tmp_path: Path, entries, links) -> None:
    (tmp_path / "t").write_bytes(_tar(*entries))
    (tmp_path / "in/out").mkdir(parents=True)
    before = _snapshot(tmp_path)
    with (
        open(tmp_path / "t", "rb") as source,
        open_beneath(str(tmp_path / "in/out"), (), create=False) as folder,
        pytest.raises(ArchiveRefused),
    ):
        extract_tar(source, {"w": folder}, limits=Limits(), links=links)
    assert _snapshot(tmp_path) == before


def test_attack_16_a_cache_restores_only_what_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "t").write_bytes(_tar(_entry("w/.bashrc", size=3)))
    with (
        open(tmp_path / "t", "rb") as source,
        open_beneath(str(tmp_path), (), create=False) as folder,
        pytest.raises(ArchiveRefused, match="outside of the paths asked for"),
    ):
        extract_tar(source, {"w": folder}, limits=Limits(), allow=[("w", ".cache")])
    assert [path.name for path in tmp_path.iterdir()] == ["t"]
