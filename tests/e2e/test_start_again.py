"""After `akashic down`: what was served is started again, and what it printed is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.small_shop import SmallShop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[SmallShop]:
    made = SmallShop(tmp_path, production=False)
    yield made
    made.close()


def test_what_a_failed_deployment_found_stopped_is_not_called_healthy(shop: SmallShop) -> None:
    good = shop.release("Works")
    assert shop("up").returncode == 0
    assert shop("down").returncode == 0
    shop.release("Broken", start="exit")
    failed = shop("up")
    assert failed.returncode == 1
    table = failed.stdout.partition("Environments")[2]
    assert "healthy" not in table and "down: akashic start staging" in table, failed.stdout
    shown = shop("status").stdout
    assert "healthy" not in shown and "down: akashic start staging" in shown
    assert shop("start").returncode == 0
    assert shop.answer("staging") == good[:12]
    assert "healthy" in shop("status").stdout


def test_what_was_stopped_is_down_until_it_is_started_again(shop: SmallShop) -> None:
    nothing = shop("start")
    assert (nothing.returncode, "nothing was deployed yet" in nothing.stderr) == (2, True)
    commit = shop.release("Works")
    assert shop("up").returncode == 0
    again = shop("start")
    assert (again.returncode, "staging runs already" in again.stderr) == (0, True)
    assert shop("down").returncode == 0
    assert "stopped" in shop("status").stdout
    started = shop("start")
    assert started.returncode == 0, started.stdout + started.stderr
    assert shop.answer("staging") == commit[:12]
    assert [one["kind"] for one in shop.json("history", "staging")] == ["start", "deploy"]
    logs = shop("logs", "--environment", "staging")
    assert logs.returncode == 0, logs.stderr
    wrong = shop("logs", "1", "--environment", "staging")
    assert (wrong.returncode, "--environment goes with no run" in wrong.stderr) == (2, True)
    assert shop("logs", "--environment", "nowhere").returncode == 2
