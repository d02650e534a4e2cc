"""The other two workflows of campaign-console, in a fresh clone: a feature branch gets a preview until it is
deleted, and a published release goes to production at its tag after one approval."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.fresh_clone import TIMEOUT_S, Clone, health

pytestmark = pytest.mark.skipif(
    not os.environ.get("AKASHIC_TEST_SLOW"), reason="takes minutes: make test-slow"
)

PREVIEW_HOST = "feature-night-market.preview.localhost:4303"


def event(folder: Path, payload: dict[str, Any]) -> str:
    path = folder / "event.json"
    path.write_text(json.dumps(payload))
    return str(path)


@pytest.mark.slow
def test_a_feature_branch_has_a_preview_until_it_is_deleted(clone: Clone, tmp_path: Path) -> None:
    clone.install()
    clone("git", "checkout", "--quiet", "-b", "feature/night-market")
    commit = clone.change("Open at night")
    said = clone.akashic("run", "push")
    assert f"http://{PREVIEW_HOST}" in said and "error:" not in said
    assert health("preview", PREVIEW_HOST)["commit"] == commit

    clone("git", "checkout", "--quiet", "-")
    clone("git", "branch", "--quiet", "-D", "feature/night-market")
    deleted = event(tmp_path, {"ref": "feature/night-market", "ref_type": "branch"})
    clone.akashic("run", "delete", "-e", deleted)
    assert "no previews" in clone.akashic("preview", "list")
    with pytest.raises((urllib.error.URLError, OSError)):
        health("preview", PREVIEW_HOST)


@pytest.mark.slow
def test_a_published_release_goes_to_production_after_one_approval(clone: Clone, tmp_path: Path) -> None:
    clone.install()
    commit = clone.commit()
    clone("git", "tag", "v1.2.3")
    release = {"tag_name": "v1.2.3", "name": "1.2.3", "html_url": "https://example.org/notes"}
    published = event(tmp_path, {"action": "published", "release": release})
    run = clone.begin("run", "release", "-e", published)
    approve_when_asked(clone, run)
    said, _ = run.communicate(timeout=TIMEOUT_S)
    assert run.returncode == 0, said
    found = health("production")
    assert (found["version"], found["commit"]) == ("v1.2.3", commit)
    (shown,) = [json.loads(line) for line in clone.akashic("--json", "history", "production").splitlines()]
    assert (shown["status"], len(shown["approved_by"])) == ("promoted", 1)


def approve_when_asked(clone: Clone, run: subprocess.Popen[str]) -> None:
    """Approve the one thing that will wait, while the run goes on."""
    while run.poll() is None:
        try:
            clone.akashic("approve", "production", "--yes")
        except AssertionError:
            time.sleep(0.5)
        else:
            return
