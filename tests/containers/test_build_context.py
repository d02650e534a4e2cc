"""A build context holds what its folder holds, whatever is put in the way while it is packed."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from akashic.containers import context
from akashic.containers.context import packed_context
from akashic.containers.errors import BuildFailed


def names(folder: Path) -> dict[str, bytes]:
    with packed_context(str(folder), "Dockerfile") as (pieces, _):
        packed = io.BytesIO(b"".join(pieces))
    with tarfile.open(fileobj=packed) as archive:
        files = {m.name: archive.extractfile(m) if m.isreg() else None for m in archive}
        return {name: file.read() if file is not None else b"" for name, file in files.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "context"
    (place / "below").mkdir(parents=True)
    (place / "Dockerfile").write_text("FROM scratch\n")
    (place / "below" / "file").write_text("inside")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "file").write_text("secret")
    return place


def test_links_are_packed_as_links(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")
    assert names(folder) == {
        "Dockerfile": b"FROM scratch\n",
        "below": b"",
        "below/file": b"inside",
        "link": b"",
    }


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_link_that_comes_in_between_is_not_followed(
    folder: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = context._open_inside

    def swap(real_root: str, path: Path) -> object:
        if path.name == "file":
            path.unlink()
            if what == "file":
                path.symlink_to(folder.parent / "outside" / "file")
            else:
                path.parent.rmdir()
                path.parent.symlink_to(folder.parent / "outside")
        return original(real_root, path)

    monkeypatch.setattr(context, "_open_inside", swap)
    with pytest.raises(BuildFailed, match="cannot be read"):
        names(folder)


def test_a_dockerfile_that_leads_out_is_refused(folder: Path) -> None:
    (folder / "Dockerfile").unlink()
    (folder / "Dockerfile").symlink_to("/etc/passwd")
    with pytest.raises(BuildFailed, match="leads out"):
        names(folder)
