"""actions/cache, restore and save."""

from pathlib import Path

import pytest

from akashic.actions.cache import CACHE, RESTORE, SAVE
from akashic.actions.protocol import ActionFailed
from akashic.journal.caches import CacheScopes


def test_a_cache_is_saved_at_the_end_and_restored_by_the_next_job(job) -> None:
    first = job().use(CACHE, path="node_modules\n~/.npm", key="k1")
    assert "cache-hit" not in first.outputs
    first.file("node_modules/m/index.js", "code")
    (Path(first.sandbox.workspace) / "node_modules/bin").symlink_to("m/index.js")
    (Path(first.sandbox.home) / ".npm").mkdir()
    (Path(first.sandbox.home) / ".npm/x").write_text("npm")
    CACHE.post(first)
    second = job().use(CACHE, path="node_modules\n~/.npm", key="k1")
    assert second.outputs["cache-hit"] == "true"
    assert (Path(second.sandbox.workspace) / "node_modules/bin").read_text() == "code"
    assert (Path(second.sandbox.home) / ".npm/x").read_text() == "npm"
    CACHE.post(second)
    assert len(second.caches.find_all()) == 1


def test_a_restore_key_gives_the_newest_and_is_no_hit(job) -> None:
    ctx = job()
    ctx.file("c/f", "1")
    ctx.use(SAVE, path="c", key="deps-1")
    ctx.file("c/f", "2")
    ctx.use(SAVE, path="c", key="deps-2")
    got = job().use(RESTORE, path="c", key="deps-3", restore_keys="deps-")
    assert got.outputs["cache-hit"] == "false"
    assert got.outputs["cache-matched-key"] == "deps-2"
    assert (Path(got.sandbox.workspace) / "c/f").read_text() == "2"


def test_a_miss_can_fail(job) -> None:
    assert job().use(RESTORE, path="c", key="none").outputs == {"cache-primary-key": "none"}
    with pytest.raises(ActionFailed, match="fail-on-cache-miss"):
        job().use(RESTORE, path="c", key="none", fail_on_cache_miss="true")


def test_lookup_only_restores_nothing(job) -> None:
    ctx = job()
    ctx.file("c/f")
    ctx.use(SAVE, path="c", key="k")
    got = job().use(RESTORE, path="c", key="k", lookup_only="true")
    assert got.outputs["cache-hit"] == "true"
    assert not (Path(got.sandbox.workspace) / "c").exists()


def test_another_path_is_another_cache(job) -> None:
    ctx = job()
    ctx.file("c/f")
    ctx.use(SAVE, path="c", key="k")
    assert "cache-hit" not in job().use(RESTORE, path="d", key="k").outputs


def test_a_fork_saves_nothing(job) -> None:
    ctx = job()
    ctx.cache_scopes = CacheScopes(read=("refs/pull/1/merge", "refs/heads/main"), write=None)
    ctx.file("c/f")
    ctx.use(SAVE, path="c", key="k")
    assert ctx.caches.find_all() == []
    assert ctx.annotations[0][0] == "warning"


@pytest.mark.parametrize("path", ["/etc", "../" * 20 + "opt", "/"])
def test_a_path_out_of_the_job_is_refused(job, path: str) -> None:
    with pytest.raises(ActionFailed, match="cannot cache"):
        job().use(SAVE, path=path, key="k")
