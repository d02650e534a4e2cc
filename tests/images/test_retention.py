from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from akashic.errors import UsageError
from akashic.images.layout import BuildOptions, build_layout
from akashic.images.read import verify
from akashic.images.retention import clean_up, list_images
from akashic.images.source import find_source
from akashic.images.spec import ImageSpec


@pytest.fixture
def layout(make_repository: Callable[..., Path], spec: ImageSpec, tmp_path: Path) -> Path:
    ticks = count(1000)
    for number in range(5):
        tags = ("latest",) if number == 0 else (f"build-{number}",)
        build_layout(
            spec,
            find_source(make_repository(f"r{number}", {"n": str(number)})),
            tmp_path / "layout",
            cache=tmp_path / "c",
            options=BuildOptions(tags=tags),
            clock=lambda: float(next(ticks)),
        )
    return tmp_path / "layout"


def test_the_newest_and_the_protected_stay_and_the_rest_is_gone_with_its_bytes(layout: Path) -> None:
    images = list_images(layout)
    assert [image.tags for image in images][-1] == ("latest",)

    done = clean_up(layout, keep=2, protected_digests={images[2].digest})

    assert [image.digest for image in done.removed] == [images[3].digest]
    assert done.freed_bytes > 0
    assert {image.digest for image in list_images(layout)} == {images[i].digest for i in (0, 1, 2, 4)}
    assert verify(layout) == []
    assert not (layout / "blobs/sha256" / images[3].digest[7:]).exists()


def test_a_dry_run_changes_nothing(layout: Path) -> None:
    before = sorted(path.name for path in layout.rglob("*"))
    assert len(clean_up(layout, keep=1, dry_run=True).removed) == 3
    assert sorted(path.name for path in layout.rglob("*")) == before


def test_the_newest_image_cannot_be_cleaned_away(layout: Path) -> None:
    with pytest.raises(UsageError):
        clean_up(layout, keep=0)
