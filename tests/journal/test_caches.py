"""The cache store: keys, scopes, eviction."""

from pathlib import Path

import pytest

from akashic.journal.archive import Member
from akashic.journal.beneath import open_beneath
from akashic.journal.caches import CacheEntry, CacheError, CacheScopes, CacheStore, cache_version

MAIN = CacheScopes(read=("refs/heads/main",), write="refs/heads/main")
PULL = CacheScopes(read=("refs/pull/1/merge", "refs/heads/main"), write="refs/pull/1/merge")
VERSION = cache_version(["p"])


class Clock:
    time = 1_000_000.0

    def __call__(self) -> float:
        self.time += 1
        return self.time


@pytest.fixture
def store(tmp_path: Path) -> CacheStore:
    (tmp_path / "f").write_text("x" * 1000)
    return CacheStore(tmp_path / "store", now=Clock(), size_bytes_max=40_000)


def _save(store: CacheStore, tmp_path: Path, key: str, scopes: CacheScopes = MAIN) -> CacheEntry | None:
    return store.save(key, VERSION, scopes, [Member(name="w/f", path=str(tmp_path / "f"))])


def _key(found: CacheEntry | None) -> str:
    return found.key if found else ""


def test_exact_before_newest_prefix_before_restore_keys(store: CacheStore, tmp_path: Path) -> None:
    for key in ("a-1", "a-12", "b-1"):
        _save(store, tmp_path, key)
    assert _key(store.find("a-1", [], VERSION, MAIN)) == "a-1"
    assert _key(store.find("a-", ["b-"], VERSION, MAIN)) == "a-12"
    assert _key(store.find("zzz", ["b-", "a-"], VERSION, MAIN)) == "b-1"
    assert store.find("zzz", [], VERSION, MAIN) is None
    assert store.find("a-1", [], cache_version(["q"]), MAIN) is None


def test_own_scope_comes_before_the_base(store: CacheStore, tmp_path: Path) -> None:
    _save(store, tmp_path, "k-1")
    assert _key(store.find("k-1", [], VERSION, PULL)) == "k-1"
    _save(store, tmp_path, "k-0", PULL)
    assert _key(store.find("k-9", ["k-"], VERSION, PULL)) == "k-0"


def test_a_cache_never_changes(store: CacheStore, tmp_path: Path) -> None:
    assert _save(store, tmp_path, "k")
    assert _save(store, tmp_path, "k") is None
    assert _save(store, tmp_path, "k", PULL)


def test_the_least_recently_used_goes_first(store: CacheStore, tmp_path: Path) -> None:
    saved = {}
    for key in ("1", "2", "3"):
        saved[key] = _save(store, tmp_path, key)
    (tmp_path / "out").mkdir()
    with open_beneath(str(tmp_path / "out"), (), create=False) as folder:
        store.restore(saved["1"], {"w": folder})
    size = saved["1"].size
    small = CacheStore(tmp_path / "store", now=store._now, size_bytes_max=size * 2)
    assert [entry.key for entry in small.evict()] == ["2"]
    assert sorted(entry.key for entry in small.find_all()) == ["1", "3"]


def test_what_nobody_uses_gets_too_old(store: CacheStore, tmp_path: Path) -> None:
    _save(store, tmp_path, "old")
    store._now.time += 8 * 86400  # type: ignore[attr-defined]
    assert store.find("old", [], VERSION, MAIN) is None
    assert [entry.key for entry in store.evict()] == ["old"]


def test_damaged_content_is_removed_not_used(store: CacheStore, tmp_path: Path) -> None:
    entry = _save(store, tmp_path, "k")
    assert entry
    place = next((tmp_path / "store").rglob("content.tar"))
    place.write_bytes(place.read_bytes().replace(b"xxx", b"yyy", 1))
    with (
        open_beneath(str(tmp_path), (), create=False) as folder,
        pytest.raises(CacheError, match="has changed"),
    ):
        store.restore(entry, {"w": folder})
    assert store.find_all() == []


@pytest.mark.parametrize("key", ["a,b", "x" * 513])
def test_keys_that_github_refuses(store: CacheStore, tmp_path: Path, key: str) -> None:
    with pytest.raises(CacheError):
        _save(store, tmp_path, key)


def test_what_is_no_cache_of_ours_is_passed_over(store: CacheStore, tmp_path: Path) -> None:
    assert _save(store, tmp_path, "k")
    (scope,) = {path.parent.parent for path in (tmp_path / "store").glob("*/*/manifest.json")}
    (tmp_path / "store" / "README").write_text("x")
    (scope / "a file").write_text("x")
    (scope / "without manifest").mkdir()
    (scope / "a folder" / "manifest.json").mkdir(parents=True)
    (scope / "older").mkdir()
    (scope / "older" / "manifest.json").write_text('{"id": "older"}')
    assert [entry.key for entry in store.find_all()] == ["k"]
    assert _key(store.find("k", [], VERSION, MAIN)) == "k"
    assert store.evict() == []
