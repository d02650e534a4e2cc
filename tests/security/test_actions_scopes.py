"""Attacks 9 and 14: a less trusted run never writes what a more trusted one reads."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from akashic.actions.scopes import cache_scopes
from akashic.journal.archive import Member
from akashic.journal.caches import CacheError, CacheStore, cache_version

EVENT = {"repository": {"default_branch": "main"}}


def _github(ref: str, event_name: str = "push", base: str = "") -> dict[str, object]:
    return {"ref": ref, "event_name": event_name, "base_ref": base, "event": EVENT}


def test_attack_14_a_pull_request_cannot_poison_its_base(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("evil")
    store, version = CacheStore(tmp_path / "store"), cache_version(["p"])
    pull = cache_scopes(_github("refs/pull/7/merge", "pull_request", "main"), "trusted")
    main = cache_scopes(_github("refs/heads/main"), "trusted")
    store.save("deps-1", version, pull, [Member(name="w/f", path=str(tmp_path / "f"))])
    assert store.find("deps-1", ["deps-"], version, main) is None
    assert store.find("deps-1", [], version, pull) is not None
    other = cache_scopes(_github("refs/pull/8/merge", "pull_request", "main"), "trusted")
    assert store.find("deps-1", ["deps-"], version, other) is None


def test_attack_9_a_fork_writes_no_cache(tmp_path: Path) -> None:
    scopes = cache_scopes(_github("refs/pull/7/merge", "pull_request", "main"), "fork")
    assert scopes.write is None
    assert scopes.read == ("refs/pull/7/merge", "refs/heads/main")
    with pytest.raises(CacheError):
        CacheStore(tmp_path).save("k", "v", scopes, [])


def test_attack_14_pull_request_target_writes_no_cache() -> None:
    assert cache_scopes(_github("refs/heads/main", "pull_request_target"), "trusted").write is None


@given(st.text(max_size=12), st.text(max_size=12), st.sampled_from(["push", "pull_request"]))
def test_attack_14_a_run_writes_nothing_but_its_own_ref(ref: str, base: str, event: str) -> None:
    scopes = cache_scopes(_github(ref, event, base), "trusted")
    assert scopes.write in (None, ref)


def test_attack_14_branches_do_not_read_each_other() -> None:
    assert cache_scopes(_github("refs/heads/a"), "trusted").read == ("refs/heads/a", "refs/heads/main")
