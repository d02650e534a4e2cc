"""Releases: fixed by what they hold, found by what people call them."""

from __future__ import annotations

from pathlib import Path

import pytest

from akashic.delivery.releases import Releases
from akashic.errors import AkashicError, UsageError
from akashic.images.store import MANIFEST, Layout, canonical_json
from akashic.testing.clock import ManualClock
from akashic.testing.journal import MemoryJournal


class Shelf:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = MemoryJournal()
        self.releases = Releases(journal=self.journal, folder=folder / "kept", clock=ManualClock(step_s=1))

    def image(self, content: str) -> str:
        """An image in the layout that builds write to; its digest."""
        store = Layout(self.folder / "built")
        store.create()
        data = canonical_json({"content": content})
        config = {"mediaType": "application/json", "digest": store.put(data), "size": len(data)}
        body = canonical_json({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": []})
        digest = store.put(body)
        store.change(lambda e: [*e, {"mediaType": MANIFEST, "digest": digest, "size": len(body)}])
        return digest

    def register(self, version: str, commit: str = "c" * 40, run_id: str = "", content: str = ""):  # type: ignore[no-untyped-def]
        return self.releases.register(
            layout=self.folder / "built",
            digest=self.image(content or version),
            version=version,
            commit=commit,
            created_by="eve",
            run_id=run_id,
        )


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


def test_a_release_is_kept_after_its_build_is_gone(shelf: Shelf) -> None:
    release = shelf.register("1.0")
    kept = Layout(shelf.releases.layout)
    for digest in kept.reachable([release.digest]):
        assert kept.blob_path(digest).is_file()
    assert [entry["digest"] for entry in kept.entries()] == [release.digest]


def test_the_same_build_twice_is_one_release(shelf: Shelf) -> None:
    assert shelf.register("1.0") == shelf.register("1.0")
    assert len(shelf.releases.all()) == 1
    assert len(Layout(shelf.releases.layout).entries()) == 1


def test_another_commit_or_content_is_another_release(shelf: Shelf) -> None:
    ids = {
        shelf.register("1.0").id,
        shelf.register("1.0", commit="d" * 40).id,
        shelf.register("1.0", content="x").id,
    }
    assert len(ids) == 3


def test_what_two_runs_built_alike_is_the_release_of_both(shelf: Shelf) -> None:
    first, second = shelf.register("1.0", run_id="7"), shelf.register("1.0", run_id="8")
    assert first.id == second.id
    found = [shelf.releases.latest_for_run(run_id) for run_id in ("7", "8")]
    assert [release.run_id for release in found if release] == ["7", "8"]
    assert shelf.releases.latest_for_run("9") is None


def test_the_newest_comes_first_and_a_run_has_its_last_one(shelf: Shelf) -> None:
    assert shelf.releases.latest() is None
    for version, run_id in (("1.0", "7"), ("1.1", "7"), ("2.0", "8")):
        shelf.register(version, run_id=run_id)
    assert [release.version for release in shelf.releases.all()] == ["2.0", "1.1", "1.0"]
    latest = shelf.releases.latest_for_run("7")
    assert latest is not None
    assert latest.version == "1.1"


def test_a_release_is_found_by_any_of_its_names(shelf: Shelf) -> None:
    release = shelf.register("1.0", commit="ab12" + "0" * 36)
    shelf.register("2.0", commit="cd34" + "0" * 36)
    for word in (release.id, "1.0", release.commit, "ab12", release.digest, release.digest[:20]):
        assert shelf.releases.find(word) == release, word
    assert shelf.releases.get(release.id) == release


@pytest.mark.parametrize("word", ["", "ab1", "9.9", "sha256:", "../x"])
def test_what_names_nothing_says_what_there_is(shelf: Shelf, word: str) -> None:
    shelf.register("1.0", commit="ab12" + "0" * 36)
    with pytest.raises(UsageError, match="there is no release") as caught:
        shelf.releases.find(word)
    assert "1.0 (" in caught.value.hint


def test_what_names_two_asks_for_more(shelf: Shelf) -> None:
    for version in ("1.0", "2.0"):
        shelf.register(version, commit="ab12" + version[0] * 36)
    with pytest.raises(UsageError, match="names more than one release"):
        shelf.releases.find("ab12")


def test_a_version_that_was_built_again_is_the_newest_of_that_name(shelf: Shelf) -> None:
    shelf.register("1.0", content="old")
    again = shelf.register("1.0", content="new")
    assert shelf.releases.find("1.0") == again


def test_a_build_that_is_not_there_makes_no_release(shelf: Shelf) -> None:
    shelf.image("x")
    with pytest.raises(AkashicError):
        shelf.releases.register(
            layout=shelf.folder / "built",
            digest="sha256:" + "0" * 64,
            version="1.0",
            commit="c",
            created_by="eve",
        )
    assert shelf.releases.all() == []
