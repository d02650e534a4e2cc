"""Rows 15, 16, 34, 35 of the known attacks: archives and links never lead out of their folder."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from akashic.errors import AkashicError
from akashic.images.source import find_source, read_files
from akashic.images.store import ImageError
from akashic.images.unpack import Limits, UnsafeImage, checked_path, unpack_layers

TAR = "application/vnd.oci.image.layer.v1.tar"


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, link: str = "", data: bytes = b"x", mode: int = 0o644
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode = kind, link, mode
    info.size = len(data) if kind == tarfile.REGTYPE else 0
    return info, data if kind == tarfile.REGTYPE else b""


def write(path: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> tuple[Path, str]:
    with tarfile.open(path, "w") as archive:
        for info, data in entries:
            archive.addfile(info, io.BytesIO(data))
    return path, TAR


SYM, HARD, DIR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE


@pytest.mark.parametrize(
    "entries",
    [
        [entry("../evil")],
        [entry("a/../../evil")],
        [entry("a", SYM, "../outside")],
        [entry("a/b/c/d", data=b""), entry("up", SYM, "."), entry("a/b/c/out", SYM, "../../../up/../..")],
        [entry("a/b/up", SYM, "../.."), entry("a/b/x", SYM, "up/../y")],
        [entry("l", SYM, "d"), entry("d/x"), entry("l/y")],
        [entry("l", SYM, "/tmp"), entry("l/evil")],
        [entry("h", HARD, "/etc/passwd")],
        [entry("h", HARD, "../../etc/passwd")],
        [entry("l", SYM, "x"), entry("h", HARD, "l")],
        [entry("dev", tarfile.CHRTYPE)],
        [entry("dev", tarfile.BLKTYPE)],
        [entry("pipe", tarfile.FIFOTYPE)],
        [entry("a/.wh...")],
        [entry("n" * 300)],
        [entry("l", SYM, "")],
        [entry("/", SYM, "x")],
    ],
)
def test_nothing_leads_out_and_nothing_is_left(
    entries: list[tuple[tarfile.TarInfo, bytes]], tmp_path: Path
) -> None:
    layer = write(tmp_path / "layer.tar", *entries)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises(UnsafeImage):
        unpack_layers([layer], tmp_path / "root", Limits())
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_link_of_a_lower_layer_is_not_written_through_by_a_higher_one(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    lower = write(tmp_path / "1.tar", entry("dir", SYM, "other"))
    upper = write(tmp_path / "2.tar", entry("dir/file"))
    with pytest.raises(UnsafeImage, match="written through"):
        unpack_layers([lower, upper], tmp_path / "root", Limits())


def test_an_absolute_link_stays_inside_of_the_image(tmp_path: Path) -> None:
    layer = write(tmp_path / "1.tar", entry("etc/real", data=b"inside"), entry("a/b/link", SYM, "/etc/real"))
    unpack_layers([layer], tmp_path / "root", Limits())
    assert (tmp_path / "root/a/b/link").read_bytes() == b"inside"
    assert (tmp_path / "root/a/b/link").resolve().is_relative_to(tmp_path / "root")


def test_set_id_bits_and_write_rights_for_others_are_dropped(tmp_path: Path) -> None:
    unpack_layers([write(tmp_path / "1.tar", entry("x", mode=0o6777))], tmp_path / "root", Limits())
    assert (tmp_path / "root/x").stat().st_mode & 0o7777 == 0o755


def test_bombs_are_refused_by_size_and_number(tmp_path: Path) -> None:
    layer = write(tmp_path / "1.tar", *(entry(f"f{n}", data=b"0" * 100) for n in range(20)))
    with pytest.raises(UnsafeImage, match="more than 5 entries"):
        unpack_layers([layer], tmp_path / "root", Limits(entries_max=5))
    with pytest.raises(UnsafeImage, match="larger than 150 bytes"):
        unpack_layers([layer], tmp_path / "root", Limits(bytes_max=150))


def test_an_unreadable_layer_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "layer"
    path.write_bytes(b"\x1f\x8b not gzip")
    for media_type in (TAR, TAR + "+gzip", "application/x-unknown"):
        with pytest.raises(ImageError):
            unpack_layers([(path, media_type)], tmp_path / "root", Limits())
        assert not (tmp_path / "root").exists()


def test_a_folder_with_something_in_it_is_not_unpacked_into(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/mine").write_text("keep")
    with pytest.raises(ImageError, match="not empty"):
        unpack_layers([write(tmp_path / "1.tar", entry("x"))], tmp_path / "root", Limits())
    assert (tmp_path / "root/mine").read_text() == "keep"


def test_whiteouts_hide_what_lower_layers_hold(tmp_path: Path) -> None:
    lower = write(tmp_path / "1.tar", entry("a/gone"), entry("a/stays"), entry("b/old"), entry("b/sub/old"))
    upper = write(tmp_path / "2.tar", entry("a/.wh.gone"), entry("b/new"), entry("b/.wh..wh..opq"))
    unpack_layers([lower, upper], tmp_path / "root", Limits())
    found = sorted(
        str(p.relative_to(tmp_path / "root")) for p in (tmp_path / "root").rglob("*") if p.is_file()
    )
    assert found == ["a/stays", "b/new"]


names = st.lists(st.sampled_from(["a", "b", "..", ".", "c", ".wh.a"]), min_size=1, max_size=4).map("/".join)
entries = st.lists(
    st.tuples(
        names, st.sampled_from([tarfile.REGTYPE, SYM, HARD, DIR]), names | names.map(lambda n: "/" + n)
    ),
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(rows=entries)
def test_no_archive_at_all_makes_a_file_or_a_link_that_leads_out(
    rows: list[tuple[str, bytes, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    layer = write(folder / "layer.tar", *(entry(name, kind, link) for name, kind, link in rows))
    root = folder / "root"
    try:
        unpack_layers([layer], root, Limits())
    except ImageError:
        assert not root.exists()
    else:
        for path in root.rglob("*"):
            assert Path(os.path.realpath(path)).is_relative_to(root)
    assert sorted(path.name for path in folder.iterdir()) in (["layer.tar"], ["layer.tar", "root"])


def test_a_link_in_the_repository_that_leads_out_is_not_built_in(
    tmp_path: Path,
) -> None:
    def git(*arguments: str) -> None:
        names = ("-c", "user.name=t", "-c", "user.email=t@example.com")
        subprocess.run(["git", *names, *arguments], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-q")
    (tmp_path / "secret-link").symlink_to("../../etc/passwd")
    git("add", ".")
    git("commit", "-q", "-m", "x")
    with pytest.raises(AkashicError, match="leads out"):
        read_files(find_source(tmp_path), ".", ("**",), ())


def test_names_are_normalised_or_refused() -> None:
    assert checked_path("/a//./b") == "a/b"
    for bad in ("..", "a/..", "a\0b"):
        with pytest.raises(UnsafeImage):
            checked_path(bad)
